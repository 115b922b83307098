"""HybrIK on a ResNet-34 with predicted camera (the official ``Simple3DPoseBaseSMPLCam``).

A ResNet without its last pooling, three transposed convolutions to the joints' 3D heatmaps, and from the pooled
features SMPL's betas, the twists of 23 joints, a camera and the joints' uncertainties. Parameter names are the
official ones. Heads stay linear down to the last: there is no activation between ``fc1`` and ``fc2``.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.inference.resnet import BasicBlock, residual_group
from posesyn_hybrik.camera import Solver
from posesyn_hybrik.heatmaps import SoftArgmax, averaged_heads
from posesyn_hybrik.skeleton import JOINTS
from posesyn_hybrik.smpl import HybrikSmpl


@frozen
class ResNetSizes:
    """The sizes of a network; the defaults are the published ones (a ResNet-34). ``depth`` is a heatmap's depth."""

    width: int = 64
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    deconv: tuple[int, int, int] = (256, 256, 256)
    hidden: int = 1024
    depth: int = 64


class ResNetFeatures(nn.Module):
    """A ResNet of basic blocks without its last pooling: (B, 3, S, S) -> (B, 8 width, S / 32, S / 32)."""

    def __init__(self, width: int, layers: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_group(BasicBlock, width, width, layers[0])
        self.layer2 = residual_group(BasicBlock, width, 2 * width, layers[1], stride=2)
        self.layer3 = residual_group(BasicBlock, 2 * width, 4 * width, layers[2], stride=2)
        self.layer4 = residual_group(BasicBlock, 4 * width, 8 * width, layers[3], stride=2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class HybrikResNet(nn.Module):
    """Crops in; joints, SMPL parameters and the camera out.

    ``flip_test`` averages with what the mirrored crops give, as the official numbers do.
    """

    regressor: ClassVar[tuple[str, ...]] = ("fc1", "fc2", "decshape", "decphi", "deccam")
    """The parts that read the pooled features."""
    init_shape: Tensor
    init_cam: Tensor

    def __init__(
        self, sizes: ResNetSizes | None = None, smpl: HybrikSmpl | None = None, flip_test: bool = False
    ) -> None:
        """Random weights; ``smpl`` is the body, by default SMPL's with all arrays still to be loaded."""
        super().__init__()
        self.sizes = sizes = sizes or ResNetSizes()
        self.flip_test = flip_test
        self.register_buffer("init_shape", torch.zeros(10))
        self.register_buffer("init_cam", torch.tensor([0.9, 0.0, 0.0]))
        features = 8 * sizes.width
        self.preact = ResNetFeatures(sizes.width, sizes.layers)
        self.deconv_layers = _deconvolutions(features, *sizes.deconv)
        self.final_layer = nn.Conv2d(sizes.deconv[-1], JOINTS * sizes.depth, 1)
        self.smpl = smpl or HybrikSmpl()
        self.fc1 = nn.Linear(features, sizes.hidden)
        self.drop1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(sizes.hidden, sizes.hidden)
        self.drop2 = nn.Dropout(0.5)
        self.decshape = nn.Linear(sizes.hidden, 10)
        self.decphi = nn.Linear(sizes.hidden, 23 * 2)
        self.deccam = nn.Linear(sizes.hidden, 3)
        self.decsigma = nn.Linear(sizes.hidden, JOINTS)
        self.soft_argmax = SoftArgmax()
        self.solver = Solver(refine_scale=False)

    def forward(self, images: Tensor, offset: Tensor | None = None) -> dict[str, Tensor]:
        """``images`` (B, 3, S, S), normalised as in ``posesyn_hybrik.inputs``; ``offset`` (B, 2) as in ``Solver``.

        Without ``offset`` (in training) the predicted translation is taken off the joints; with it it is not used.
        Returns what ``Solver`` does, ``uvd`` and ``maxvals`` of ``SoftArgmax``, ``shape`` (B, 10) betas and
        ``delta_shape`` (B, 10) before the mean's, ``phi`` (B, 23, 2), ``sigma`` (B, 29, 1), ``trans`` (B, 2) and
        ``transl`` (B, 3), SMPL's translation in metres.
        """
        found = self.heads(images, self.flip_test)
        used = torch.zeros_like(found["trans"]) if offset is not None else found["trans"]
        rest = self.smpl(found["shape"])
        offset = torch.zeros_like(used) if offset is None else offset
        solved = self.solver(found["uvd"], rest, found["phi"], found["scale"], found["sigma"], offset, used)
        return {**found, **solved, "transl": solved["root"] - rest[:, 0]}

    def heads(self, images: Tensor, flip_test: bool = False) -> dict[str, Tensor]:
        """What the network itself predicts: ``uvd``, ``maxvals``, ``shape``, ``delta_shape``, ``phi``, ``sigma``,
        ``scale`` (B, 1) and ``trans`` (B, 2)."""
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
            "scale": (here["scale"] + there["scale"]) / 2,
            "trans": (here["trans"] + there["trans"] * there["trans"].new_tensor([-1, 1])) / 2,
        }

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmap logits (B, 29, D, S / 4, S / 4) and the hidden features (B, hidden) of the other heads."""
        x = self.preact(images)
        logits = self.final_layer(self.deconv_layers(x)).unflatten(1, (JOINTS, -1))
        hidden = self.drop1(self.fc1(x.mean((2, 3))))
        return logits, self.drop2(self.fc2(hidden))

    def _regressed(self, features: Tensor) -> dict[str, Tensor]:
        delta = self.decshape(features)
        cam = self.deccam(features) + self.init_cam
        return {
            "delta_shape": delta,
            "shape": delta + self.init_shape,
            "phi": self.decphi(features).unflatten(1, (23, 2)),
            "sigma": self.decsigma(features).sigmoid()[..., None],
            "scale": cam[:, :1],
            "trans": cam[:, 1:],
        }


def _deconvolutions(channels: int, *widths: int) -> nn.Sequential:
    """Transposed convolutions, each of which doubles height and width."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [
            nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(*layers)


def resnet_sizes(state: Mapping[str, Tensor]) -> ResNetSizes:
    """The sizes of the network that a state dict belongs to; KeyError if it is none of this model's."""
    names = [name for name in state if name.endswith("conv1.weight")]
    first, second, third, fourth = (sum(name.startswith(f"preact.layer{k}.") for name in names) for k in (1, 2, 3, 4))
    one, two, three = (state[f"deconv_layers.{at}.weight"].shape[1] for at in (0, 3, 6))
    return ResNetSizes(
        width=state["preact.conv1.weight"].shape[0],
        layers=(first, second, third, fourth),
        deconv=(one, two, three),
        hidden=state["fc1.weight"].shape[0],
        depth=state["final_layer.weight"].shape[0] // JOINTS,
    )
