"""The discriminators: is a 3D pose human by its angles, is a 2D pose one that a camera sees (PoseAug, Sec. 3.3).

Parameter names are those of the official code; outputs are raw scores, 1 = real (LSGAN).
"""

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from posesyn_core.training.adversarial import SLOPE, he_normal
from posesyn_core.training.dense import Linear, dense
from posesyn_poseaug.skeleton import BONES, JOINTS, PARTS, bones_of, directions_of, kcs


@frozen
class Discriminator3dSizes:
    """The sizes of a 3D discriminator; the defaults are the official ones."""

    channels: int = 256
    middle: int = 100


class KcsPath(nn.Module):
    """Judges one part's matrix of inner products of bones."""

    def __init__(self, sizes: Discriminator3dSizes) -> None:
        super().__init__()
        self.kcs_layer_1 = Linear(BONES * BONES, sizes.channels)
        self.kcs_layer_2 = Linear(sizes.channels, sizes.channels)
        self.kcs_layer_3 = Linear(sizes.channels, sizes.channels)
        self.layer_last = Linear(sizes.channels, sizes.middle)
        self.layer_pred = nn.Linear(sizes.middle, 1)

    def first(self, products: Tensor, places: Tensor) -> Tensor:
        """The first layer, of the ``products`` (N, K) of the part's bones at ``places`` (K,) of the flat matrix.

        The other entries are 0, so their columns of the weight need not be multiplied.
        """
        return dense(products, self.kcs_layer_1.weight[:, places], self.kcs_layer_1.bias)

    def forward(self, products: Tensor, places: Tensor) -> Tensor:
        """Products of bones and their places, as in :meth:`first` -> (N, 1) scores."""
        a = leaky_relu(self.first(products, places), SLOPE)
        c = self.kcs_layer_3(leaky_relu(self.kcs_layer_2(a), SLOPE)) + a
        score: Tensor = self.layer_pred(leaky_relu(self.layer_last(c), SLOPE))
        return score


class Discriminator3d(nn.Module):
    """Judges joint angles, part by part (Eq. 7); bone lengths, place and size are invisible to it.

    ``parts`` are the bones that each path sees: :data:`~posesyn_poseaug.skeleton.PARTS`, or all bones in one path for
    the plain KCS of Table 7 (whose discriminator the official repository does not have).
    """

    def __init__(self, sizes: Discriminator3dSizes | None = None, parts: Sequence[tuple[int, ...]] = PARTS) -> None:
        super().__init__()
        self.sizes = sizes = sizes or Discriminator3dSizes()
        self.parts = tuple(parts)
        for number, part in enumerate(self.parts, 1):
            self.add_module(f"kcs_path_{number}", KcsPath(sizes))
            bones = torch.tensor(part)
            places = (bones[:, None] * BONES + bones).flatten()
            self.register_buffer(f"places_{number}", places, persistent=False)
        he_normal(self)

    def forward(self, poses: Tensor) -> Tensor:
        """(N, 16, 3) poses -> (N, parts) scores."""
        products = kcs(directions_of(bones_of(poses))).flatten(1)
        return torch.cat([self._path(number, products) for number in range(1, len(self.parts) + 1)], 1)

    def _path(self, number: int, products: Tensor) -> Tensor:
        places = self.get_buffer(f"places_{number}")
        score: Tensor = self.get_submodule(f"kcs_path_{number}")(products[:, places], places)
        return score


WHOLE_BODY = (tuple(range(BONES)),)
"""The one part of the plain KCS."""


class Discriminator2d(nn.Module):
    """Judges the place, size and view of a 2D pose as it stands on the normalised screen."""

    def __init__(self, channels: int = 100) -> None:
        super().__init__()
        self.pose_layer_1 = nn.Linear(2 * JOINTS, channels)
        self.pose_layer_2 = nn.Linear(channels, channels)
        self.pose_layer_3 = nn.Linear(channels, channels)
        self.pose_layer_4 = nn.Linear(channels, channels)
        self.layer_last = nn.Linear(channels, channels)
        self.layer_pred = nn.Linear(channels, 1)
        he_normal(self)

    def forward(self, keypoints: Tensor) -> Tensor:
        """(N, 16, 2) -> (N, 1) scores."""
        d1 = leaky_relu(self.pose_layer_1(keypoints.flatten(1)), SLOPE)
        d2 = leaky_relu(self.pose_layer_2(d1), SLOPE)
        d3 = leaky_relu(self.pose_layer_3(d2) + d1, SLOPE)
        score: Tensor = self.layer_pred(leaky_relu(self.layer_last(self.pose_layer_4(d3)), SLOPE))
        return score
