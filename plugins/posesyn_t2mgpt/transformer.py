"""The text-to-motion transformer of T2M-GPT: text feature and codes so far -> scores of the next code (Eq. 5).

Zhang et al. (CVPR 2023), section 3.2; parameters carry the names of the official checkpoints (``trans_base...``,
``trans_head...``). A sequence is [text, code 1, code 2, ...]; the scores at a place are those of the code after it.

:meth:`T2MTransformer.forward` reads whole sequences, for training. For sampling, :meth:`~T2MTransformer.prefill` reads
text and prefix once and :meth:`~T2MTransformer.step` reads one more code per row. Both speak of an explicit key/value
cache, in which every row has its own place, so that rows of different length share a batch. A step does not change the
cache: it returns what has to be written at its place (:func:`remember`), so that nothing copies the cache from step to
step. Neither has control flow that depends on data: :class:`Prefill` and :class:`Step` are exported as they are.
"""

import math

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

TEXT_DIM = 512


@frozen
class TransformerShape:
    """Sizes of a transformer; the defaults are those of the official checkpoint.

    There are ``layers`` blocks in each half. A sequence has at most ``places`` - 1 codes after its text.
    """

    codes: int = 512
    dim: int = 1024
    layers: int = 9
    heads: int = 16
    places: int = 51
    dropout: float = 0.1

    @property
    def end(self) -> int:
        """The token that ends a motion."""
        return self.codes

    @property
    def pad(self) -> int:
        """The token that fills a training sequence after its end; the model can't choose it."""
        return self.codes + 1


class Attention(nn.Module):
    """Causal self-attention, over a whole sequence or of new places on a cache."""

    mask: Tensor

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.key = nn.Linear(shape.dim, shape.dim)
        self.query = nn.Linear(shape.dim, shape.dim)
        self.value = nn.Linear(shape.dim, shape.dim)
        self.proj = nn.Linear(shape.dim, shape.dim)
        self.dropout = nn.Dropout(shape.dropout)
        self.register_buffer("mask", torch.ones(shape.places, shape.places).tril()[None, None])

    def split(self, x: Tensor) -> Tensor:
        """(B, P, E) -> (B, heads, P, E / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend within ``x`` (B, P, E); also returns its keys and values (B, heads, P, E / heads)."""
        keys, values = self.split(self.key(x)), self.split(self.value(x))
        scores = self.split(self.query(x)) @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
        hidden = self.mask[:, :, : x.shape[1], : x.shape[1]] == 0
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1)
        gathered = self.dropout(weights) @ values
        return self.dropout(self.proj(gathered.transpose(1, 2).flatten(2))), keys, values

    def step(self, x: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend from one new place ``x`` (B, 1, E) to itself and to the cache (B, heads, S, E / heads).

        ``later`` (B, 1, 1, S) is true at the cached places that are not before the row's own. Also returns the new
        place's key and value (B, heads, 1, E / heads). The new place is kept apart from the cached ones up to the
        softmax, because joining them would copy the cache.
        """
        query, key, value = (self.split(part(x)) for part in (self.query, self.key, self.value))
        past = (query @ keys.transpose(-1, -2)).masked_fill(later, -math.inf)
        own = (query * key).sum(-1, keepdim=True)
        weights = torch.softmax(torch.cat([own, past], dim=-1) / math.sqrt(key.shape[-1]), dim=-1)
        gathered = weights[..., :1] * value + weights[..., 1:] @ values
        return self.proj(gathered.transpose(1, 2).flatten(2)), key, value


class Block(nn.Module):
    """x + attention(ln1(x)), then x + mlp(ln2(x))."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(shape.dim)
        self.ln2 = nn.LayerNorm(shape.dim)
        self.attn = Attention(shape)
        inner = 4 * shape.dim
        self.mlp = nn.Sequential(
            nn.Linear(shape.dim, inner), nn.GELU(), nn.Linear(inner, shape.dim), nn.Dropout(shape.dropout)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, P, E) -> (B, P, E), and the keys and values that later places will need."""
        attended, keys, values = self.attn(self.ln1(x))
        x = x + attended
        return x + self.mlp(self.ln2(x)), keys, values

    def step(self, x: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One more place (B, 1, E), as :meth:`Attention.step`: its output, and its key and value."""
        attended, key, value = self.attn.step(self.ln1(x), keys, values, later)
        x = x + attended
        return x + self.mlp(self.ln2(x)), key, value


class PositionTable(nn.Module):
    """The sine and cosine table, stored in checkpoints as a parameter (places, 1, E) that is not trained."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        rate = torch.exp(-math.log(10000.0) * torch.arange(0, shape.dim, 2) / shape.dim)
        angles = torch.arange(shape.places)[:, None] * rate
        table = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)
        self.embed = nn.Parameter(table[:, None], requires_grad=False)


class Base(nn.Module):
    """The first half: embeddings and ``layers`` blocks."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(shape.codes + 2, shape.dim)
        self.cond_emb = nn.Linear(TEXT_DIM, shape.dim)
        self.pos_embedding = nn.Embedding(shape.places, shape.dim)  # in every checkpoint, used by nothing
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.layers)))
        self.pos_embed = PositionTable(shape)

    def embed(self, text: Tensor, tokens: Tensor) -> Tensor:
        """Text (B, 512) and tokens (B, P) -> (B, P + 1, E), without positions."""
        return torch.cat([self.cond_emb(text)[:, None], self.tok_emb(tokens)], dim=1)


class Head(nn.Module):
    """The second half: ``layers`` blocks and the scores."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.layers)))
        self.ln_f = nn.LayerNorm(shape.dim)
        self.head = nn.Linear(shape.dim, shape.codes + 1, bias=False)


class T2MTransformer(nn.Module):
    """Both halves under the official names."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.trans_base = Base(shape)
        self.trans_head = Head(shape)
        self.apply(_initialise)

    @property
    def blocks(self) -> list[Block]:
        """All blocks in the order of computation."""
        return [*self.trans_base.blocks, *self.trans_head.blocks]

    def scores(self, x: Tensor) -> Tensor:
        """Output of the last block (..., E) -> logits (..., codes + 1); the last one is the End token's."""
        return self.trans_head.head(self.trans_head.ln_f(x))

    def forward(self, text: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, P + 1, codes + 1) of every next token for text (B, 512) and tokens (B, P), P < places."""
        return self.scores(self._read(text, tokens)[0])

    def prefill(self, text: Tensor, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read the text (B, 512) and a prefix (B, P), of which ``counts`` (B,) tokens count per row.

        Returns the logits (B, codes + 1) of the next token and the caches of keys and of values
        (B, heads, blocks, places, E / heads). What stands there beyond a row's own length is overwritten, before
        anything sees it, by the steps that follow. (Heads come before blocks, so that one block's cache is a batch of
        B x heads matrices as it lies.)
        """
        x, caches = self._read(text, tokens)
        last = x.gather(1, counts[:, None, None].expand(-1, -1, x.shape[2]))[:, 0]
        room = (0, 0, 0, self.shape.places - x.shape[1])
        keys, values = (functional.pad(torch.stack(cache, dim=2), room) for cache in zip(*caches, strict=True))
        return self.scores(last), keys, values

    def step(self, token: Tensor, place: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one more ``token`` (B,) per row, at ``place`` (B,) (1 = first after the text).

        The caches must hold all places before (B, heads, blocks, S, E / heads), any S that covers them. Returns the
        logits (B, codes + 1) of the next token and what :func:`remember` writes (B, heads, blocks, E / heads).
        """
        x = self.trans_base.tok_emb(token)[:, None] + self.trans_base.pos_embed.embed[place]
        later = (torch.arange(keys.shape[3], device=x.device) >= place[:, None])[:, None, None]
        new_keys, new_values = [], []
        for block, past_keys, past_values in zip(self.blocks, keys.unbind(2), values.unbind(2), strict=True):
            x, key, value = block.step(x, past_keys, past_values, later)
            new_keys.append(key)
            new_values.append(value)
        return self.scores(x[:, 0]), torch.cat(new_keys, dim=2), torch.cat(new_values, dim=2)

    def _read(self, text: Tensor, tokens: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Output of the last block (B, P + 1, E), and every block's keys and values (B, heads, P + 1, E / heads)."""
        x = self.trans_base.embed(text, tokens)
        x = x + self.trans_base.pos_embed.embed[: x.shape[1], 0]
        caches = []
        for block in self.blocks:
            x, *cache = block(x)
            caches.append(cache)
        return x, caches


class Prefill(nn.Module):
    """:meth:`T2MTransformer.prefill` with named results, as engines take it."""

    def __init__(self, model: T2MTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Tensor, tokens: Tensor, counts: Tensor) -> dict[str, Tensor]:
        return dict(zip(("logits", "keys", "values"), self.model.prefill(text, tokens, counts), strict=True))


class Step(nn.Module):
    """:meth:`T2MTransformer.step` with named results, as engines take it."""

    def __init__(self, model: T2MTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, place: Tensor, keys: Tensor, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(("logits", "key", "value"), self.model.step(token, place, keys, values), strict=True))


def remember(cache: Tensor, place: Tensor, new: Tensor) -> None:
    """Write keys or values ``new`` (B, heads, blocks, E / heads) of a step at ``place`` (B,) of the cache."""
    cache[torch.arange(len(cache), device=cache.device), :, :, place] = new


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def transformer_loss(logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Mean over the samples of each one's mean cross-entropy, so that short and long motions weigh the same.

    ``logits`` (B, P, codes + 1), ``targets`` (B, P) the tokens at the same places, ``counts`` (B, P) true where a
    token counts: codes and one End.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    loss = functional.cross_entropy(logits.transpose(1, 2), targets * counts, reduction="none")
    return ((loss * counts).sum(1) / counts.sum(1)).mean()


def corrupt(tokens: Tensor, keep: Tensor, random: Tensor) -> Tensor:
    """Training input: tokens where ``keep`` is true, else the ``random`` codes; against relying on its own past."""
    return torch.where(keep, tokens, random)
