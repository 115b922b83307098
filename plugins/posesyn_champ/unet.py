"""Champ's two U-nets: the denoising network of a clip, and the reference network whose features it attends to.

Both are Stable Diffusion 1.5's (Rombach et al., CVPR 2022) with diffusers' parameter names. The denoising network has
temporal modules behind every layer and takes guidance features after its first convolution; the reference network (Hu
et al., "Animate Anyone", CVPR 2024) has neither them nor an output: what counts are the inputs of its self-attentions,
the bank, which the denoising network's self-attentions at the same places read as further keys.

Clips have shape (B, C, F, h, w). Inside, the frames of all clips stand in a row, (B * F, C, h, w): only the temporal
modules look across frames.
"""

from collections.abc import Iterator, Sequence

import torch
from attrs import frozen
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from posesyn_champ.attention import SpatialTransformer, TransformerBlock, every_frame
from posesyn_champ.motion import MotionModule

Bank = Sequence[Tensor]
"""What the reference network remembers: the input (B, tokens, channels) of each self-attention, in computing order."""


@frozen
class UNetSizes:
    """Sizes of both networks, the defaults as published. ``heads`` is the number of heads on every level (SD 1.5's
    config calls it ``attention_head_dim``), ``groups`` that of the norms, ``token`` the width of the image token."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    heads: int = 8
    groups: int = 32
    token: int = 768
    latents: int = 4


class Level(nn.Module):
    """The layers of one resolution: residual block, spatial transformer, temporal module.

    What leads to the next resolution stands in ``downsamplers`` or ``upsamplers``, of which a level has one at most.
    """

    downsamplers: nn.ModuleList
    upsamplers: nn.ModuleList

    def __init__(self, sizes: UNetSizes, inputs: Sequence[int], channels: int, attends: bool, moves: bool) -> None:
        """``inputs`` are the channels that each layer gets."""
        super().__init__()
        self.channels = channels
        self.resnets = nn.ModuleList(residual(sizes, width, channels) for width in inputs)
        self.attentions = nn.ModuleList(
            SpatialTransformer(channels, sizes.heads, sizes.groups, sizes.token) for _ in inputs if attends
        )
        self.motion_modules = nn.ModuleList(MotionModule(channels) for _ in inputs if moves)

    def layer(
        self, at: int, x: Tensor, time: Tensor, token: Tensor, bank: Iterator[Tensor | None], frames: int
    ) -> Tensor:
        """One layer; takes its part of the bank, if it attends."""
        x = self.resnets[at](x, time)
        if len(self.attentions):
            x = self.attentions[at](x, token, next(bank), frames)
        if len(self.motion_modules):
            x = self.motion_modules[at](x, frames)
        return x


def residual(sizes: UNetSizes, inputs: int, outputs: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=inputs,
        out_channels=outputs,
        temb_channels=4 * sizes.channels[0],
        groups=sizes.groups,
        eps=1e-5,
    )


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """diffusers' own has a branch on the batch's size, which does not export."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


class UNet(nn.Module):
    """One of the two networks; see the module's text. ``denoises``: with temporal modules and an output."""

    down_blocks: Sequence[Level]
    up_blocks: Sequence[Level]

    def __init__(self, sizes: UNetSizes, denoises: bool) -> None:
        super().__init__()
        self.sizes = sizes
        first, last = sizes.channels[0], sizes.channels[-1]
        self.conv_in = nn.Conv2d(sizes.latents, first, 3, padding=1)
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, 4 * first)
        self.down_blocks = nn.ModuleList(_down_levels(sizes, denoises))  # type: ignore[assignment]  # of levels alone
        self.mid_block = Level(sizes, [last], last, True, denoises)
        self.mid_block.resnets.append(residual(sizes, last, last))
        self.up_blocks = nn.ModuleList(_up_levels(sizes, denoises))  # type: ignore[assignment]  # likewise
        self.denoises = denoises
        if denoises:
            self.conv_norm_out = nn.GroupNorm(sizes.groups, first, eps=1e-5)
            self.conv_out = nn.Conv2d(first, sizes.latents, 3, padding=1)

    def transformers(self) -> dict[str, TransformerBlock]:
        """The spatial transformer blocks by name, in computing order: those that write and read the bank."""
        return {name: part for name, part in self.named_modules() if isinstance(part, TransformerBlock)}

    def bank_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(tokens, channels) of each part of the bank for latents of that size."""
        down, deepest = list(enumerate(self.down_blocks)), len(self.down_blocks) - 1
        up = [(deepest - at, level) for at, level in enumerate(self.up_blocks)]
        return [
            (-(-height // 2**at) * -(-width // 2**at), level.channels)
            for at, level in (*down, (deepest, self.mid_block), *up)
            for _ in level.attentions
        ]

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        token: Tensor,
        guidance: Tensor | None = None,
        bank: Bank | None = None,
    ) -> Tensor:
        """Velocity (B, 4, F, h, w) of ``latents`` (B, 4, F, h, w) at ``timestep`` (B,); the reference network's last
        features.

        ``token`` (B, 1, width) is the image token, ``guidance`` (B, C, F, h, w) the encoders' sum. Without ``bank``
        self-attention sees the frame alone.
        """
        frames = latents.shape[2]
        time = every_frame(self.time_embedding(self.time_proj(timestep).to(latents.dtype)), frames)
        banks = iter([None] * len(self.transformers()) if bank is None else bank)
        x = self.conv_in(_row(latents))
        if guidance is not None:
            x = x + _row(guidance)
        skips = [x]
        for level in self.down_blocks:
            for at in range(len(level.resnets)):
                x = level.layer(at, x, time, token, banks, frames)
                skips.append(x)
            for sampler in level.downsamplers:
                x = sampler(x)
                skips.append(x)
        x = self.mid_block.layer(0, x, time, token, banks, frames)
        x = self.mid_block.resnets[1](x, time)
        for level in self.up_blocks:
            for at in range(len(level.resnets)):
                x = level.layer(at, torch.cat([x, skips.pop()], dim=1), time, token, banks, frames)
            for sampler in level.upsamplers:
                x = sampler(x)
        if self.denoises:
            x = self.conv_out(silu(self.conv_norm_out(x)))
        return x.unflatten(0, (-1, frames)).transpose(1, 2)


def _row(clip: Tensor) -> Tensor:
    """(B, C, F, h, w) -> (B * F, C, h, w)."""
    return clip.transpose(1, 2).flatten(0, 1)


def _down_levels(sizes: UNetSizes, moves: bool) -> Iterator[Level]:
    """All but the last level attend and shrink."""
    inputs = sizes.channels[0]
    for at, outputs in enumerate(sizes.channels):
        last = at == len(sizes.channels) - 1
        level = Level(sizes, [inputs, *[outputs] * (sizes.layers - 1)], outputs, not last, moves)
        level.downsamplers = nn.ModuleList([] if last else [Downsample(outputs)])
        yield level
        inputs = outputs


def _up_levels(sizes: UNetSizes, moves: bool) -> Iterator[Level]:
    """All but the first attend, all but the last grow. Each layer also gets what the way down left on its level."""
    widths = sizes.channels[::-1]
    below = widths[0]
    for at, outputs in enumerate(widths):
        last = at == len(widths) - 1
        above = outputs if last else widths[at + 1]  # the level's first layer on the way down got that many
        skips = [*[outputs] * sizes.layers, above]
        inputs = [own + skip for own, skip in zip([below, *[outputs] * sizes.layers], skips, strict=True)]
        level = Level(sizes, inputs, outputs, at > 0, moves)
        level.upsamplers = nn.ModuleList([] if last else [Upsample(outputs)])
        yield level
        below = outputs


def write_bank(reference: UNet, latents: Tensor, token: Tensor) -> list[Tensor]:
    """Run the reference network on ``latents`` (B, 4, h, w) at timestep 0 and listen to what its self-attentions get.

    The inputs of self-attention are the outputs of ``norm1``. Nothing after the last ``norm1`` counts.
    """
    written: list[Tensor] = []
    hooks = [
        block.norm1.register_forward_hook(lambda _module, _inputs, normed: written.append(normed))
        for block in reference.transformers().values()
    ]
    try:
        reference(latents[:, :, None], torch.zeros(len(latents), dtype=torch.long, device=latents.device), token)
    finally:
        for hook in hooks:
            hook.remove()
    return written


def pack(bank: Bank) -> Tensor:
    """The bank as one tensor (B, numbers), as engines take it."""
    return torch.cat([part.flatten(1) for part in bank], dim=1)


class Denoiser(nn.Module):
    """The denoising network with reference and image token, as engines take it."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, latents: Tensor, timestep: Tensor, guidance: Tensor, token: Tensor, bank: Tensor
    ) -> dict[str, Tensor]:
        """As :meth:`UNet.forward`, with the bank of :func:`pack`."""
        shapes = self.unet.bank_shapes(*latents.shape[3:])
        parts = bank.split([tokens * channels for tokens, channels in shapes], dim=1)
        unpacked = [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
        return {"velocity": self.unet(latents, timestep, token, guidance, unpacked)}


class UnconditionalDenoiser(nn.Module):
    """The same without reference and with a token of zeros: classifier-free guidance's other half.

    A network of its own, because a bank that is masked out would cost as much as one that is read.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timestep: Tensor, guidance: Tensor) -> dict[str, Tensor]:
        """As :meth:`UNet.forward`."""
        token = latents.new_zeros(latents.shape[0], 1, self.unet.sizes.token)
        return {"velocity": self.unet(latents, timestep, token, guidance)}
