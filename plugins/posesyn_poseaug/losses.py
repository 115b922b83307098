"""The losses of PoseAug: adversarial, regulariser and feedback (the official code's; the paper's as switches).

Where paper and official code differ, the code's is the default: Eq. 9's |1 - exp(harder - beta easier)| is never
called there, a range about a wanted ratio of part losses is; Eq. 10 thresholds the mean of gamma, the code each entry.
"""

import torch
from attrs import frozen
from torch import Tensor

from posesyn_poseaug.skeleton import rooted

JOINT_WEIGHTS = (1, 5, 2, 1, 5, 2, 1, 1, 1, 1, 5, 2, 1, 5, 2, 1)
"""How much a joint's error counts in the feedback: hips, shoulders (5) and knees, elbows (2) more than the rest."""
FEEDBACK_PARTS = ((1, 4, 10, 13), (2, 5, 9, 11, 14), (3, 6, 12, 15))
"""Joints near the trunk, in the middle, at the ends: each part has a ratio of its own."""


@frozen
class Hardness:
    """How much harder than the original a pose should be: the ratio of part losses, moving from ``start`` to ``end``.

    ``tolerance`` is how far a ratio may be off without cost, and the standard deviation that the diversity term wants.
    """

    start: float
    end: float
    tolerance: float
    weight: float
    diversity: float = 0.0

    def ratio(self, progress: float) -> float:
        """The wanted ratio after that share of the training."""
        return self.start + (self.end - self.start) * progress


BA_HARDNESS = Hardness(start=3, end=5, tolerance=2, weight=0.1)
RT_HARDNESS = Hardness(start=17, end=17, tolerance=15, weight=0.01)


def range_loss(values: Tensor, middle: float, tolerance: float) -> Tensor:
    """The mean of the squares of what is further than ``tolerance`` from ``middle``; the rest counts as 0."""
    squares = (values - middle) ** 2
    return torch.where(squares > tolerance**2, squares, 0).mean()


def rectified_l2(values: Tensor, threshold: float) -> Tensor:
    """The mean of the squares of what exceeds ``threshold``: the code's reading of Eq. 10."""
    return range_loss(values, 0, threshold)


def mean_rectified_l2(values: Tensor, threshold: float) -> Tensor:
    """Eq. 10 as printed: |values|^2 per sample, 0 where the mean over the sample's entries is below the threshold."""
    return torch.where(values.mean(1) < threshold, 0, (values**2).sum(1)).mean()


def angle_loss(ba_diff: Tensor, middle: float = 0.205, tolerance: float = 0.165) -> Tensor:
    """Keeps the mean change of a pose's bone angles, (N, 15) 1 - cos, within 0.04 to 0.37."""
    return range_loss(ba_diff.mean(1), middle, tolerance)


def part_losses(predicted: Tensor, target: Tensor) -> Tensor:
    """(N, 3) weighted mean errors of the three parts; ``predicted`` (N, 16, 3) is compared with the rooted target."""
    weights = predicted.new_tensor(JOINT_WEIGHTS)
    errors = torch.linalg.vector_norm(predicted - rooted(target), dim=-1) * weights
    return torch.stack([errors[:, list(part)].mean(1) for part in FEEDBACK_PARTS], 1)


def feedback(harder: Tensor, original: Tensor, hardness: Hardness, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The cost of part losses (N, 3) that are not as much larger than the original's as wanted.

    Beside it what it consists of, without the weights: ``hard_sample`` is the mean ratio of the first sample.
    """
    ratios = harder / original
    spread = ratios.std()
    diversity = (spread - hardness.tolerance) ** 2
    mean = range_loss(ratios, hardness.ratio(progress), hardness.tolerance)
    parts = {
        "hard_mean_loss": mean,
        "hard_std_loss": diversity,
        "hard_std": spread,
        "hard_mean": ratios.mean(),
        "hard_sample": ratios[0].mean(),
    }
    return hardness.diversity * diversity + hardness.weight * mean, parts


def exponential_feedback(harder: Tensor, original: Tensor, beta: float) -> Tensor:
    """Eq. 9 of the paper: |1 - exp(harder - beta * original)|, averaged over the (N, 3) part losses."""
    return (1 - torch.exp(harder - beta * original)).abs().mean()


def generator_loss(real: Tensor | None, fake: Tensor) -> Tensor:
    """What the generator minimises for scores of one discriminator: labels are swapped for the real half too, which has
    no gradient, only a value, and may be left out."""
    fooled = ((fake - 1) ** 2).mean()
    return 0.5 * (fooled if real is None else (real**2).mean() + fooled)
