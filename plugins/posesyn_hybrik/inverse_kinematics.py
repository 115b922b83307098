"""Joints -> SMPL's rotations in closed form (Li et al., "HybrIK", CVPR 2021, section 3.2).

Every joint's rotation is a swing that turns its bone in the T-pose r into the one wanted t, after a twist about r
(Eq. 5: R = R_sw R_tw). The swing follows from the two directions (Eq. 6-8); the twist can't be seen in joints and is
predicted, as (cos, sin). *Naive* HybrIK (section 3.3) takes every wanted bone from the given joints alone; *adaptive*
HybrIK from where the body's own joint already is, so that errors don't add up along a limb. The official code trains
with the naive one and predicts with the adaptive one, and they find the root's rotation in different ways.

Everything is batched over samples, and over the joints of one depth in the kinematic tree; nothing depends on values,
so that it exports. Skeletons are (B, 29, 3) in metres, of any origin: bodies of other proportions than the skeleton's
and bones of no length give finite rotations.
"""

import torch
from torch import Tensor, nn

from posesyn_hybrik.skeleton import BONE_CHILD, LEVELS, PARENTS

_SMALLEST = 1e-8  # the official guard of every division by a length
REACH = 0.015
"""Metres. Where body and skeleton disagree by more, an adaptive bone takes the skeleton's direction alone."""
SQUARINGS, AT_ONCE = 24, 4
"""2^24 times a matrix: its eigenvectors are told apart as well as single precision can. After four squarings a matrix
of trace 1 has not yet shrunk out of its range."""


class InverseKinematics(nn.Module):
    """Rotations (B, 24, 3, 3) relative to the parents, root first, and the body's joints (B, 24, 3) posed by them.

    The root joint stays where it is in the T-pose. ``rest`` (B, 29, 3) are the T-pose's joints, ``twist`` (B, 23, 2)
    (cos, sin) of any length for joints 1..23.
    """

    parents: Tensor
    ends: Tensor
    horn: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("parents", torch.tensor(PARENTS[:24]), persistent=False)
        self.register_buffer("ends", torch.tensor(BONE_CHILD[:24]), persistent=False)
        self.register_buffer("horn", horn_tensor(), persistent=False)

    def forward(self, skeleton: Tensor, rest: Tensor, twist: Tensor) -> tuple[Tensor, Tensor]:
        """Adaptive."""
        bones = slice(1, 4)  # the root's children: both hips and the spine
        root = nearest_rotation(rest[:, bones] - rest[:, :1], skeleton[:, bones] - skeleton[:, :1], self.horn)
        return self._limbs(root, skeleton, rest, twist, adaptive=True)

    def naive(self, skeleton: Tensor, rest: Tensor, twist: Tensor, root: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Naive; the ``root``'s rotation (B, 3, 3) may be given."""
        if root is None:
            root = naive_root(skeleton, rest)
        return self._limbs(root, skeleton, rest, twist, adaptive=False)

    def _limbs(
        self, root: Tensor, skeleton: Tensor, rest: Tensor, twist: Tensor, *, adaptive: bool
    ) -> tuple[Tensor, Tensor]:
        """The rotations of joints 1..23, level by level down the tree."""
        rest_bones = rest.index_select(1, self.ends) - rest[:, :24]
        lengths = rest_bones.norm(dim=-1, keepdim=True)
        offsets = rest[:, 1:24] - rest.index_select(1, self.parents[1:])
        bones = skeleton.index_select(1, self.ends) - skeleton[:, :24]
        goals = (skeleton - skeleton[:, :1] + rest[:, :1]).index_select(1, self.ends)
        wanted, known = to_length(bones, lengths)
        guard = 0.0 if adaptive else _SMALLEST  # as in the official code
        twists = rotation_about(rest_bones / (lengths + guard), *_twist_of_all(twist))
        local, carried, places = root[:, None], root[:, None], rest[:, :1]
        for first, last in LEVELS:
            above, here = self.parents[first:last], slice(first, last)
            carrier = carried.index_select(1, above)
            place = places.index_select(1, above) + _turn(carrier, offsets[:, first - 1 : last - 1])
            reach = goals[:, here] - place
            target = adapted(reach, wanted[:, here], known[:, here]) if adaptive else bones[:, here]
            rotation = swing(rest_bones[:, here], _turn(carrier.mT, target)) @ twists[:, here]
            local = torch.cat([local, rotation], dim=1)
            carried = torch.cat([carried, carrier @ rotation], dim=1)
            places = torch.cat([places, place], dim=1)
        return local, places


def to_length(bone: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """``bone`` (..., 3) brought to ``length`` (..., 1), and where that can be: a bone of no length has no direction."""
    own = bone.norm(dim=-1, keepdim=True)
    known = own > 0
    return bone / torch.where(known, own, 1) * length, known


def adapted(reach: Tensor, bone: Tensor, known: Tensor) -> Tensor:
    """The bone (..., 3) in metres that an adaptive step turns to.

    ``reach`` leads from the body's joint to where the bone should end. Where it is more than ``REACH`` away from the
    skeleton's own ``bone``, brought to the body's length (:func:`to_length`), the latter is taken.
    """
    far = (reach - bone).norm(dim=-1, keepdim=True) > REACH
    return torch.where(far & known, bone, reach)


def swing(source: Tensor, target: Tensor) -> Tensor:
    """Eq. 6-8: (..., 3, 3) that turns ``source`` (..., 3) into the direction of ``target`` the shortest way.

    Where the two are opposite to the last digit the axis vanishes and with it the rotation, as published.
    """
    lengths = source.norm(dim=-1, keepdim=True) * target.norm(dim=-1, keepdim=True) + _SMALLEST
    cross = torch.linalg.cross(source, target)
    sine = cross.norm(dim=-1, keepdim=True)
    cosine = (source * target).sum(-1, keepdim=True) / lengths
    return rotation_about(cross / (sine + _SMALLEST), cosine, sine / lengths)


def rotation_about(axis: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Eq. 7, Rodrigues: I + sin K + (1 - cos) K^2 (..., 3, 3), K the cross product with ``axis`` (..., 3).

    ``cosine``, ``sine`` (..., 1).
    """
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + sine[..., None] * cross + (1 - cosine)[..., None] * (cross @ cross)


def _twist_of_all(twist: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine (B, 24, 1) of all joints' twists from predicted (cos, sin) (B, 23, 2); the root's is not used."""
    unit = twist / (twist.norm(dim=-1, keepdim=True) + _SMALLEST)
    cosine, sine = torch.cat([unit[:, :1], unit], dim=1).split(1, dim=-1)
    return cosine, sine


def nearest_rotation(source: Tensor, target: Tensor, horn: Tensor) -> Tensor:
    """Eq. 11: the rotation (B, 3, 3) that brings points ``source`` (B, K, 3) nearest to ``target``; never a mirroring.

    The paper decomposes S = sum source target^T by SVD, which ONNX lacks. Here it is Horn's quaternion (JOSA A 1987):
    the eigenvector q of the largest eigenvalue of a symmetric 4x4 matrix N, linear in S. Made positive and squared
    again and again, N becomes a multiple of q q^T, of which the rotation is again a linear function (the transpose of
    the former). Where the entries of S sum up to exactly 0 the rotation is the identity, as in the official code.
    """
    products = source.mT @ target
    size = products.flatten(1).norm(dim=-1)[:, None, None]
    power = torch.einsum("nab,abij->nij", products, horn)
    power = power + 3**0.5 * size * torch.eye(4, dtype=power.dtype, device=power.device)
    for _ in range(SQUARINGS // AT_ONCE):
        power = _unit_trace(power)
        for _ in range(AT_ONCE):
            power = power @ power
    power = _unit_trace(power)
    rotation = torch.einsum("nij,abij->nba", power, horn)
    nothing = (products.sum((1, 2)) == 0)[:, None, None]
    return torch.where(nothing, torch.eye(3, dtype=rotation.dtype, device=rotation.device), rotation)


def _unit_trace(matrix: Tensor) -> Tensor:
    """(B, 4, 4) positive matrices, scaled to the trace 1; nothing stays nothing."""
    trace = matrix.flatten(-2)[..., :: matrix.shape[-1] + 1].sum(-1)  # diagonal() is exported with a batch of eyes
    return matrix / trace.clamp_min(torch.finfo(matrix.dtype).tiny)[:, None, None]


def horn_tensor() -> Tensor:
    """(3, 3, 4, 4): N = sum_ab S_ab horn_ab (Horn 1987), quaternions as (w, x, y, z)."""
    horn = torch.zeros(3, 3, 4, 4)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        i, j, k = a + 1, b + 1, c + 1
        horn[a, a] = -torch.eye(4)
        horn[a, a, 0, 0] = horn[a, a, i, i] = 1
        for one, other, sign in ((b, c, 1), (c, b, -1)):  # S_bc - S_cb goes with w a, S_bc + S_cb with b c
            horn[one, other, 0, i] = horn[one, other, i, 0] = sign
            horn[one, other, j, k] = horn[one, other, k, j] = 1
    return horn


def naive_root(skeleton: Tensor, rest: Tensor) -> Tensor:
    """The root's rotation (B, 3, 3) of naive HybrIK: the spine's swing, then a turn about it that brings the hips over.

    The heading hangs on the mean of both hip bones, which is nearly parallel to the spine: it is noisy, as published.
    """
    spine, rest_spine = skeleton[:, 3] - skeleton[:, 0], rest[:, 3] - rest[:, 0]
    hips, rest_hips = (joints[:, 1:3].mean(1) - joints[:, 0] for joints in (skeleton, rest))
    upright = swing(rest_spine, spine)
    axis = _direction(spine)
    turned = _turn(upright, rest_hips)
    return swing(_across(turned, axis), _across(hips, axis)) @ upright


def twist_angles(rotations: Tensor, rest: Tensor) -> Tensor:
    """The twists (B, 23) in radians of joints 1..23 in ``rotations`` (B, 24, 3, 3), for the labels of a training.

    The twist about the rest bone r is what the swing r -> R r leaves of R: with T = swing^T R,
    angle = atan2(axial(T) . r, (tr T - 1) / 2). ``rest`` (B, 29, 3).
    """
    bones = rest[:, list(BONE_CHILD[1:24])] - rest[:, 1:24]
    axis = _direction(bones)
    rotations = rotations[:, 1:]
    left = swing(bones, _turn(rotations, bones)).mT @ rotations
    axial = torch.stack(
        [left[..., 2, 1] - left[..., 1, 2], left[..., 0, 2] - left[..., 2, 0], left[..., 1, 0] - left[..., 0, 1]], -1
    )
    cosine = (left.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2((axial * axis).sum(-1) / 2, cosine)


def _direction(vector: Tensor) -> Tensor:
    return vector / (vector.norm(dim=-1, keepdim=True) + _SMALLEST)


def _across(vector: Tensor, direction: Tensor) -> Tensor:
    """What of ``vector`` (..., 3) is perpendicular to the unit ``direction``."""
    return vector - (vector * direction).sum(-1, keepdim=True) * direction


def _turn(rotation: Tensor, vector: Tensor) -> Tensor:
    """(..., 3, 3) times (..., 3)."""
    return (rotation @ vector[..., None])[..., 0]
