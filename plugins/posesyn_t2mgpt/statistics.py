"""The statistics with which a checkpoint's features are normalised."""

import torch
from attrs import frozen
from torch import Tensor

from posesyn_t2mgpt.representation import GROUPS


@frozen(eq=False)
class Statistics:
    """Mean and standard deviation (263,) of every feature.

    They belong to a checkpoint. The official T2M-GPT was not trained with HumanML3D's ``Std.npy``, but with a file in
    which those of the root and of the foot contacts are 25 times smaller; the wrong one scales all root motion by 25.
    """

    mean: Tensor
    std: Tensor

    def normalize(self, features: Tensor) -> Tensor:
        """(..., 263) metres and radians -> units of the standard deviation, in the features' own precision."""
        return (features - self.mean.to(features)) / self.std.to(features)

    def denormalize(self, features: Tensor) -> Tensor:
        """The way back."""
        return features * self.std.to(features) + self.mean.to(features)


def measure(features: Tensor) -> Statistics:
    """Statistics of rows (N, 263) as HumanML3D makes them: one standard deviation for all columns of a group."""
    std = features.std(dim=0)
    return Statistics(features.mean(dim=0), torch.cat([std[group].mean().expand(std[group].shape) for group in GROUPS]))
