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


PARENTS = list(SMPL24.parents[1:])


class Pull(nn.Module):
    """Turns a body's bones towards points that its joints should be projected to."""

    below: Tensor
    chain: Tensor

    def __init__(self, joints: list[int]) -> None:
        """``joints`` (P,) are those that have such a point."""
        super().__init__()
        rates = torch.tensor([RATES.get(joint, 0.0) for joint in range(24)])
        self.rates = nn.Parameter(rates.repeat(STEPS, 1))
        chain = torch.eye(24)  # which joints (columns) lie on the way from the root to each (rows), itself included
        for joint in range(1, 24):
            chain[joint] += chain[SMPL24.parents[joint]]
        self.register_buffer("chain", chain, persistent=False)
        hangs = chain[joints].T.clone()
        hangs[joints, torch.arange(len(joints))] = 0
        self.register_buffer("below", hangs[..., None], persistent=False)

    def turned(self, step: int, absolute: Tensor, ends: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """By what the bones that begin at each joint are turned in a step (B, 24, 3, 3), the joints above included.

        ``absolute`` (B, 24, 3) the joints' places before the camera, ``ends`` (B, P, 3) those of them that have one of
        the ``points`` (B, P, 2), in focal lengths from the camera's axis; ``weights`` (B, P).
        """
        apart = (points * ends[..., 2:] - ends[..., :2]) * weights[..., None]
        x, y, z = ((ends[:, None] - absolute[:, :, None]) * self.below).unbind(-1)  # (B, 24, P)
        right, down = apart[:, None].unbind(-1)
        torque = torch.stack([-z * down, z * right, x * down - y * right], -1).sum(2)
        inertia = ((x.square() + y.square() + z.square()) * weights[:, None]).sum(2) + LEAST_INERTIA
        angle = torque * (self.rates[step] / inertia)[..., None]
        steady = angle / (1 + angle.square().sum(-1, keepdim=True)).sqrt()
        return turn_about(self.chain @ steady)


def turn_about(axes: Tensor) -> Tensor:
    """Axis-angles (..., 3) -> rotations (..., 3, 3) (Rodrigues), with a gradient at 0 as well."""
    square = axes.square().sum(-1)[..., None, None] + 1e-12
    angle = square.sqrt()
    x, y, z = axes.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axes.dtype, device=axes.device)
    return identity + angle.sin() / angle * cross + (1 - angle.cos()) / square * (cross @ cross)
