"""The 263 numbers per frame of HumanML3D: joints -> features (F of Eq. 4) and back, batched, for torch and numpy.

Joints are (..., 22, 3) in metres, y up, +z forward, +x to the body's left, 20 frames per second. T frames give T - 1
rows of features, because velocities reach to the next frame:

====== =====================================================================================================
column content
====== =====================================================================================================
0      half the turn from frame t to t+1 about y, radians, opposite to the body's own turn
1-2    pelvis displacement t -> t+1 along x and z of the heading frame of t+1, metres
3      pelvis height above the floor, metres
4-66   joints 1..21 in the heading frame of t: x and z relative to the pelvis, y above the floor, metres
67-192 joints 1..21: first two columns of the rotation from the rest direction of the bone, column by column
193-258 joints 0..21: displacement t -> t+1 in the heading frame of t, metres
259-262 contact of left ankle and foot, right ankle and foot: 1 where they move less than sqrt(0.002) metres
====== =====================================================================================================

Guo et al., "Generating Diverse and Natural 3D Human Motions From Text" (CVPR 2022), as published with its quirks,
which all published models have learnt: in the heading of a frame (not in that of the first frame) the hips enter with
the wrong sign; the heading of frame 0 is zero by definition, so that row 0 of a motionless clip may differ from the
rest; and when the heading passes straight back, the published turn of that frame has the wrong sign
(``continuous_heading`` mends that one). Three shortcuts give the same numbers: the heading is kept as one angle instead
of a quaternion, so that facing exactly back is no special case; the rotation of a bone relative to the one before
needs no walk along the chain, because the full rotation of a bone depends on its own direction alone; and positions
are sums of bones over ancestors. So nothing loops over frames or joints.

For speed, the frames of every number lie side by side in memory (:func:`_frames_last`), whatever the order of the axes
says: then products run over long rows instead of over threes, and the columns of the result lie ready.
"""

import math

import roma
import torch
from torch import Tensor
from torch.nn import functional

from posesyn_core.geometry.arrays import Array, as_given, to_tensor

JOINTS = 22
FEATURES = 263
FPS = 20

ROOT_TURN = slice(0, 1)
ROOT_VELOCITY = slice(1, 3)
ROOT_HEIGHT = slice(3, 4)
POSITIONS = slice(4, 67)
ROTATIONS = slice(67, 193)
VELOCITIES = slice(193, 259)
CONTACTS = slice(259, 263)
GROUPS = (ROOT_TURN, ROOT_VELOCITY, ROOT_HEIGHT, POSITIONS, ROTATIONS, VELOCITIES, CONTACTS)
"""The columns of one kind; they share a standard deviation in normalisation."""

PARENTS = (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
LEVELS = ((3, 2, 1, 14, 13), (6, 5, 4, 17, 16), (9, 8, 7, 19, 18), (12, 11, 10, 21, 20), (15,))
"""The k-th joints of the chains trunk, right leg, left leg, right arm, left arm; published rotations chain up so.

The arms' first rotations are relative to the root, not to spine3, on which their bones hang."""

_X, _Y, _Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
_DOWN, _RIGHT = (0, -1, 0), (-1, 0, 0)
REST_DIRECTIONS = torch.tensor(
    [(0, 0, 0), _X, _RIGHT, _Y, _DOWN, _DOWN, _Y, _DOWN, _DOWN, _Y, _Z, _Z, _Y, _X, _RIGHT, _Z] + [_DOWN] * 6,
    dtype=torch.float64,
)
"""(22, 3) unit direction of the bone that ends in each joint, in the rest pose."""

BONE_LENGTHS = torch.tensor([
    0.0, 0.10307393223047256, 0.10988342016935349, 0.13156823813915253, 0.3936232626438141,
    0.3901881277561188, 0.14319021999835968, 0.4324330985546112, 0.42564353346824646, 0.05736473575234413,
    0.14338184893131256, 0.14941902458667755, 0.21936005353927612, 0.13748674094676971, 0.14338286221027374,
    0.1030392199754715, 0.13161404430866241, 0.12298443913459778, 0.25683990120887756, 0.26309171319007874,
    0.26601195335388184, 0.2698764503002167,
], dtype=torch.float64)  # fmt: skip
"""(22,) metres: the reference skeleton, to which HumanML3D retargets every motion (its clip 000021)."""

SCALE_JOINTS = (5, 8)
"""Right thigh and shin: their length decides the scale of the root's path in retargeting."""

LEFT_HIP, RIGHT_HIP, LEFT_SHOULDER, RIGHT_SHOULDER = 1, 2, 16, 17
CONTACT_JOINTS = (7, 10, 8, 11)
CONTACT_THRESHOLD = 0.002
"""Squared metres per frame."""
CONTACT_LIKELY = 0.5
"""Above it a predicted contact counts as one."""

SMOOTHING_SIGMA = 20.0
SMOOTHING_RADIUS = 80
"""Frames: the Gaussian over the forward direction, cut off at four sigma."""


def _ancestors() -> Tensor:
    """(22, 22) with 1 where the bone ending in joint ``column`` lies between the root and joint ``row``."""
    table = torch.eye(JOINTS, dtype=torch.float64)
    for joint in range(1, JOINTS):
        table[joint] += table[PARENTS[joint]]
    return table * (torch.arange(JOINTS) > 0)


_ANCESTORS = _ancestors()
_ROTATION_PARENTS = tuple(0 if joint in (13, 14) else parent for joint, parent in enumerate(PARENTS))


def _frames_last(points: Tensor) -> Tensor:
    """View (..., T, J, C) as (..., J, C, T): the order of the axes that fits the memory."""
    return points.movedim(-3, -1)


def _frames_first(numbers: Tensor) -> Tensor:
    """The way back, as a view: (..., J, C, T) -> (..., T, J, C)."""
    return numbers.movedim(-1, -3)


def _joined(*components: Tensor) -> Tensor:
    """Components (..., T, J) -> (..., T, J, C)."""
    return _frames_first(torch.stack([part.transpose(-1, -2) for part in components], dim=-2))


def _taken(points: Tensor, joints: tuple[int, ...]) -> Tensor:
    """(..., T, J, C) of some joints."""
    return _frames_first(_frames_last(points).index_select(-3, torch.tensor(joints, device=points.device)))


def _root_and(root: Tensor, others: Tensor) -> Tensor:
    """(..., T, 1, C) and (..., T, 21, C) -> (..., T, 22, C)."""
    return _frames_first(torch.cat([_frames_last(root), _frames_last(others)], dim=-3))


def _square(vectors: Tensor) -> Tensor:
    """Squared lengths: (..., C) -> (...)."""
    first, *others = vectors.unbind(-1)
    return sum((other.square() for other in others), first.square())


def _length(vectors: Tensor) -> Tensor:
    return _square(vectors).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _length(vectors)[..., None]


# Joints to features


def features_from_joints(
    joints: Array, lengths: Array | None = None, *, continuous_heading: bool = False, retargeting: bool = True
) -> Array:
    """HumanML3D features of motions: F of Eq. 4.

    ``joints`` (B, T, 22, 3) metres, y up, any place and heading, T >= 2; ``lengths`` (B,) the number of real frames
    per motion (>= 2; None = all T). Returns (B, T - 1, 263), zero beyond ``lengths - 1`` rows. A motion in a longer
    batch gets the same numbers as alone. ``continuous_heading`` keeps the sign of the turn when the heading passes
    straight back (the published formula flips it); ``retargeting=False`` keeps the bones as they are.

    Raises ValueError for motions of fewer than two frames.
    """
    held = hold_last(to_tensor(joints), lengths)
    held = _frames_first(_transposed(held.flatten(2)).unflatten(1, held.shape[2:]))
    positions = canonical_joints(held, retargeting=retargeting)
    heading = heading_half_angles(positions)
    turn = heading[:, 1:] - heading[:, :-1]
    turn = turn - math.pi * torch.round(turn / math.pi) if continuous_heading else torch.asin(torch.sin(turn))
    steps = positions[:, 1:] - positions[:, :-1]
    pelvis, now = positions[:, :-1, :1], heading[:, :-1, None]
    root_velocity = turn_about_y(steps[:, :, :1], heading[:, 1:, None])[..., ::2]
    local = turn_about_y(positions[:, :-1, 1:] - pelvis * pelvis.new_tensor([1, 0, 1]), now)
    rotations = rotation_columns(bone_rotations(positions, heading)[:, :-1, 1:])
    contacts = (_square(_taken(steps, CONTACT_JOINTS)) < CONTACT_THRESHOLD).to(positions.dtype)[..., None]
    velocities = turn_about_y(steps, now)
    groups = (turn[..., None, None], root_velocity, pelvis[..., 1:2], local, rotations, velocities, contacts)
    columns = torch.cat([_frames_last(group).flatten(1, 2) for group in groups], dim=1)
    if lengths is not None:
        _clear_beyond(columns, to_tensor(lengths).to(columns.device).long() - 1)
    return as_given(_transposed(columns), joints)


def _transposed(matrices: Tensor) -> Tensor:
    """(B, M, N) -> (B, N, M) in memory. One by one, because torch transposes a single matrix in fast blocks."""
    result = matrices.new_empty(len(matrices), matrices.shape[2], matrices.shape[1])
    for target, matrix in zip(result, matrices, strict=True):
        target.copy_(matrix.T)
    return result


def _clear_beyond(columns: Tensor, rows: Tensor) -> None:
    """Set (B, 263, N) to zero beyond ``rows`` (B,)."""
    shortest = int(rows.min())
    beyond = torch.arange(shortest, columns.shape[2], device=columns.device) >= rows[:, None]
    columns[:, :, shortest:].masked_fill_(beyond[:, None], 0)


def hold_last(joints: Tensor, lengths: Array | None) -> Tensor:
    """Replace all frames beyond ``lengths`` (B,) by the motion's last one: (B, T, ...) -> the same shape.

    A held pose moves nothing, lowers no floor, and is what the smoothing of the heading assumes beyond the end.
    """
    if joints.shape[1] < 2:
        raise ValueError("features need motions of at least two frames")
    if lengths is None:
        return joints
    last = to_tensor(lengths).to(joints.device).long()[:, None] - 1
    if bool((last < 1).any()) or bool((last >= joints.shape[1]).any()):
        raise ValueError("every length must be at least two frames and at most the array's")
    frames = torch.minimum(torch.arange(joints.shape[1], device=joints.device), last)
    return joints[torch.arange(len(joints), device=joints.device)[:, None], frames]


def canonical_joints(joints: Tensor, *, retargeting: bool = True) -> Tensor:
    """Retarget (B, T, 22, 3), put the lowest point at y = 0 and frame 0 at x = z = 0, facing +z."""
    positions = retarget(joints) if retargeting else joints
    floor = positions[..., 1].amin(dim=(1, 2))
    start = positions[:, 0, 0]
    origin = torch.stack([start[:, 0], floor, start[:, 2]], dim=-1)
    return turn_about_y(positions - origin[:, None, None], half_angle(first_forward(positions))[:, None, None])


def retarget(joints: Tensor) -> Tensor:
    """Give (B, T, 22, 3) the reference skeleton's bones, keeping their directions; the root's path scales with it."""
    bones = (joints - _taken(joints, PARENTS))[:, :, 1:]
    root = joints[:, :, :1] * leg_scale(joints)[:, None, None, None]
    scaled = bones * (BONE_LENGTHS[1:].to(joints) / _length(bones))[..., None]
    return sum_of_bones(_root_and(root, scaled))


def leg_scale(joints: Tensor) -> Tensor:
    """(B,) length of the reference skeleton's right leg over the motion's, measured in frame 0."""
    bones = joints[:, 0] - joints[:, 0, PARENTS]
    source = sum(bones[:, joint].norm(dim=-1) for joint in SCALE_JOINTS)
    return BONE_LENGTHS[list(SCALE_JOINTS)].sum().to(joints) / source


def sum_of_bones(bones: Tensor) -> Tensor:
    """Positions (..., 22, 3) from the root's position (entry 0) and each joint's offset from its parent."""
    numbers = _frames_last(bones[None])
    sums = (_ANCESTORS.to(bones) @ numbers.flatten(-2)).unflatten(-1, numbers.shape[-2:])
    return bones[..., :1, :] + _frames_first(sums)[0]


def first_forward(joints: Tensor) -> Tensor:
    """Where the body of frame 0 faces: unit (B, 3) in the floor plane, from (B, T, 22, 3)."""
    return functional.normalize(_forward(joints[:, 0], hips=1.0), dim=-1)


def forward_directions(joints: Tensor) -> Tensor:
    """The published forward direction of every frame, with the hips' wrong sign, (B, T, 22, 3) -> (B, T, 3).

    It is not of unit length: the slope of the line across the body shortens it, which matters once it is smoothed.
    """
    return _forward(joints, hips=-1.0)


def _forward(joints: Tensor, hips: float) -> Tensor:
    """Up x across, where across runs from left to right; ``hips`` is the sign with which the hips enter."""
    across = joints[..., RIGHT_SHOULDER, :] - joints[..., LEFT_SHOULDER, :]
    across = across + hips * (joints[..., RIGHT_HIP, :] - joints[..., LEFT_HIP, :])
    length = _length(across).clamp_min(1e-12)
    x, z = across[..., 0] / length, across[..., 2] / length
    return torch.stack([z, torch.zeros_like(x), -x], dim=-1)


def smooth(directions: Tensor) -> Tensor:
    """Gaussian filter over the frames of (B, T, 3), the end values held beyond both ends."""
    frames, reach = directions.shape[1], SMOOTHING_RADIUS
    around = torch.arange(-reach, reach + 1, dtype=torch.float64, device=directions.device)
    kernel = torch.softmax(-0.5 * (around / SMOOTHING_SIGMA).square(), dim=0).to(directions)
    # row t of the weights: the kernel, begun at column t
    weights = functional.pad(kernel, (frames - 1, frames - 1)).unfold(0, frames + 2 * reach, 1).flip(0)
    before, after = directions[:, :1].expand(-1, reach, -1), directions[:, -1:].expand(-1, reach, -1)
    held = torch.cat([before, directions, after], dim=1).movedim(1, 0)
    return (weights @ held.flatten(1)).unflatten(1, held.shape[1:]).movedim(0, 1)


def heading_half_angles(joints: Tensor) -> Tensor:
    """(B, T) half the angle about y that turns the smoothed forward direction to +z; 0 in frame 0 by definition.

    cos and sin of it are the w and y of the published root quaternion.
    """
    angles = half_angle(smooth(forward_directions(joints)))
    return torch.cat([torch.zeros_like(angles[:, :1]), angles[:, 1:]], dim=1)


def half_angle(forward: Tensor) -> Tensor:
    """Half the angle about y, in (-pi/2, pi/2], of the shortest turn from ``forward`` (..., 3) to +z."""
    return 0.5 * torch.atan2(-forward[..., 0], forward[..., 2])


def turn_about_y(points: Tensor, half_angles: Tensor) -> Tensor:
    """Turn (..., T, J, 3) about y by twice ``half_angles``, which broadcasts against (..., T, J)."""
    x, y, z = points.unbind(-1)
    cos, sin = torch.cos(2 * half_angles), torch.sin(2 * half_angles)
    return _joined(cos * x + sin * z, y, cos * z - sin * x)


def bone_rotations(joints: Tensor, half_angles: Tensor) -> Tensor:
    """Rotations of bones as quaternions (B, T, 22, 4), xyzw, each relative to the one before in its chain.

    ``half_angles`` (B, T) are the headings, entry 0 of the result. These are not SMPL's rotations: they turn the
    rest direction of a bone the shortest way, without twist about the bone.
    """
    bones = (joints - _taken(joints, PARENTS))[:, :, 1:]
    lengths = _length(bones)
    (x, y, z), (u, v, w) = bones.unbind(-1), REST_DIRECTIONS[1:].to(joints).unbind(-1)
    turning = _unit(_joined(v * z - w * y, w * x - u * z, u * y - v * x, lengths + u * x + v * y + w * z))
    zero = torch.zeros_like(half_angles)[..., None]
    root = _joined(zero, torch.sin(half_angles)[..., None], zero, torch.cos(half_angles)[..., None])
    before = _taken(_root_and(root, turning), _ROTATION_PARENTS[1:])
    return _root_and(root, _after_conjugate(before, turning))


def _after_conjugate(first: Tensor, second: Tensor) -> Tensor:
    """The quaternion product of ``first``'s conjugate and ``second``, (..., 4) xyzw.

    (By components: roma's, made for rows of four, takes most of the time of all features.)
    """
    (a, b, c, d), (x, y, z, w) = first.unbind(-1), second.unbind(-1)
    return _joined(
        d * x - a * w - b * z + c * y,
        d * y + a * z - b * w - c * x,
        d * z - a * y + b * x - c * w,
        d * w + a * x + b * y + c * z,
    )


def rotation_columns(quaternions: Tensor) -> Tensor:
    """First and second column of the rotation matrices of (..., 4) xyzw quaternions, one after the other: (..., 6)."""
    x, y, z, w = quaternions.unbind(-1)
    twice_x, twice_y, twice_z = 2 * x, 2 * y, 2 * z
    xx, yy, zz = twice_x * x, twice_y * y, twice_z * z
    xy, xz, yz = twice_x * y, twice_x * z, twice_y * z
    wx, wy, wz = twice_x * w, twice_y * w, twice_z * w
    return _joined(1 - yy - zz, xy + wz, xz - wy, xy - wz, 1 - xx - zz, yz + wx)


# Features to joints


def joints_from_features(features: Array) -> Array:
    """Joint positions (..., N, 22, 3) in metres from N rows (..., N, 263): the published recovery from positions.

    The motion starts at x = z = 0, facing +z. The velocities of the last row are not used.
    """
    rows = to_tensor(features)
    heading, pelvis = root_path(rows)
    local = rows[..., POSITIONS].unflatten(-1, (JOINTS - 1, 3))
    others = turn_about_y(local, -heading[..., None]) + (pelvis * pelvis.new_tensor([1, 0, 1]))[..., None, :]
    return as_given(torch.cat([pelvis[..., None, :], others], dim=-2).contiguous(), features)


def still_feet(joints: Array, contacts: Array) -> Array:
    """Move the whole body, frame by frame, so that feet in contact with the floor stay where they are.

    ``joints`` (..., N, 22, 3) metres, ``contacts`` (..., N, 4) as in the features: those above one half count. Between
    two frames the body moves back along x and z by what the feet in contact moved in the mean; poses and heights stay
    as they are. (Ours, a common way to clean generated motion; the published recovery leaves feet to slide.)
    """
    positions, flags = to_tensor(joints), to_tensor(contacts)
    down = (flags[..., :-1, :] > CONTACT_LIKELY).to(positions)[..., None]
    feet = positions[..., CONTACT_JOINTS, :]
    moved = (feet[..., 1:, :, :] - feet[..., :-1, :, :]) * down
    slide = moved.sum(-2) / down.sum(-2).clamp(min=1) * positions.new_tensor([1, 0, 1])
    path = functional.pad(torch.cumsum(slide, dim=-2), (0, 0, 1, 0))
    return as_given(positions - path[..., None, :], joints)


def root_path(features: Tensor) -> tuple[Tensor, Tensor]:
    """Heading half angles (..., N) and pelvis positions (..., N, 3) from the root's columns of (..., N, 263)."""
    heading = torch.cumsum(_after_first(features[..., 0]), dim=-1)
    x, z = _after_first(features[..., 1].clone()), _after_first(features[..., 2].clone())
    steps = torch.stack([x, torch.zeros_like(x), z], dim=-1)[..., None, :]
    steps = turn_about_y(steps, -heading[..., None])[..., 0, :]
    path = torch.cumsum(steps, dim=-2)
    return heading, torch.stack([path[..., 0], features[..., ROOT_HEIGHT.start], path[..., 2]], dim=-1)


def _after_first(steps: Tensor) -> Tensor:
    """Shift (..., N) by one frame: the step of row t leads to frame t + 1, and none leads to frame 0."""
    return torch.cat([torch.zeros_like(steps[..., :1]), steps[..., :-1]], dim=-1)


def joints_from_rotations(features: Array) -> Array:
    """Joint positions (..., N, 22, 3) of the reference skeleton from the rotation columns of (..., N, 263).

    The bones then have exactly the reference lengths. Walks outwards along all chains at once.
    """
    rows = to_tensor(features)
    heading, pelvis = root_path(rows)
    columns = rows[..., ROTATIONS].unflatten(-1, (JOINTS - 1, 2, 3)).transpose(-1, -2)
    relative = roma.special_gramschmidt(columns)
    zero = torch.zeros_like(heading)
    levels = [roma.rotvec_to_rotmat(torch.stack([zero, 2 * heading, zero], dim=-1))[..., None, :, :]]
    for joints in LEVELS:
        before = levels[-1][..., : len(joints), :, :]
        levels.append(before @ relative[..., [joint - 1 for joint in joints], :, :])
    in_order = sorted(range(JOINTS - 1), key=sum(LEVELS, ()).__getitem__)
    full = torch.cat(levels[1:], dim=-3)[..., in_order, :, :]
    bones = (full @ (REST_DIRECTIONS * BONE_LENGTHS[:, None])[1:, :, None].to(rows)).squeeze(-1)
    return as_given(sum_of_bones(torch.cat([pelvis[..., None, :], bones], dim=-2)).contiguous(), features)
