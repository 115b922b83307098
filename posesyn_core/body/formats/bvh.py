"""BVH: the skeleton with its rest pose, and the rotations of every joint; metres, y up.

There is no specification; this follows what Biovision's description has and Blender, Maya and MotionBuilder read: a
position of the root, and for every joint the angles about z, x and y in degrees, applied in that order of axes
(R = R_z R_x R_y). A BVH file has no unit: set the importer's scale to 1 for metres, to 100 for centimetres.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from posesyn_core.body.formats.movement import Movement, rest_joints, rest_surface
from posesyn_core.body.model import Body
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray

CHANNELS = "Zrotation Xrotation Yrotation"


def bvh(body: Body, movement: Movement) -> str:
    """The movement's skeleton and frames."""
    frames = movement.roots(body), np.concatenate([movement.global_orient[:, None], movement.body_pose], axis=1)
    lines = ["HIERARCHY", *_joint(0, *_skeleton(body, movement), 0)]
    lines += ["MOTION", f"Frames: {len(movement.transl)}", f"Frame Time: {1 / movement.fps:.8f}", *_rows(*frames)]
    return "\n".join(lines) + "\n"


def _rows(roots: FloatArray, rotations: FloatArray) -> Iterator[str]:
    """A line per frame: the pelvis (L, 3), then the angles of rotations (L, 24, 3) in the order of the hierarchy."""
    order = list(_order(0))
    angles = Rotation.from_rotvec(rotations[:, order].reshape(-1, 3)).as_euler("ZXY", degrees=True)
    for row in np.column_stack([roots, angles.reshape(len(roots), -1)]):
        yield " ".join(f"{number:.6f}" for number in row)


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(SMPL24.parents) if parent == joint]


def _order(joint: int) -> Iterator[int]:
    """The joints as the hierarchy lists them: each with all that hangs from it before the next."""
    yield joint
    for child in _children(joint):
        yield from _order(child)


def _skeleton(body: Body, movement: Movement) -> tuple[FloatArray, FloatArray]:
    """Of each joint the offset (24, 3) from its parent in the T-pose, and where its bone ends if it is a last one."""
    joints, surface = rest_joints(body, movement.betas), rest_surface(body, movement.betas)
    parents = np.array(SMPL24.parents)
    offsets = np.where(parents[:, None] >= 0, joints - joints[parents], 0)
    owner = body.weights.argmax(dim=1).cpu().numpy()
    tips = np.zeros_like(joints)
    for joint in (joint for joint in range(len(joints)) if not _children(joint)):
        away = surface[owner == joint] - joints[joint]
        if len(away):
            tips[joint] = away[np.linalg.norm(away, axis=1).argmax()]
    return offsets, tips


def _joint(joint: int, offsets: FloatArray, tips: FloatArray, depth: int) -> Iterator[str]:
    """The block of a joint with those of its children."""
    indent = "  " * depth
    yield f"{indent}{'JOINT' if depth else 'ROOT'} {SMPL24.joints[joint]}"
    yield f"{indent}{{"
    yield f"{indent}  OFFSET {_numbers(offsets[joint])}"
    yield f"{indent}  CHANNELS " + (f"3 {CHANNELS}" if depth else f"6 Xposition Yposition Zposition {CHANNELS}")
    children = _children(joint)
    for child in children:
        yield from _joint(child, offsets, tips, depth + 1)
    if not children:
        yield from (
            f"{indent}  End Site",
            f"{indent}  {{",
            f"{indent}    OFFSET {_numbers(tips[joint])}",
            f"{indent}  }}",
        )
    yield f"{indent}}}"


def _numbers(vector: FloatArray) -> str:
    return " ".join(f"{number:.6f}" for number in vector)
