"""Joint rotations from joint positions in closed form: the start and the pose prior of the fit (PoseSyn Eq. 8).

Pelvis and chest are rigid, so their orientation follows from the joints around them. For every other joint the
direction of its bone gives the swing; the twist about the bone, which positions leave open, comes from anatomy:

- knees and elbows are hinges: the plane in which a limb is bent gives the twist of hip and shoulder;
- a straight leg takes it from where its foot points, a straight arm from the shortest way out of the T-pose;
- the twist between pelvis and chest is spread evenly over the spine; neck, forearms, wrists and ankles do not twist;
- the head, of which nothing but the lower end is known, goes half way with the neck, as people look ahead.

Evidence about a limb is weighed by how much the limb is bent and averaged over neighbouring frames.
Shapes: ``target`` (B, L, 22, 3) and ``rest`` (B, 24, 3) metres; rotations (B, L, ..., 3, 3) are global until the end.
"""

import roma
import torch
import torch.nn.functional as F
from torch import Tensor

from posesyn_core.geometry.skeletons import SMPL24

FOOT_EVIDENCE, ARM_EVIDENCE, LEG_EVIDENCE = 0.3, 0.03, 0.02
"""Weights against sin^2 of the bend: a foot's direction, and the shortest way for arms and legs."""
TWIST_KERNEL = (0.1, 0.25, 0.3, 0.25, 0.1)
"""How evidence about a twist is averaged over neighbouring frames."""


def pose_from_joints(target: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """(B, L, 24, 3, 3): the rotation of each joint relative to its parent (the root's is global).

    The bones point as in ``target``; if its bone lengths are those of ``rest`` and its pelvis and chest are congruent
    to those of ``rest``, forward kinematics gives ``target`` back exactly. ``mask`` (B, L) keeps padding frames out
    of the averages over time.
    """
    bones = _bones(target)
    rest_bones = _bones(rest)[:, None]
    turned: dict[int, Tensor] = {}
    turned[0] = _rigid(rest_bones, bones, (1, 2, 3))
    turned[9] = _rigid(rest_bones, bones, (12, 13, 14))
    turned[3], turned[6] = _spine(turned[0], turned[9], rest_bones, bones)
    for joint, child in ((12, 15), (13, 16), (14, 17)):
        turned[joint] = _swung(turned[9], rest_bones[..., child, :], bones[..., child, :])
    tilt = roma.rotmat_to_rotvec(turned[9].mT @ turned[12])
    turned[15] = turned[9] @ roma.rotvec_to_rotmat(0.5 * tilt)
    for hip, knee, ankle, foot in ((1, 4, 7, 10), (2, 5, 8, 11)):
        pole = _leg_pole(turned[0], rest_bones, bones, (knee, ankle, foot))
        turned[hip] = _limb(rest_bones[..., knee, :], bones[..., knee, :], _averaged(pole, turned[0], mask))
        turned[knee] = _swung(turned[hip], rest_bones[..., ankle, :], bones[..., ankle, :])
        turned[ankle] = _swung(turned[knee], rest_bones[..., foot, :], bones[..., foot, :])
    for collar, shoulder, elbow, wrist in ((13, 16, 18, 20), (14, 17, 19, 21)):
        pole = _arm_pole(turned[collar], rest_bones, bones, (elbow, wrist))
        turned[shoulder] = _limb(rest_bones[..., elbow, :], bones[..., elbow, :], _averaged(pole, turned[9], mask))
        turned[elbow] = _swung(turned[shoulder], rest_bones[..., wrist, :], bones[..., wrist, :])
    for joint, parent in enumerate(SMPL24.parents):
        turned.setdefault(joint, turned[max(parent, 0)])
    return _relative(torch.stack([turned[joint] for joint in range(24)], dim=2))


def _bones(joints: Tensor) -> Tensor:
    """(..., J, 3): from each joint's parent to it; the root's is zero."""
    parents = [max(parent, 0) for parent in SMPL24.parents[: joints.shape[-2]]]
    return joints - joints[..., parents, :]


def _relative(turned: Tensor) -> Tensor:
    parent_of = turned[..., list(SMPL24.parents[1:]), :, :]
    return torch.cat([turned[..., :1, :, :], parent_of.mT @ turned[..., 1:, :, :]], dim=-3)


def _rigid(rest_bones: Tensor, bones: Tensor, children: tuple[int, ...]) -> Tensor:
    """The rotation that brings the bones to ``children`` closest to where they are (Kabsch)."""
    source = rest_bones[..., children, :].expand(*bones.shape[:2], -1, -1)
    return roma.rigid_vectors_registration(source.contiguous(), bones[..., children, :].contiguous())


def swing(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3, 3): the smallest rotation that turns directions ``a`` (..., 3) to ``b``, as two reflections."""
    a = F.normalize(a, dim=-1)
    nudge = a.new_tensor([3e-7, 5e-7, 8e-7])  # keeps opposite directions from dividing by zero
    middle = F.normalize(a + F.normalize(b, dim=-1) + nudge, dim=-1)
    return _reflection(middle) @ _reflection(a)


def _reflection(normal: Tensor) -> Tensor:
    identity = torch.eye(3, dtype=normal.dtype, device=normal.device)
    return identity - 2 * normal[..., :, None] * normal[..., None, :]


def _turn(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation @ vector[..., None])[..., 0]


def _swung(carried: Tensor, rest_bone: Tensor, bone: Tensor) -> Tensor:
    """The parent's rotation ``carried``, plus the swing that brings the bone where it is."""
    return swing(_turn(carried, rest_bone), bone) @ carried


def _spine(pelvis: Tensor, chest: Tensor, rest_bones: Tensor, bones: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations of spine1 and spine2, with a third and two thirds of the twist from pelvis to chest."""
    up = rest_bones[..., 6, :], bones[..., 6, :]
    upper = rest_bones[..., 9, :], bones[..., 9, :]
    untwisted = _swung(_swung(pelvis, *up), *upper)
    axis, w = roma.rotmat_to_unitquat(untwisted.mT @ chest).split([3, 1], dim=-1)
    along = (axis * F.normalize(upper[0], dim=-1)).sum(-1, keepdim=True)
    third = 2 / 3 * torch.atan(along / w.abs().clamp_min(1e-6) * w.sign())
    spine1 = roma.rotvec_to_rotmat(third * F.normalize(up[1], dim=-1)) @ _swung(pelvis, *up)
    spine2 = roma.rotvec_to_rotmat(third * F.normalize(upper[1], dim=-1)) @ _swung(spine1, *upper)
    return spine1, spine2


def _limb(rest_bone: Tensor, bone: Tensor, pole: Tensor) -> Tensor:
    """The rotation that brings ``rest_bone`` to ``bone`` and the body's front (+z at rest) towards ``pole``."""
    front = torch.zeros_like(bone)
    front[..., 2] = 1
    source = roma.special_gramschmidt(torch.stack([rest_bone.expand_as(bone), front], dim=-1))
    return roma.special_gramschmidt(torch.stack([bone, pole], dim=-1)) @ source.mT


def _default_pole(carried: Tensor, rest_bone: Tensor, bone: Tensor) -> Tensor:
    """Where +z of the rest pose comes to lie on the shortest way."""
    return _swung(carried, rest_bone, bone)[..., 2]


def _across(vector: Tensor, direction: Tensor) -> Tensor:
    """The part of unit ``vector`` that is perpendicular to unit ``direction``; as long as the sine between them."""
    return vector - (vector * direction).sum(-1, keepdim=True) * direction


def _leg_pole(pelvis: Tensor, rest_bones: Tensor, bones: Tensor, joints: tuple[int, int, int]) -> Tensor:
    """Where the front of the thigh looks: opposite to where the shank is bent to, or else where the foot points."""
    thigh, shank, foot = (F.normalize(bones[..., joint, :], dim=-1) for joint in joints)
    back = _across(shank, thigh)
    sine = back.norm(dim=-1, keepdim=True)
    straight = (thigh * shank).sum(-1, keepdim=True).clamp_min(0) ** 2
    default = _default_pole(pelvis, rest_bones[..., joints[0], :], thigh)
    return -sine * back + FOOT_EVIDENCE * straight * _across(foot, thigh) + LEG_EVIDENCE * default


def _arm_pole(collar: Tensor, rest_bones: Tensor, bones: Tensor, joints: tuple[int, int]) -> Tensor:
    """Where the front of the upper arm looks: where the forearm is bent to, or else where the shortest way leads."""
    upper, forearm = (F.normalize(bones[..., joint, :], dim=-1) for joint in joints)
    front = _across(forearm, upper)
    sine = front.norm(dim=-1, keepdim=True)
    return sine * front + ARM_EVIDENCE * _default_pole(collar, rest_bones[..., joints[0], :], upper)


def _averaged(pole: Tensor, carrier: Tensor, mask: Tensor) -> Tensor:
    """``pole`` (B, L, 3) averaged over neighbouring frames as seen from its carrier (B, L, 3, 3)."""
    own = _turn(carrier.mT, pole)
    local = own * mask[..., None]
    kernel = local.new_tensor(TWIST_KERNEL).expand(3, 1, -1)
    smooth = F.conv1d(local.mT, kernel, padding=len(TWIST_KERNEL) // 2, groups=3).mT
    return _turn(carrier, smooth + 1e-9 * own)  # padding has nothing but its own
