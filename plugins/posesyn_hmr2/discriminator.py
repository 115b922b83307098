"""The discriminator of HMR (Kanazawa et al., CVPR 2018): tells poses and shapes of motion capture from regressed ones.

One verdict for each joint's rotation, one for the shape and one for all joints together, 1 meaning real. Parameter
names are those of the official code of 4D-Humans.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

JOINTS, SHAPE = 23, 10
_FEATURES = 32


class Discriminator(nn.Module):
    """25 verdicts on a body: 23 joints, the shape, the whole pose."""

    def __init__(self, hidden: int = 1024) -> None:
        super().__init__()
        self.D_conv1 = nn.Conv2d(9, _FEATURES, 1)
        self.D_conv2 = nn.Conv2d(_FEATURES, _FEATURES, 1)
        self.pose_out = JointVerdicts(nn.Linear(_FEATURES, 1) for _ in range(JOINTS))
        self.betas_fc1 = nn.Linear(SHAPE, 10)
        self.betas_fc2 = nn.Linear(10, 5)
        self.betas_out = nn.Linear(5, 1)
        self.D_alljoints_fc1 = nn.Linear(JOINTS * _FEATURES, hidden)
        self.D_alljoints_fc2 = nn.Linear(hidden, hidden)
        self.D_alljoints_out = nn.Linear(hidden, 1)

    def forward(self, body_pose: Tensor, betas: Tensor) -> Tensor:
        """Rotation matrices (B, 23, 3, 3) and shapes (B, 10) -> verdicts (B, 25)."""
        relu = functional.relu
        x = relu(self.D_conv2(relu(self.D_conv1(body_pose.flatten(2).mT[..., None]))))[..., 0]  # (B, 32, 23)
        joints = self.pose_out(x)
        shape = self.betas_out(relu(self.betas_fc2(relu(self.betas_fc1(betas)))))
        whole = self.D_alljoints_out(relu(self.D_alljoints_fc2(relu(self.D_alljoints_fc1(x.flatten(1))))))
        return torch.cat([joints, shape, whole], dim=1)


class JointVerdicts(nn.ModuleList):
    """A linear layer for each joint, all computed at once."""

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 32, 23) -> verdicts (B, 23)."""
        layers = [cast(nn.Linear, layer) for layer in self]
        weight, bias = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
        return torch.einsum("bfj,jf->bj", x, weight) + bias


def generator_loss(discriminator: Discriminator, body_pose: Tensor, betas: Tensor) -> Tensor:
    """How far regressed bodies are from being taken for real: sum of (D - 1)^2, over the number of bodies.

    Its gradient does not reach the discriminator's weights.
    """
    fixed = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    verdicts = functional_call(discriminator, fixed, (body_pose, betas))
    return (verdicts - 1).square().sum() / len(body_pose)


def discriminator_loss(
    discriminator: Discriminator, body_pose: Tensor, betas: Tensor, real_pose: Tensor, real_betas: Tensor
) -> Tensor:
    """Sum of D(regressed)^2 + sum of (D(real) - 1)^2, both over the number of regressed bodies, as published.

    With twice as many real bodies (the published number) the real ones weigh double. No gradient reaches the bodies.
    """
    fake = discriminator(body_pose.detach(), betas.detach())
    real = discriminator(real_pose, real_betas)
    return (fake.square().sum() + (real - 1).square().sum()) / len(body_pose)
