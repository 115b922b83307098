"""The starter's training loss: plain distances, each term averaged over what is labelled."""

from collections.abc import Mapping

import torch
from torch import Tensor

from posesyn_blazepose.network import SIZE
from posesyn_blazepose.starter_network import FOCAL_LENGTH

HIPS = [1, 2]
WEIGHTS = {"joints": 10.0, "rotations": 2.0, "betas": 0.1}
ORDINARY = 0.2
"""How much a person whose shape is unknown is an average one, as a share of what a known shape counts."""
STAGES = {"": 1.0, "first_": 0.3, "second_": 0.5}
"""What the answers of the head's stages, whose keys begin so, count in the loss."""


def starter_loss(answer: Mapping[str, Tensor], batch: Mapping[str, Tensor], keypoints: float) -> dict[str, Tensor]:
    """The terms of the last stage's answer, unweighted, and under "loss" the weighted sum of all stages'.

    ``batch`` holds the labels as ``posesyn_blazepose.views.labels`` makes them; ``keypoints`` is the weight of the 2D
    joints. Frames of which only these are known (real photographs) may bring a weight of theirs: ``weight2d`` (B,).
    """
    weights = WEIGHTS | {"keypoints2d": keypoints}
    stages = {stage: _terms(answer, batch, stage) for stage in STAGES}
    total = torch.stack(
        [weights[name] * STAGES[stage] * term for stage in STAGES for name, term in stages[stage].items()]
    )
    return {"loss": total.sum(), **stages[""]}


def _terms(answer: Mapping[str, Tensor], batch: Mapping[str, Tensor], stage: str) -> dict[str, Tensor]:
    points, joints, rotmat, betas = (answer[stage + name] for name in ("points", "joints", "rotmat", "betas"))
    known2d, known3d = batch["keypoints2d"][..., 2], batch["joints3d"][..., 3]
    apart = points * (FOCAL_LENGTH / (SIZE / 2)) - batch["keypoints2d"][..., :2]
    distance2d = apart.square().sum(-1).add(1e-8).sqrt()
    weight = batch.get("weight2d", torch.ones_like(known2d[:, 0]))
    joints = joints - joints[:, HIPS].mean(1, keepdim=True)
    truth = batch["joints3d"][..., :3] - batch["joints3d"][:, HIPS, :3].mean(1, keepdim=True)
    distance3d = (joints - truth).square().sum(-1).add(1e-8).sqrt()
    shaped = batch.get("has_shape", batch["has_smpl"])
    turned = (rotmat - batch["rotmat"]).square().sum((-1, -2)).add(1e-8).sqrt().mean(1)
    return {
        "keypoints2d": _mean(distance2d.clamp(max=2), known2d * weight[:, None]),
        "joints": _mean(distance3d, known3d * known3d[:, HIPS].amin(1, keepdim=True)),  # without a root, no distance
        "rotations": _mean(turned, batch["has_smpl"]),
        "betas": _mean((betas - batch["shape"]).square().mean(1), shaped.clamp(min=ORDINARY)),
    }


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of values where there are weights, over the batch; 0 if there are none."""
    return (values * weights).sum() / (weights > 0).sum().clamp(min=1)
