"""The 44 joints that HMR 2.0 is trained and evaluated on: 25 in OpenPose's order, and 19 of other data sets.

The first block mixes joints of SMPL (neck, limbs, pelvis) with single vertices of its surface (face and feet). The
second block is regressed from the vertices by the matrix in ``SMPL_to_J19.pkl``, which official checkpoints contain as
``smpl.joint_regressor_extra``; its right ankle and that of the first block are two points. ``PELVIS`` (of the second
block) is the root of losses and metrics.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from posesyn_core.body.model import Body
from posesyn_core.errors import UserError
from posesyn_core.values import FloatArray

NAMES = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck_lsp", "head_top_lsp", "pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m"),
)
OPENPOSE = 25
"""Number of joints in the first block."""
PELVIS = 39
EVALUATED = (*range(25, 38), 43)
"""The 14 joints of MPJPE: LSP's, with Human3.6M's head in place of the top of the head."""

_SMPL_JOINTS = 24
_SOURCE = (24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35))
"""Each joint of the first block among SMPL's 24 joints and then 11 vertices: the buffer ``smpl.joint_map``."""
SMPL_OF = {at: source for at, source in enumerate(_SOURCE) if source < _SMPL_JOINTS}
"""The 14 of the 44 joints that are joints of SMPL, and which."""
_SMPL_HIPS = (1, 2)

SMPL_VERTICES = 6890
FACE_AND_FEET = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
"""Vertices of SMPL: nose, right and left eye, right and left ear, left big and small toe and heel, and the right's."""


def _flip() -> NDArray[np.intp]:
    """The permutation (44,) that swaps left and right within each block."""
    order = np.arange(len(NAMES))
    for block in (range(OPENPOSE), range(OPENPOSE, len(NAMES))):
        place = {NAMES[at]: at for at in block}
        for name, at in place.items():
            other = name.replace("left_", "*").replace("right_", "left_").replace("*", "right_")
            order[at] = place[other]
    return order


FLIP = _flip()


class Joints44(nn.Module):
    """The 44 joints of a posed body, and which of them it has (``known`` (44,) bool).

    SMPL's own joints are always known. Face and feet need ``vertices`` (11 indices), the second block a ``regressor``
    (19, V). Without the latter the pelvis is the middle between SMPL's hips, and the others are unknown (0).
    """

    known: Tensor
    regressor: Tensor | None

    def __init__(
        self,
        body: Body,
        vertices: ArrayLike | None = None,
        regressor: Tensor | None = None,
        *,
        update_hips: bool = False,
    ) -> None:
        """UserError if the regressor is not made for a body of so many vertices."""
        super().__init__()
        count = len(body.v_template)
        if regressor is not None and regressor.shape != (len(NAMES) - OPENPOSE, count):
            raise UserError(
                f"the regressor of the extra joints has shape {tuple(regressor.shape)}, but the body has {count} "
                "vertices; it fits SMPL alone: set the option body to your SMPL file"
            )
        self.body = body
        self.vertices = None if vertices is None else [int(vertex) for vertex in np.asarray(vertices)]
        self.update_hips = update_hips
        self.register_buffer("regressor", None if regressor is None else regressor.to(body.v_template))
        known = torch.zeros(len(NAMES), dtype=torch.bool)
        known[:OPENPOSE] = self.vertices is not None
        known[OPENPOSE:] = regressor is not None
        known[[*SMPL_OF, PELVIS]] = True
        self.register_buffer("known", known)

    def forward(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """Rotations (B, 24, 3, 3) and betas (B, 10) -> joints (B, 44, 3), metres, before any translation."""
        if self.vertices is None and self.regressor is None:
            return self._assembled(self.body.pose_joints(rotations, betas), None)
        posed = self.body.pose(rotations, betas)
        return self._assembled(posed.joints3d, posed.vertices)

    def _assembled(self, joints: Tensor, vertices: Tensor | None) -> Tensor:
        """SMPL's joints (B, 24, 3) and vertices (B, V, 3) -> (B, 44, 3)."""
        if vertices is None or self.vertices is None:
            surface = joints.new_zeros(len(joints), len(FACE_AND_FEET), 3)
        else:
            surface = vertices[:, self.vertices]
        first = torch.cat([joints, surface], dim=1)[:, list(_SOURCE)]
        if vertices is None or self.regressor is None:
            extra = joints.new_zeros(len(joints), len(NAMES) - OPENPOSE, 3)
            extra[:, PELVIS - OPENPOSE] = joints[:, list(_SMPL_HIPS)].mean(1)
        else:
            extra = torch.einsum("jv,bvk->bjk", self.regressor, vertices)
        return torch.cat([_hips_moved(first) if self.update_hips else first, extra], dim=1)


def _hips_moved(joints: Tensor) -> Tensor:
    """The official ``UPDATE_HIPS``: hips (9 and 12) a quarter of their distance outwards, and half way to joint 8."""
    hips, opposite = joints[:, [9, 12]], joints[:, [12, 9]]
    moved = hips + 0.25 * (hips - opposite) + 0.5 * (joints[:, 8:9] - 0.5 * (hips + opposite))
    return torch.cat([joints[:, :9], moved[:, :1], joints[:, 10:12], moved[:, 1:], joints[:, 13:]], dim=1)


def joints44(body: Body, regressor: Tensor | None = None, *, update_hips: bool = False) -> Joints44:
    """The 44 joints of a body, face and feet included if it has SMPL's vertices."""
    vertices = FACE_AND_FEET if len(body.v_template) == SMPL_VERTICES else None
    return Joints44(body, vertices, regressor, update_hips=update_hips)


def from_smpl(points: ArrayLike, confidence: ArrayLike, *, pelvis: bool = False) -> FloatArray:
    """SMPL's joints (24, D) with ``confidence`` (24,) as the 44 (44, D + 1), whose last column is the confidence.

    Joints that are not SMPL's are 0. With ``pelvis``, joint 39 is the middle between SMPL's hips, without which root-
    centred losses of 3D labels would be wrong.
    """
    labelled = np.column_stack([points, confidence]).astype(np.float32)
    result = np.zeros((len(NAMES), labelled.shape[1]), np.float32)
    result[list(SMPL_OF)] = labelled[list(SMPL_OF.values())]
    if pelvis:
        result[PELVIS] = labelled[list(_SMPL_HIPS)].mean(0)
    return result


def to_smpl(labelled: ArrayLike) -> FloatArray:
    """The 44 (44, D + 1) as SMPL's joints (24, D + 1): the 14 that are, else the limb of that name in the second block.

    That the limbs of data sets count as SMPL's is the field's convention (see :mod:`posesyn_core.geometry.skeletons`).
    """
    given = np.asarray(labelled, np.float32)
    result = np.zeros((_SMPL_JOINTS, given.shape[1]), np.float32)
    for at, joint in SMPL_OF.items():
        twin = NAMES.index(NAMES[at], OPENPOSE) if NAMES[at] in NAMES[OPENPOSE:] else at
        result[joint] = given[at] if given[at, -1] > 0 else given[twin]
    return result
