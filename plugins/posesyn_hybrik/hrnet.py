"""HybrIK on an HRNet-W48 with predicted camera (the official ``HRNetSMPLCam``).

HRNet (Sun et al., CVPR 2019; Wang et al., TPAMI 2020) keeps branches at 1/4, 1/8, 1/16 and 1/32 of the crop's size and
exchanges between them again and again. The finest gives the joints' 3D heatmaps; all four, brought down into one
feature as in HRNet's classifiers, give SMPL's betas, the twists of 23 joints, the camera's scale and the joints'
uncertainties. Parameter names are the official ones.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, cast

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.inference.resnet import BasicBlock, Bottleneck, residual_group
from posesyn_hybrik.camera import Solver
from posesyn_hybrik.heatmaps import SoftArgmax, averaged_heads
from posesyn_hybrik.skeleton import JOINTS
from posesyn_hybrik.smpl import HybrikSmpl

STAGES = (2, 3, 4)


@frozen
class HRNetSizes:
    """The sizes of a network; the defaults are the published ones (HRNet-W48).

    ``channels`` are the branches'; ``modules`` and ``blocks`` those of stages 2, 3 and 4, the latter for each branch;
    ``heads`` the inner widths of the four bottlenecks before the pooled feature of ``feature`` numbers.
    """

    stem: int = 64
    layer1: int = 4
    channels: tuple[int, ...] = (48, 96, 192, 384)
    modules: tuple[int, ...] = (1, 4, 3)
    blocks: tuple[tuple[int, ...], ...] = ((4, 4), (4, 4, 4), (4, 4, 4, 4))
    heads: tuple[int, ...] = (32, 64, 128, 256)
    feature: int = 2048
    depth: int = 64


class Exchange(nn.Module):
    """One module of a stage: residual blocks on each branch, then each branch becomes the sum of all, rescaled."""

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            residual_group(BasicBlock, width, width, count) for width, count in zip(channels, blocks, strict=True)
        )
        count = len(channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_rescaled(channels, source, target) for source in range(count)) for target in range(count)
        )
        self.relu = nn.ReLU()

    def forward(self, branches: Sequence[Tensor]) -> list[Tensor]:
        """One (B, C_k, H / 2^k, W / 2^k) per branch, in and out."""
        refined = [blocks(branch) for blocks, branch in zip(self.branches, branches, strict=True)]
        sums = []
        for layers in self.fuse_layers:
            rescaled = [layer(branch) for layer, branch in zip(cast(nn.ModuleList, layers), refined, strict=True)]
            total = rescaled[0]
            for other in rescaled[1:]:
                total = total + other
            sums.append(self.relu(total))
        return sums


def _rescaled(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch's width and resolution to another's."""
    wide, narrow = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(wide, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = [_convolution(wide, wide, 2) for _ in range(target - source - 1)]
    last = nn.Sequential(nn.Conv2d(wide, narrow, 3, 2, 1, bias=False), nn.BatchNorm2d(narrow))
    return nn.Sequential(*steps, last)


def _convolution(channels: int, out: int, stride: int, *, bias: bool = False, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=bias), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class HRNet(nn.Module):
    """Crops (B, 3, S, S) -> heatmap logits (B, 29 D, S / 4, S / 4) and a pooled feature (B, ``feature``)."""

    def __init__(self, sizes: HRNetSizes) -> None:
        super().__init__()
        stem, channels = sizes.stem, sizes.channels
        self.conv1 = nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = residual_group(Bottleneck, stem, stem, sizes.layer1)
        self.transition1 = _transition((Bottleneck.expansion * stem,), channels[:2])
        self.stage2 = _stage(channels[:2], sizes.modules[0], sizes.blocks[0])
        self.transition2 = _transition(channels[:2], channels[:3])
        self.stage3 = _stage(channels[:3], sizes.modules[1], sizes.blocks[1])
        self.transition3 = _transition(channels[:3], channels)
        self.stage4 = _stage(channels, sizes.modules[2], sizes.blocks[2])
        wide = [Bottleneck.expansion * inner for inner in sizes.heads]
        self.incre_modules = nn.ModuleList(
            residual_group(Bottleneck, channel, inner, 1) for channel, inner in zip(channels, sizes.heads, strict=True)
        )
        self.downsamp_modules = nn.ModuleList(_convolution(one, other, 2, bias=True) for one, other in pairwise(wide))
        self.final_feat_layer = _convolution(wide[-1], sizes.feature, 1, bias=True, size=1)
        self.final_layer = nn.Conv2d(channels[0], JOINTS * sizes.depth, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([layer(x) for layer in self.transition1])
        branches = self.stage3(_grown(self.transition2, branches))
        branches = self.stage4(_grown(self.transition3, branches))
        y = self.incre_modules[0](branches[0])
        for wider, down, branch in zip(self.incre_modules[1:], self.downsamp_modules, branches[1:], strict=True):
            y = wider(branch) + down(y)
        return self.final_layer(branches[0]), self.final_feat_layer(y).mean((2, 3))


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """To the branches of the next stage: a change of width where there is one, and a new branch of half the size."""
    same = [
        nn.Identity() if one == other else _convolution(one, other, 1)
        for one, other in zip(before, after, strict=False)
    ]
    return nn.ModuleList([*same, nn.Sequential(_convolution(before[-1], after[-1], 2))])


def _grown(transition: nn.ModuleList, branches: Sequence[Tensor]) -> list[Tensor]:
    """The branches and a new one from the last of them."""
    return [layer(branch) for layer, branch in zip(transition, [*branches, branches[-1]], strict=True)]


def _stage(channels: Sequence[int], modules: int, blocks: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(Exchange(channels, blocks) for _ in range(modules)))


class HybrikHRNet(nn.Module):
    """Crops in; joints, SMPL parameters and the camera out.

    ``flip_test`` averages with what the mirrored crops give, as the official numbers do; ``refine_scale`` corrects the
    camera at inference (``Solver.refined``), as the official code has done since May 2023.
    """

    regressor: ClassVar[tuple[str, ...]] = ("decshape", "decphi", "deccam")
    """The parts that read the pooled features."""
    init_shape: Tensor
    init_cam: Tensor

    def __init__(
        self,
        sizes: HRNetSizes | None = None,
        smpl: HybrikSmpl | None = None,
        flip_test: bool = False,
        refine_scale: bool = True,
    ) -> None:
        """Random weights; ``smpl`` is the body, by default SMPL's with all arrays still to be loaded."""
        super().__init__()
        self.sizes = sizes = sizes or HRNetSizes()
        self.flip_test = flip_test
        self.register_buffer("init_shape", torch.zeros(10))
        self.register_buffer("init_cam", torch.tensor([0.9]))
        self.preact = HRNet(sizes)
        self.smpl = smpl or HybrikSmpl()
        self.decshape = nn.Linear(sizes.feature, 10)
        self.decphi = nn.Linear(sizes.feature, 23 * 2)
        self.deccam = nn.Linear(sizes.feature, 1)
        self.decsigma = nn.Linear(sizes.feature, JOINTS)
        self.soft_argmax = SoftArgmax()
        self.solver = Solver(refine_scale)

    def forward(self, images: Tensor, offset: Tensor | None = None) -> dict[str, Tensor]:
        """``images`` (B, 3, S, S), normalised as in ``posesyn_hybrik.inputs``; ``offset`` (B, 2) as in ``Solver``.

        Returns what ``Solver`` does, ``uvd`` and ``maxvals`` of ``SoftArgmax``, ``shape`` (B, 10) betas and
        ``delta_shape`` (B, 10) before the mean's, ``phi`` (B, 23, 2), ``sigma`` (B, 29, 1), ``camera`` (B, 1), the
        scale as predicted, and ``transl`` (B, 3), SMPL's translation in metres.
        """
        found = self.heads(images, self.flip_test)
        rest = self.smpl(found["shape"])
        still = torch.zeros_like(found["uvd"][:, 0, :2])
        offset = still if offset is None else offset
        solved = self.solver(found["uvd"], rest, found["phi"], found["scale"], found["sigma"], offset, still)
        return {**found, "camera": found["scale"], **solved, "transl": solved["root"] - rest[:, 0]}

    def heads(self, images: Tensor, flip_test: bool = False) -> dict[str, Tensor]:
        """What the network itself predicts: ``uvd``, ``maxvals``, ``shape``, ``delta_shape``, ``phi``, ``sigma`` and
        ``scale`` (B, 1)."""
        logits, features = self.features(images)
        here = self._regressed(features)
        if not flip_test:
            uvd, maxvals = self.soft_argmax(logits)
            return {**here, "uvd": uvd, "maxvals": maxvals}
        mirrored_logits, mirrored_features = self.features(images.flip(3))
        uvd, maxvals = self.soft_argmax(logits, mirrored_logits)
        there = self._regressed(mirrored_features)
        return {
            **averaged_heads(here, there),
            "uvd": uvd,
            "maxvals": maxvals,
            "scale": 2 / (1 / here["scale"] + 1 / there["scale"]),  # the mean of the distances
        }

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmap logits (B, 29, D, S / 4, S / 4) and the pooled feature (B, ``feature``) of the other heads."""
        logits, pooled = self.preact(images)
        return logits.unflatten(1, (JOINTS, -1)), pooled

    def _regressed(self, features: Tensor) -> dict[str, Tensor]:
        delta = self.decshape(features)
        return {
            "delta_shape": delta,
            "shape": delta + self.init_shape,
            "phi": self.decphi(features).unflatten(1, (23, 2)),
            "sigma": self.decsigma(features).sigmoid()[..., None],
            "scale": self.deccam(features) + self.init_cam,
        }


def hrnet_sizes(state: Mapping[str, Tensor]) -> HRNetSizes:
    """The sizes of the network that a state dict belongs to; KeyError if it is none of this model's."""

    def width(name: str) -> int:
        return int(state[f"preact.{name}.weight"].shape[0])

    def count(prefix: str) -> int:
        """How many numbers follow ``prefix`` in the names."""
        starts = {
            name.removeprefix(f"preact.{prefix}.").split(".")[0]
            for name in state
            if name.startswith(f"preact.{prefix}.")
        }
        return len(starts)

    branches = {stage: range(stage) for stage in STAGES}
    return HRNetSizes(
        stem=width("conv1"),
        layer1=count("layer1"),
        channels=tuple(width(f"stage4.0.branches.{k}.0.conv1") for k in branches[4]),
        modules=tuple(count(f"stage{stage}") for stage in STAGES),
        blocks=tuple(tuple(count(f"stage{stage}.0.branches.{k}") for k in branches[stage]) for stage in STAGES),
        heads=tuple(width(f"incre_modules.{k}.0.conv1") for k in branches[4]),
        feature=width("final_feat_layer.0"),
        depth=width("final_layer") // JOINTS,
    )
