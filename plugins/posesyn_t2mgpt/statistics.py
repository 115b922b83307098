"""The statistics with which a checkpoint's features are normalised."""

from attrs import frozen
from torch import Tensor

from posesyn_t2mgpt.representation import GROUPS

EMPHASIS = (3.0, 2.0, 1.0, 1.0, 0.5, 1 / 3, 1 / 3)
"""How much each of GROUPS counts in training, relative to the joint positions, by a smaller standard deviation.

The few codes of a small codebook then go to what joints are recovered from, and the root's path is not drowned by 259
other columns. (T2M-GPT's statistics do likewise: 25 for the root and the contacts.)
"""


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
    """Statistics of rows (N, 263): as in HumanML3D one standard deviation for all columns of a group, over EMPHASIS."""
    std = features.std(dim=0)
    for group, emphasis in zip(GROUPS, EMPHASIS, strict=True):
        std[group] = std[group].mean() / emphasis
    return Statistics(features.mean(dim=0), std)
