"""The motion VQ-VAE of T2M-GPT: HumanML3D features <-> one code of a learnt codebook per four frames.

Zhang et al., "T2M-GPT: Generating Human Motion from Textual Descriptions with Discrete Representations" (CVPR 2023),
section 3.1; parameters carry the names of the official checkpoints (``vqvae.encoder.model.0.weight`` ...).

Features go in and out normalised with the statistics of the checkpoint. Convolutions see zeros beyond both ends of a
motion, at every depth. So that a motion in a batch of longer ones gets the same numbers as alone, everything beyond its
own end is set to zero again after every layer (``keep``).
"""

import math

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from posesyn_t2mgpt.representation import FEATURES, POSITIONS

FRAMES_PER_CODE = 4
COMMIT_WEIGHT, VELOCITY_WEIGHT = 0.02, 0.5
"""The "velocity" of the published loss compares local joint positions, in spite of its name."""


@frozen
class VqVaeShape:
    """Sizes of a motion VQ-VAE; the defaults are those of the official checkpoint."""

    width: int = 512
    codes: int = 512
    code_dim: int = 512


class ResidualBlock(nn.Module):
    """x + conv1(relu(conv3(relu(x)))), the first convolution dilated."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, keep: Tensor | float = 1.0) -> Tensor:
        return (x + self.conv2(torch.relu(self.conv1(torch.relu(x))))) * keep


class Resnet(nn.Module):
    """Three residual blocks; the widest dilation comes first, in the encoder and in the decoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(ResidualBlock(width, dilation) for dilation in (9, 3, 1)))

    def forward(self, x: Tensor, keep: Tensor | float = 1.0) -> Tensor:
        for block in self.model:
            x = block(x, keep)
        return x


class Halve(nn.ModuleList):
    """Half as many frames, then a Resnet: (B, W, T) -> (B, W, T // 2)."""

    def __init__(self, width: int) -> None:
        super().__init__([nn.Conv1d(width, width, 4, stride=2, padding=1), Resnet(width)])

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``lengths`` (B,) frames that count in the result; all beyond them is zero."""
        halved = self[0](x)
        keep = keep_mask(lengths, halved)
        return self[1](halved * keep, keep)


class Double(nn.ModuleList):
    """A Resnet, then twice as many frames: (B, W, T) -> (B, W, 2 T)."""

    def __init__(self, width: int) -> None:
        super().__init__([Resnet(width), nn.Upsample(scale_factor=2, mode="nearest"), _conv3(width, width)])

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``lengths`` (B,) frames that count in ``x``; all beyond twice as many is zero in the result."""
        doubled = self[2](self[1](self[0](x, keep_mask(lengths, x))))
        return doubled * keep_mask(2 * lengths, doubled)


class Encoder(nn.Module):
    """(B, 263, T) -> (B, code_dim, T // 2 // 2)."""

    def __init__(self, shape: VqVaeShape) -> None:
        super().__init__()
        first, last = _conv3(FEATURES, shape.width), _conv3(shape.width, shape.code_dim)
        self.model = nn.Sequential(first, nn.ReLU(), Halve(shape.width), Halve(shape.width), last)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``lengths`` (B,) frames that count; all beyond them is zero in the result."""
        first, relu, halve, halve_again, last = self.model
        keep = keep_mask(lengths, x)
        x = relu(first(x * keep)) * keep
        x = halve_again(halve(x, lengths // 2), lengths // 2 // 2)
        return last(x) * keep_mask(lengths // 2 // 2, x)


class Decoder(nn.Module):
    """(B, code_dim, M) -> (B, 263, 4 M)."""

    def __init__(self, shape: VqVaeShape) -> None:
        super().__init__()
        width = shape.width
        first, middle, last = _conv3(shape.code_dim, width), _conv3(width, width), _conv3(width, FEATURES)
        self.model = nn.Sequential(first, nn.ReLU(), Double(width), Double(width), middle, nn.ReLU(), last)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``lengths`` (B,) codes that count; all beyond them is zero in the result."""
        first, relu, double, double_again, middle, _, last = self.model
        keep = keep_mask(lengths, x)
        x = relu(first(x * keep)) * keep
        x = double_again(double(x, lengths), 2 * lengths)
        keep = keep_mask(4 * lengths, x)
        return last(relu(middle(x)) * keep) * keep


def _conv3(inputs: int, outputs: int) -> nn.Conv1d:
    return nn.Conv1d(inputs, outputs, 3, padding=1)


def keep_mask(lengths: Tensor, x: Tensor) -> Tensor:
    """(B, 1, T) one where frame t of ``x`` (B, C, T) lies within ``lengths`` (B,), else zero."""
    return (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None].to(x.dtype)


class Quantizer(nn.Module):
    """The codebook, learnt by exponential moving averages; codes out of use are reset to latents of the batch.

    ``code_sum`` and ``code_count`` are the averages. Official checkpoints don't hold them, so neither does
    ``state_dict``; without them (:attr:`initialised` false) the next training batch starts the codebook anew.

    ``decay`` is that of the averages, and codes chosen less often than ``reset_below`` times per batch are reset. The
    defaults are published, for long training with thousands of latents per batch.
    """

    codebook: Tensor
    code_sum: Tensor
    code_count: Tensor

    def __init__(self, codes: int, dim: int, decay: float = 0.99, reset_below: float = 1.0) -> None:
        super().__init__()
        self.decay, self.reset_below = decay, reset_below
        self.register_buffer("codebook", torch.zeros(codes, dim))
        self.register_buffer("code_sum", torch.zeros(codes, dim), persistent=False)
        self.register_buffer("code_count", torch.zeros(codes), persistent=False)

    @property
    def initialised(self) -> bool:
        """Whether the averages hold anything: after the first training batch, or resumed with it."""
        return bool(self.code_count.any())

    def distances(self, latents: Tensor) -> Tensor:
        """Squared distances (N, codes) of latents (N, dim) to all codes (the minimum is s of Eq. 4)."""
        codes = self.codebook
        return latents.square().sum(-1, keepdim=True) - 2 * latents @ codes.T + codes.square().sum(-1)

    def nearest(self, latents: Tensor) -> Tensor:
        """Index of the nearest code for latents (..., dim)."""
        return self.distances(latents.flatten(0, -2)).argmin(-1).view(latents.shape[:-1])

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        """Take the codebook from the rows of the first training batch (N, dim)."""
        self.codebook.copy_(self._rows(latents))
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Go on learning from the codebook as it is, each code as if chosen once per batch."""
        self.code_sum.copy_(self.codebook)
        self.code_count.fill_(1)

    @torch.no_grad()
    def learn(self, latents: Tensor, indices: Tensor) -> None:
        """Move the codes towards the latents (N, dim) that chose them by ``indices`` (N,); reset codes out of use.

        A code chosen exactly once per batch sits at a count of exactly 1 and is in use: the order of the arithmetic
        matters.
        """
        chosen = functional.one_hot(indices, len(self.codebook)).to(latents.dtype)
        self.code_sum.copy_(self.decay * self.code_sum + (1 - self.decay) * (chosen.T @ latents))
        self.code_count.copy_(self.decay * self.code_count + (1 - self.decay) * chosen.sum(0))
        in_use = (self.code_count >= self.reset_below)[:, None]
        self.codebook.copy_(torch.where(in_use, self.code_sum / self.code_count[:, None], self._rows(latents)))

    def _rows(self, latents: Tensor) -> Tensor:
        """One latent per code: the first rows, repeated with a little noise where there are too few."""
        codes, dim = self.codebook.shape
        if len(latents) < codes:
            latents = latents.repeat(-(-codes // len(latents)), 1)
            latents = latents + torch.randn_like(latents) * 0.01 / math.sqrt(dim)
        return latents[:codes]


@frozen
class Reconstruction:
    """What auto-encoding gives: ``features`` (B, 4 M, 263) normalised, ``latents`` and ``quantized`` (B, M, dim).

    ``commit`` is the mean squared distance between latents and codes, ``perplexity`` the effective number of codes in
    use in the batch, exp(entropy).
    """

    features: Tensor
    latents: Tensor
    quantized: Tensor
    codes: Tensor
    commit: Tensor
    perplexity: Tensor


class MotionVqVae(nn.Module):
    """Encoder, codebook and decoder under the official names."""

    def __init__(self, shape: VqVaeShape) -> None:
        super().__init__()
        self.shape = shape
        self.vqvae = nn.ModuleDict({
            "encoder": Encoder(shape),
            "decoder": Decoder(shape),
            "quantizer": Quantizer(shape.codes, shape.code_dim),
        })  # fmt: skip
        self.apply(_initialise)

    @property
    def quantizer(self) -> Quantizer:
        quantizer = self.vqvae["quantizer"]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def latents(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encoder output Z (B, M, dim) of Eq. 4 for normalised features (B, T, 263), M = T // 2 // 2."""
        return self.vqvae["encoder"](features.transpose(1, 2), _full(features, lengths)).transpose(1, 2)

    def encode(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Codes S (B, M) of Eq. 4 for normalised features (B, T, 263); ``lengths`` (B,) rows that count (None = all).

        Codes beyond ``lengths // 4`` mean nothing.
        """
        return self.quantizer.nearest(self.latents(features, lengths))

    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised features (B, 4 M, 263) of codes (B, M); ``lengths`` (B,) codes that count (None = all)."""
        return self.decode_latents(self.quantizer.codebook[codes], lengths)

    def decode_latents(self, latents: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised features (B, 4 M, 263) of quantised latents (B, M, dim)."""
        return self.vqvae["decoder"](latents.transpose(1, 2), _full(latents, lengths)).transpose(1, 2)

    def forward(self, features: Tensor) -> Reconstruction:
        """Auto-encode normalised features (B, T, 263); in training mode the codebook learns from them as well."""
        latents = self.latents(features).to(self.quantizer.codebook)
        with torch.autocast(features.device.type, enabled=False):  # half precision would cancel in the distances
            indices, codes = self._quantize(latents.flatten(0, 1))
        codes = codes.view_as(latents)
        share = torch.bincount(indices, minlength=self.shape.codes) / len(indices)
        quantized = latents + (codes - latents).detach()  # the decoder's gradient goes straight to the encoder
        return Reconstruction(
            features=self.decode_latents(quantized),
            latents=latents,
            quantized=quantized,
            codes=indices.view(latents.shape[:2]),
            commit=functional.mse_loss(latents, codes),
            perplexity=torch.exp(-(share * torch.log(share + 1e-7)).sum()),
        )

    def _quantize(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (N,) and codes (N, dim) of latents (N, dim), by the codebook as it was before it learns of them."""
        if self.training and not self.quantizer.initialised:
            self.quantizer.start(rows.detach())
        indices = self.quantizer.nearest(rows)
        codes = self.quantizer.codebook[indices]
        if self.training:
            self.quantizer.learn(rows.detach(), indices)
        return indices, codes


def _initialise(module: nn.Module) -> None:
    """Keep the variance through the layers: from the usual start, training would need thousands of steps to wake up."""
    if isinstance(module, nn.Conv1d) and module.bias is not None:
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)
    if isinstance(module, ResidualBlock):  # visited after its convolutions
        module.conv2.weight.data.mul_(0.5)


def _full(x: Tensor, lengths: Tensor | None) -> Tensor:
    """``lengths``, or the whole of (B, T, C) for every row."""
    return x.new_full((len(x),), x.shape[1], dtype=torch.long) if lengths is None else lengths


def vqvae_loss(decoded: Tensor, features: Tensor, commit: Tensor) -> dict[str, Tensor]:
    """Published loss: smooth L1 of all features + 0.5 x that of the joint positions + 0.02 x commitment.

    Keys ``recons``, ``vel``, ``commit`` and their weighted sum ``loss``.
    """
    decoded = decoded.to(features)
    recons = functional.smooth_l1_loss(decoded, features)
    vel = functional.smooth_l1_loss(decoded[..., POSITIONS], features[..., POSITIONS])
    loss = recons + COMMIT_WEIGHT * commit + VELOCITY_WEIGHT * vel
    return {"recons": recons, "vel": vel, "commit": commit, "loss": loss}
