"""HMR 2.0's network: a ViT-H/16 and a cross-attention decoder, image crop -> SMPL pose, shape and camera.

Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023. The backbone is ViTPose's
(Xu et al., NeurIPS 2022); the head reads its tokens with one query token, from which three linear layers read the
increments of pose (24 rotations in the 6D form of Zhou et al., CVPR 2019), shape and weak-perspective camera.
Parameter names are those of the official code, so that its checkpoints load strictly. Letters in shapes: B crops,
N = 192 image tokens, C channels of the backbone, D of the decoder.
"""

from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from posesyn_core.geometry.rotations import matrix_to_six_d, six_d_to_matrix
from posesyn_hmr2.discriminator import Discriminator

IMAGE_SIZE = 256
"""Side of the square crop in pixels; the backbone sees its middle 192 columns."""
_BORDER = 32
_PATCH, _PATCH_PADDING = 16, 2
_GRID = (16, 12)
POSE, SHAPE, CAMERA = 24 * 6, 10, 3


@frozen
class Sizes:
    """The sizes of a network; the defaults are the published ones (of HMR2.0a and b alike).

    ``refines`` is the official ``TRANSFORMER_INPUT = mean_shape``: the query token is the current estimate instead of
    a constant, so that ``rounds`` (``IEF_ITERS``) of refinement make sense.
    """

    channels: int = 1280
    depth: int = 32
    head_channels: int = 80
    decoder_channels: int = 1024
    decoder_depth: int = 6
    decoder_heads: int = 8
    decoder_head_channels: int = 64
    decoder_hidden: int = 1024
    refines: bool = False
    rounds: int = 1
    discriminator: int = 1024
    drop_path: float = 0.55


class Hmr2Network(nn.Module):
    """Crops in, SMPL parameters out. The discriminator is a part of the checkpoint and of the training alone."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        """Random weights; the estimate that is refined is at first a T-pose facing the camera."""
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.backbone = Backbone(sizes)
        self.smpl_head = SmplHead(sizes)
        self.discriminator = Discriminator(sizes.discriminator)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Regress from ``images`` (B, 3, 256, 256), RGB normalised by ImageNet's mean and deviation.

        Returns ``global_orient`` (B, 1, 3, 3) of the root (camera frame: x right, y down, z away), ``body_pose``
        (B, 23, 3, 3) relative to the parents, ``betas`` (B, 10) of SMPL, and ``cam`` (B, 3) = (s, tx, ty), weak
        perspective in the crop.
        """
        return self.smpl_head(self.backbone(images[..., _BORDER:-_BORDER]))


class Backbone(nn.Module):
    """ViTPose's plain vision transformer, without class token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels, depth = sizes.channels, sizes.depth
        self.patch_embed = PatchEmbedding(channels)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + _GRID[0] * _GRID[1], channels))
        rates = [sizes.drop_path * at / max(1, depth - 1) for at in range(depth)]
        self.blocks = nn.ModuleList(Block(channels, sizes.head_channels, rate) for rate in rates)
        self.last_norm = nn.LayerNorm(channels, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 256, 192) -> (B, N, C), row by row of the 16 x 12 grid."""
        x = self.patch_embed(images)
        x = x + self.pos_embed[:, 1:] + self.pos_embed[:, :1]  # the class token's position, though there is none
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


class PatchEmbedding(nn.Module):
    """16 x 16 patches, each shifted by 2 pixels up and left: the published padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, _PATCH, stride=_PATCH, padding=_PATCH_PADDING)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, C)."""
        return self.proj(images).flatten(2).mT


class Block(nn.Module):
    """Pre-norm attention and MLP; in training each is left out for a share ``drop_path`` of the samples."""

    def __init__(self, channels: int, head_channels: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = ImageAttention(channels, head_channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Mlp(channels)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self._sometimes(self.attn(self.norm1(x)))
        return x + self._sometimes(self.mlp(self.norm2(x)))

    def _sometimes(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., ECCV 2016): 0 for some samples, the others scaled up to keep the mean."""
        if not self.training or self.drop_path == 0:
            return x
        kept = torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)


class ImageAttention(nn.Module):
    """Every image token attends to all."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with GELU (the exact one)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.fc2(functional.gelu(self.fc1(x)))


class SmplHead(nn.Module):
    """Image tokens -> SMPL parameters and camera, as increments to the ``init_*`` buffers of the checkpoint."""

    init_body_pose: Tensor
    init_betas: Tensor
    init_cam: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.refines, self.rounds = sizes.refines, sizes.rounds
        self.transformer = TokenDecoder(sizes)
        self.decpose = nn.Linear(sizes.decoder_channels, POSE)
        self.decshape = nn.Linear(sizes.decoder_channels, SHAPE)
        self.deccam = nn.Linear(sizes.decoder_channels, CAMERA)
        self.rotations = SixDToMatrix()
        upright = torch.eye(3).repeat(24, 1, 1)
        upright[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # in a frame whose y points down
        self.register_buffer("init_body_pose", matrix_to_six_d(upright, "columns").reshape(1, POSE))
        self.register_buffer("init_betas", torch.zeros(1, SHAPE))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """(B, N, C) -> the outputs of :class:`Hmr2Network`."""
        state = torch.cat([self.init_body_pose, self.init_betas, self.init_cam], dim=1).expand(len(tokens), -1)
        for _ in range(self.rounds):
            state = state + self.increment(tokens, state)
        pose, betas, cam = state.split([POSE, SHAPE, CAMERA], dim=1)
        rotations = self.rotations(pose)
        return {"global_orient": rotations[:, :1], "body_pose": rotations[:, 1:], "betas": betas, "cam": cam}

    def increment(self, tokens: Tensor, state: Tensor) -> Tensor:
        """Image tokens (B, N, C) and an estimate (B, 157: pose, betas, camera) -> what to add to it."""
        query = state if self.refines else torch.zeros_like(state[:, :1])
        x = self.transformer(query[:, None], tokens)[:, 0]
        return torch.cat([self.decpose(x), self.decshape(x), self.deccam(x)], dim=1)


class SixDToMatrix(nn.Module):
    """Orthogonalisation of the 6D form; a module of its own because half precision is too coarse for it."""

    def forward(self, pose: Tensor) -> Tensor:
        """(B, 144), each six numbers two columns one after the other -> (B, 24, 3, 3)."""
        return six_d_to_matrix(pose.unflatten(1, (24, 6)), "columns")


class TokenDecoder(nn.Module):
    """The query token goes through layers of self-attention, cross-attention to the image, and feed-forward."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.decoder_channels
        self.to_token_embedding = nn.Linear(POSE + SHAPE + CAMERA if sizes.refines else 1, channels)
        self.pos_embedding = nn.Parameter(torch.randn(1, 1, channels))
        self.transformer = DecoderLayers(sizes)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """``query`` (B, 1, 1 or 157), ``context`` (B, N, C) -> (B, 1, D)."""
        return self.transformer(self.to_token_embedding(query) + self.pos_embedding, context)


class DecoderLayers(nn.Module):
    """``layers.{i}.0`` is self-attention, ``.1`` cross-attention and ``.2`` feed-forward; no norm at the end."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels, heads, head_channels = sizes.decoder_channels, sizes.decoder_heads, sizes.decoder_head_channels
        self.layers = nn.ModuleList()
        for _ in range(sizes.decoder_depth):
            attention = SelfAttention(channels, heads, head_channels)
            cross_attention = CrossAttention(channels, sizes.channels, heads, head_channels)
            feed_forward = FeedForward(channels, sizes.decoder_hidden)
            parts = (attention, cross_attention, feed_forward)
            self.layers.append(DecoderLayer(PreNorm(channels, part) for part in parts))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, 1, D) and (B, N, C) -> (B, 1, D)."""
        for layer in self.layers:
            x = layer(x, context)
        return x


class DecoderLayer(nn.ModuleList):
    """Self-attention, cross-attention and feed-forward in turn."""

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, 1, D) and (B, N, C) -> (B, 1, D)."""
        attention, cross_attention, feed_forward = self
        x = x + attention(x)
        x = x + cross_attention(x, context)
        return x + feed_forward(x)


class PreNorm(nn.Module):
    """``fn`` of the normalised token (the context of a cross-attention is not normalised)."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fn = fn

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """(B, 1, D) -> (B, 1, D)."""
        return self.fn(self.norm(x), *context)


class SelfAttention(nn.Module):
    """Attention of the token to itself: with one token its values, whatever query and key are."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * heads * head_channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, D) -> (B, 1, D)."""
        query, key, value = self.to_qkv(x).chunk(3, dim=-1)
        return self.to_out(_attend(query, key, value, self.heads))


class CrossAttention(nn.Module):
    """Attention of the token to the image."""

    def __init__(self, channels: int, context_channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_kv = nn.Linear(context_channels, 2 * heads * head_channels, bias=False)
        self.to_q = nn.Linear(channels, heads * head_channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_channels, channels))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, 1, D) and (B, N, C) -> (B, 1, D)."""
        key, value = self.to_kv(context).chunk(2, dim=-1)
        return self.to_out(_attend(self.to_q(x), key, value, self.heads))


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """(B, Q, heads * head_channels) and (B, N, ...) twice -> (B, Q, heads * head_channels)."""
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two linear layers with GELU; the published names leave places for dropouts, whose rates are 0."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        first, second = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.net = nn.Sequential(first, nn.GELU(), nn.Identity(), second, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, D) -> (B, 1, D)."""
        return self.net(x)


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes of the network that a state dict belongs to; KeyError if it is none of HMR 2.0's.

    Attention heads don't show in the shapes: they have the published widths, and a network that can't have is none.
    """
    head, published = "smpl_head.transformer", Sizes()
    first = f"{head}.transformer.layers.0"
    channels, width = state["backbone.pos_embed"].shape[-1], state[f"{first}.1.fn.to_q.weight"].shape[0]
    if channels % published.head_channels or width % published.decoder_head_channels:
        raise KeyError("attention heads of the published widths")
    verdict = state.get("discriminator.D_alljoints_fc1.weight")
    return Sizes(
        channels=channels,
        depth=_count(state, "backbone.blocks"),
        decoder_channels=state[f"{head}.pos_embedding"].shape[-1],
        decoder_depth=_count(state, f"{head}.transformer.layers"),
        decoder_heads=width // published.decoder_head_channels,
        decoder_hidden=state[f"{first}.2.fn.net.0.weight"].shape[0],
        refines=state[f"{head}.to_token_embedding.weight"].shape[-1] != 1,
        discriminator=published.discriminator if verdict is None else verdict.shape[0],
    )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules stand below ``prefix``."""
    dots = prefix.count(".") + 1
    return len({name.split(".")[dots] for name in state if name.startswith(f"{prefix}.")})
