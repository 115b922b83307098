"""HybrIK's 29 joints: SMPL's 24, and five points of the skin at the ends of head, middle fingers and big toes."""

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.skeletons import SMPL24

JOINTS = 29

PARENTS = (*SMPL24.parents, 15, 22, 23, 10, 11)
"""The joint that each hangs on; the root's is -1."""

BONE_CHILD = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 27, 28, 15, 16, 17, 24, 18, 19, 20, 21, 22, 23, 25, 26, *5 * (-1,))
"""The end of each joint's bone. The third spine joint has three children; its bone is that to the neck."""

LEVELS = ((1, 4), (4, 7), (7, 10), (10, 15), (15, 18), (18, 20), (20, 22), (22, 24))
"""SMPL's joints but the root by their depth in the tree, as (first, last + 1)."""

LEAF_VERTICES = (411, 2445, 5905, 3216, 6617)
"""The vertices of SMPL's mesh that are joints 24..28: head, left and right middle finger, left and right big toe."""
SMPL_VERTICES = 6890


def _flip() -> NDArray[np.intp]:
    permutation = np.concatenate([SMPL24.flip, [24, 26, 25, 28, 27]])
    permutation.setflags(write=False)
    return permutation


FLIP = _flip()
"""(29,) the permutation that swaps left and right."""

TWIST_FLIP = SMPL24.flip[1:] - 1
"""(23,) the same for the twists of joints 1..23."""


def leaf_vertices(template: NDArray[np.floating]) -> tuple[int, ...]:
    """The vertices of joints 24..28 on a body (V, 3) in the T-pose (y up, the left hand at +x, facing +z).

    SMPL's have known numbers. Any other body's are where it ends: the highest vertex, those farthest to either side,
    and the foremost of either foot.
    """
    if len(template) == SMPL_VERTICES:
        return LEAF_VERTICES
    x, y, z = template.T
    feet = y < y.min() + 0.1 * np.ptp(y)
    toes = (np.where(feet & side, z, -np.inf) for side in (x > 0, x < 0))
    return tuple(int(measure.argmax()) for measure in (y, x, -x, *toes))
