"""SPIN's network: a ResNet and HMR's iterative regressor, image crop -> SMPL pose, shape and weak-perspective camera.

Kolotouros et al., "Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop", ICCV 2019, with the
regressor of Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018. Parameter names are those of
the official code, so that its checkpoints load strictly.
"""

from collections.abc import Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.geometry.rotations import matrix_to_six_d, six_d_to_matrix
from posesyn_core.inference.resnet import Bottleneck, residual_group

POSE, SHAPE, CAMERA = 24 * 6, 10, 3


@frozen
class Sizes:
    """The sizes of a network; the defaults are the published ones (a ResNet-50)."""

    width: int = 64
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    hidden: int = 1024


class Rotations(nn.Module):
    """The 6D form of rotations made matrices; a module of its own, which half-precision engines leave in float32."""

    def forward(self, pose: Tensor) -> Tensor:
        """(B, 144) -> (B, 24, 3, 3)."""
        return six_d_to_matrix(pose.unflatten(1, (24, 6)), "interleaved")


class SpinNetwork(nn.Module):
    """Crops in, SMPL parameters out.

    The official code pools with a fixed 7x7 window and takes 224x224 crops only; the global average used here is the
    same there and admits any crop size.
    """

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, sizes: Sizes | None = None, dropout: float = 0.5) -> None:
        """Random weights; the state that the iteration starts from is a T-pose facing the camera."""
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        width = sizes.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_group(Bottleneck, width, width, sizes.layers[0], stride=1)
        self.layer2 = residual_group(Bottleneck, 4 * width, 2 * width, sizes.layers[1], stride=2)
        self.layer3 = residual_group(Bottleneck, 8 * width, 4 * width, sizes.layers[2], stride=2)
        self.layer4 = residual_group(Bottleneck, 16 * width, 8 * width, sizes.layers[3], stride=2)
        self.fc1 = nn.Linear(32 * width + POSE + SHAPE + CAMERA, sizes.hidden)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(sizes.hidden, sizes.hidden)
        self.drop2 = nn.Dropout(dropout)
        self.decpose = nn.Linear(sizes.hidden, POSE)
        self.decshape = nn.Linear(sizes.hidden, SHAPE)
        self.deccam = nn.Linear(sizes.hidden, CAMERA)
        self.rotations = Rotations()
        rotations = torch.eye(3).repeat(24, 1, 1)
        rotations[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # upright in a frame whose y points down
        self.register_buffer("init_pose", matrix_to_six_d(rotations, "interleaved").reshape(1, POSE))
        self.register_buffer("init_shape", torch.zeros(1, SHAPE))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))
        self._initialise()

    def _initialise(self) -> None:
        """The official random weights: He's for convolutions, small ones for the three heads."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        for head in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(head.weight, gain=0.01)

    def forward(self, images: Tensor, iterations: int = 3) -> dict[str, Tensor]:
        """Regress from ``images`` (B, 3, S, S), RGB normalised by ImageNet's mean and deviation.

        Returns ``rotmat`` (B, 24, 3, 3), the root's rotation first (camera frame: x right, y down, z away), ``shape``
        (B, 10) SMPL betas, and ``cam`` (B, 3) = (s, tx, ty), weak perspective in the crop.
        """
        features = self.features(images)
        state = torch.cat([self.init_pose, self.init_shape, self.init_cam], dim=1).expand(len(images), -1)
        for _ in range(iterations):
            x = self.drop1(self.fc1(torch.cat([features, state], dim=1)))
            x = self.drop2(self.fc2(x))  # no activation in between, as published
            state = state + torch.cat([self.decpose(x), self.decshape(x), self.deccam(x)], dim=1)
        pose, shape, cam = state.split([POSE, SHAPE, CAMERA], dim=1)
        return {"rotmat": self.rotations(pose), "shape": shape, "cam": cam}

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 32 width): the backbone, pooled."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes of the network that a state dict belongs to; KeyError if it is none of SPIN's."""
    return Sizes(
        width=state["conv1.weight"].shape[0],
        layers=_counts(state),
        hidden=state["fc1.weight"].shape[0],
    )


def _counts(state: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    names: Sequence[str] = [name for name in state if name.endswith("conv1.weight")]
    first, second, third, fourth = (sum(name.startswith(f"layer{k}.") for name in names) for k in (1, 2, 3, 4))
    return first, second, third, fourth
