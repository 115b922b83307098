"""Drawing codes from the transformer (Eq. 5), every row of a batch for itself."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from posesyn_core.contracts.engines import NetworkCall
from posesyn_t2mgpt.transformer import Prefill, Step, T2MTransformer, TransformerShape, remember

PREFILL, STEP = "t2mgpt_prefill", "t2mgpt_step"
"""Names of the two networks of sampling, for engines."""

COMPACT_BELOW = 0.75
"""Finished rows are computed on until less than this share of the rows is alive: leaving them out copies the cache."""


def eager(model: T2MTransformer) -> dict[str, NetworkCall]:
    """Both networks as torch runs them: on the cache's filled places alone."""
    prefill, step = Prefill(model).eval(), Step(model).eval()

    def step_on_filled(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        filled = int(tensors["place"].max())
        caches = {name: tensors[name][..., :filled, :] for name in ("keys", "values")}
        return step(**{**tensors, **caches})

    return {PREFILL: lambda tensors: prefill(**tensors), STEP: step_on_filled}


@torch.inference_mode()
def sample(
    calls: Mapping[str, NetworkCall],
    shape: TransformerShape,
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

    ``calls`` are those of :func:`eager`, or the same as an engine loaded them. A row ends where the End token is
    chosen, which ``least`` (B,) codes put off and ``most`` (B,) (at most places - 1) enforce; both include the prefix.
    Without ``noise`` the best code is taken (greedy, official default). With ``noise`` from :func:`gumbel`
    (B, places, codes + 1) codes are drawn from softmax(scores / ``temperature``), among the ``top_k`` best (0 = all).

    Returns codes (B, places - 1), zero beyond their end, and the numbers (B,) of codes with the prefix. If the first
    choice is End, that is the prefix alone (the official code fails there if the prefix is empty).
    """
    places = torch.arange(shape.places - 1, device=text.device)
    codes = torch.zeros(len(text), len(places), dtype=torch.long, device=text.device)
    codes[:, : prefix.shape[1]] = prefix
    codes = codes * (places < counts[:, None])
    lengths = counts.clone()
    rows = torch.arange(len(text), device=text.device)  # those that are still computed
    state = dict(calls[PREFILL]({"text": text, "tokens": prefix, "counts": counts}))
    alive = counts < most
    for number in range(len(places)):
        chosen = None if noise is None else noise[rows, number]
        token = _choose(state["logits"], lengths[rows] < least[rows], chosen, temperature, top_k)
        alive = alive & (token != shape.end)
        going = rows[alive]
        codes[going, lengths[going]] = token[alive]
        lengths[going] += 1
        alive = alive & (lengths < most)[rows]
        if not alive.any():
            break
        if alive.sum() < COMPACT_BELOW * len(rows):
            rows, token = rows[alive], token[alive]
            state |= {name: state[name][alive] for name in ("keys", "values")}
            alive = alive[alive]
        token, place = torch.where(alive, token, 0), lengths[rows].clamp(min=1)
        caches = {name: state[name] for name in ("keys", "values")}
        new = calls[STEP]({"token": token, "place": place, **caches})
        remember(state["keys"], place, new["key"])
        remember(state["values"], place, new["value"])
        state["logits"] = new["logits"]
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


def gumbel(rngs: Sequence[np.random.Generator], shape: TransformerShape) -> Tensor:
    """Noise (B, places, codes + 1) for :func:`sample`, each row from its own generator."""
    size = (shape.places, shape.codes + 1)
    return torch.from_numpy(np.stack([rng.gumbel(size=size) for rng in rngs]))
