"""Drawing codes from the transformer (Eq. 5), every row of a batch for itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from posesyn_t2mgpt.transformer import T2MTransformer


@torch.inference_mode()
def sample(
    model: T2MTransformer,
    text: Tensor,
    prefix: Tensor,
    counts: Tensor,
    least: Tensor,
    most: Tensor,
    noise: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
) -> tuple[Tensor, Tensor]:
    """Continue the codes ``prefix`` (B, P), of which ``counts`` (B,) count per row, under ``text`` (B, 512).

    A row ends where the End token is chosen, which ``least`` (B,) codes put off and ``most`` (B,) (at most
    places - 1) enforce; both include the prefix. Without ``noise`` the best code is taken (greedy, official default).
    With ``noise`` from :func:`gumbel` (B, places, codes + 1) codes are drawn from softmax(scores / ``temperature``),
    among the ``top_k`` best (0 = all).

    Returns codes (B, places - 1), zero beyond their end, and the numbers (B,) of codes with the prefix. If the first
    choice is End, that is the prefix alone (the official code fails there if the prefix is empty).
    """
    room = torch.arange(model.shape.places - 1, device=text.device)
    codes = torch.zeros(len(text), len(room), dtype=torch.long, device=text.device)
    codes[:, : prefix.shape[1]] = prefix
    codes = codes * (room < counts[:, None])
    lengths, alive = counts.clone(), counts < most
    logits, keys, values = model.prefill(text, prefix, counts)
    for number in range(len(room)):
        token = _choose(logits, lengths < least, None if noise is None else noise[:, number], temperature, top_k)
        alive = alive & (token != model.shape.end)
        codes = torch.where(alive[:, None] & (room == lengths[:, None]), token[:, None], codes)
        lengths = lengths + alive
        alive = alive & (lengths < most)
        if not alive.any():
            break
        logits, keys, values = model.step(torch.where(alive, token, 0), lengths, keys, values)
    return codes, lengths


def _choose(logits: Tensor, must_go_on: Tensor, noise: Tensor | None, temperature: float, top_k: int) -> Tensor:
    """One token (B,) for logits (B, codes + 1); the last one, End, is barred where ``must_go_on`` (B,)."""
    at_end = torch.arange(logits.shape[1], device=logits.device) == logits.shape[1] - 1
    logits = logits.masked_fill(must_go_on[:, None] & at_end, -torch.inf)
    if noise is None:
        return logits.argmax(-1)
    if top_k:
        worst = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < worst, -torch.inf)
    return (logits / temperature + noise).argmax(-1)  # the largest of logits + Gumbel noise is a draw from softmax


def gumbel(rngs: Sequence[np.random.Generator], model: T2MTransformer) -> Tensor:
    """Noise (B, places, codes + 1) for :func:`sample`, each row from its own generator."""
    size = (model.shape.places, model.shape.codes + 1)
    return torch.from_numpy(np.stack([rng.gumbel(size=size) for rng in rngs]))
