"""The starter's last stage: a body is turned, bone by bone, until its joints lie where the landmarks are.

What a network regresses is never quite where the picture shows it. Here each joint hangs on a spring to its landmark,
and every bone turns by the torque of the springs below it over their moment of inertia. The depth of a bone, and how it
is turned about itself, stay as they were regressed; how far each joint turns in each step is learnt.
"""

import torch
from torch import Tensor, nn

from posesyn_core.geometry.skeletons import SMPL24

STEPS = 4
RATES = {0: 0.1, **dict.fromkeys([3, 6, 9, 13, 14], 0.1), **dict.fromkeys([1, 2, 16, 17], 0.5),
         **dict.fromkeys([4, 5, 7, 8, 18, 19, 20, 21], 0.7)}  # fmt: skip
"""Before training: the share of its torque by which a joint turns; 0 for those that are not named. What hangs on many
joints is turned by all of them, so that those near the root get less."""
LEAST_INERTIA = 0.01
"""Square metres that no joint's inertia falls below."""


class Pull(nn.Module):
    """Turns a body's joints towards points that they should be projected to."""

    below: Tensor

    def __init__(self, joints: list[int]) -> None:
        """``joints`` (P,) are those that have such a point."""
        super().__init__()
        self.joints = joints
        rates = torch.tensor([RATES.get(joint, 0.0) for joint in range(24)])
        self.rates = nn.Parameter(rates.repeat(STEPS, 1))
        below = torch.zeros(24, len(joints), 1)
        for pair, joint in enumerate(joints):
            while (joint := SMPL24.parents[joint]) >= 0:
                below[joint, pair] = 1
        self.register_buffer("below", below, persistent=False)

    def turn(self, step: int, world: Tensor, absolute: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """By what each joint's local rotation is to be multiplied from the right (B, 24, 3, 3): less than a radian.

        ``world`` (B, 24, 3, 3) the joints' rotations against the T-pose, ``absolute`` (B, 24, 3) their places before
        the camera, ``points`` (B, P, 2) in focal lengths from its axis, ``weights`` (B, P).
        """
        ends = absolute[:, self.joints]
        apart = points * ends[..., 2:] - ends[..., :2]
        force = torch.cat([apart, torch.zeros_like(apart[..., :1])], -1) * weights[..., None]
        arms = (ends[:, None] - absolute[:, :, None]) * self.below  # (B, 24, P, 3)
        torque = torch.linalg.cross(arms, force[:, None].expand_as(arms), dim=-1).sum(2)
        inertia = (arms.square() * weights[:, None, :, None]).sum((2, 3)) + LEAST_INERTIA
        angle = self.rates[step][:, None] * torque / inertia[..., None]
        steady = angle / (1 + angle.square().sum(-1, keepdim=True)).sqrt()
        return turn_about((world.mT @ steady[..., None])[..., 0])


def turn_about(axes: Tensor) -> Tensor:
    """Axis-angles (..., 3) -> rotations (..., 3, 3) (Rodrigues), with a gradient at 0 as well."""
    square = axes.square().sum(-1)[..., None, None] + 1e-12
    angle = square.sqrt()
    x, y, z = axes.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axes.dtype, device=axes.device)
    return identity + angle.sin() / angle * cross + (1 - angle.cos()) / square * (cross @ cross)
