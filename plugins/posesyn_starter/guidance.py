"""A second task for a backbone while it is trained: say where each joint is in the crop, and how far away.

A regressor behind a global average learns slowly from scratch, for its features get no hint of where to look. So a
small head on the feature maps of the backbone's groups predicts a heatmap and a depth for each joint, the depth read
off under the heatmap (as in Sun et al., "Integral Human Pose Regression", ECCV 2018). It is trained along and dropped
afterwards: the network stays what it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from posesyn_core.components import TrainableEstimator
from posesyn_core.inference.predict import probe_sample
from posesyn_core.values import LabelledFrame, PoseEstimate, Prepared, Sample

JOINTS = 24
CHANNELS = 32
BLUR = 1.4
"""Standard deviation of a target's Gaussian, in cells of the finest map."""
LEAST_INSIDE = 0.3
"""A joint whose Gaussian lies outside the crop, but for less than this sum over the cells, has no target."""
DEPTH_UNIT = 0.25
"""Depths are predicted in these many metres."""


class HeatmapHead(nn.Module):
    """Feature maps, coarse ones added to finer ones -> per joint logits and depths on the finest map's cells."""

    def __init__(self, channels: Sequence[int]) -> None:
        """``channels`` of the feature maps, the finest first."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, CHANNELS, 1) for count in channels)
        self.out = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, 2 * JOINTS, 1),
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (B, C, S, S) of falling S -> logits and depths, (B, 24, S, S) each for the greatest S."""
        x = self.lateral[-1](maps[-1])
        for lateral, finer in zip(reversed(self.lateral[:-1]), reversed(maps[:-1]), strict=True):
            x = lateral(finer) + functional.interpolate(x, size=finer.shape[-2:], mode="nearest")
        logits, depths = self.out(x).split(JOINTS, dim=1)
        return logits, depths


class Guided:
    """A trainable estimator whose backbone also learns heatmaps and depths; fits ``TrainableEstimator``.

    The estimator's batches must hold ``keypoints2d`` (B, 24, 3) (x and y in [-1, 1] of the crop, confidence),
    ``joints3d`` (B, 24, 4): metres from the root, and confidence.
    """

    def __init__(self, estimator: TrainableEstimator, groups: Sequence[str]) -> None:
        """``groups`` are the names of the network's submodules that give the feature maps, the finest first."""
        self.estimator = estimator
        self.maps: dict[str, Tensor] = dict.fromkeys(groups, torch.empty(0))
        for name in groups:
            estimator.network.get_submodule(name).register_forward_hook(self._keep(name))
        example = estimator.preprocess(probe_sample()).tensors
        with torch.inference_mode():
            estimator.network.eval()(**{name: torch.from_numpy(value)[None] for name, value in example.items()})
        head = HeatmapHead([found.shape[1] for found in self.maps.values()])
        self.head = head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = nn.ModuleDict({"network": estimator.network, "head": self.head})

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self.maps[name] = output

        return hook

    def preprocess(self, sample: Sample) -> Prepared:
        """The estimator's own."""
        return self.estimator.preprocess(sample)

    def decode(self, outputs: Mapping[str, np.ndarray], contexts: Sequence[object]) -> list[PoseEstimate]:
        """The estimator's own."""
        return self.estimator.decode(outputs, contexts)

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The estimator's own."""
        return self.estimator.training_inputs(frame, rng)

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The estimator's terms, and ``heatmaps`` and ``depths`` added to its loss."""
        terms = self.estimator.training_loss(batch)
        logits, depths = self.head(list(self.maps.values()))
        terms["heatmaps"], terms["depths"] = guidance_loss(logits, depths, batch)
        return terms | {"loss": terms["loss"] + terms["heatmaps"] + terms["depths"]}

    def parameters(self) -> Iterable[nn.Parameter]:
        """The estimator's, and the head's."""
        return [*self.estimator.parameters(), *self.head.parameters()]

    def save(self, path: Path) -> None:
        """Write the estimator's weights; the head has served."""
        self.estimator.save(path)


def guidance_loss(logits: Tensor, depths: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy to a Gaussian about each labelled joint, and the error of the depth under the predicted heatmap.

    ``logits`` and ``depths`` (B, 24, S, S). Means over the joints that are labelled.
    """
    targets, labelled = gaussians(batch["keypoints2d"], logits.shape[-1])
    scores = logits.flatten(2).log_softmax(-1)
    entropy = -(targets * scores).sum(-1)
    depth = (scores.exp() * depths.flatten(2)).sum(-1)
    known = batch["joints3d"][..., 3]
    error = (depth - batch["joints3d"][..., 2] / DEPTH_UNIT).abs() * known
    return (entropy * labelled).sum() / labelled.sum().clamp(min=1), error.sum() / known.sum().clamp(min=1)


def gaussians(keypoints2d: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Targets (B, 24, size * size) that sum to 1, and which joints (B, 24) have one, for keypoints in [-1, 1]."""
    cells = (torch.arange(size, device=keypoints2d.device) + 0.5) / size * 2 - 1
    distance = (keypoints2d[..., :2, None] - cells) / (2 / size * BLUR)
    x, y = torch.exp(-0.5 * distance**2).unbind(-2)
    blobs = (y[..., :, None] * x[..., None, :]).flatten(2)
    total = blobs.sum(-1)
    return blobs / total.clamp(min=1e-6)[..., None], keypoints2d[..., 2] * (total > LEAST_INSIDE)
