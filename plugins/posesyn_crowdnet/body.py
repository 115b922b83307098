"""The body that the network's parameters describe, and joints as weighted sums of its posed vertices.

3DCrowdNet's losses see 30 joints that are regressed from the posed mesh (not SMPL's kinematic joints, which ``decode``
returns as everywhere in PoseSyn; the two are up to a centimetre or two apart).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from posesyn_core.body.model import Body, ShapeSpace, body_of_buffers
from posesyn_core.body.skinning import pose_feature, rigid_chain, skin
from posesyn_core.errors import UserError
from posesyn_core.files.reading import read_npy
from posesyn_crowdnet.joints import EXTRA_HEAD_TOP, FACE_VERTICES, SMPL_VERTICES, SUPERSET
from posesyn_crowdnet.network import BodyBuffers


def body_from(buffers: BodyBuffers, shape_space: ShapeSpace = "smpl") -> Body:
    """The body that a checkpoint carries."""
    by_name = {
        "v_template": buffers.th_v_template[0],
        "shapedirs": buffers.th_shapedirs,
        "posedirs": buffers.th_posedirs.flatten(0, 1).mT,
        "J_regressor": buffers.th_J_regressor,
        "lbs_weights": buffers.th_weights,
        "faces_tensor": buffers.th_faces,
    }
    return body_of_buffers(by_name, shape_space)


def superset_regressor(
    body: Body, head_top: ArrayLike | None = None, face: Sequence[int] = FACE_VERTICES
) -> tuple[Tensor, Tensor]:
    """Weights (30, V) of the 30 joints over the body's vertices, and which of them are known (30,).

    SMPL's 24 are always known; the face's five where the body has the vertices ``face`` of SMPL's mesh; the head's top
    with its row ``head_top`` (V,). What is unknown is the pelvis, so that it is nothing after its subtraction.
    """
    smpl = body.J_regressor
    rows = smpl[:1].repeat(len(SUPERSET), 1)
    rows[: len(smpl)] = smpl
    known = torch.zeros(len(SUPERSET), dtype=torch.bool)
    known[: len(smpl)] = True
    if face != FACE_VERTICES or smpl.shape[1] == SMPL_VERTICES:
        rows[len(smpl) : -1] = torch.eye(smpl.shape[1])[list(face)]
        known[len(smpl) : -1] = True
    if head_top is not None:
        rows[-1] = torch.as_tensor(np.asarray(head_top, np.float32))
        known[-1] = True
    return rows, known


def read_head_top(path: str, vertices: int) -> np.ndarray | None:
    """The head top's weights (V,) out of ``J_regressor_extra.npy``; None for "". UserError if they don't fit."""
    if not path:
        return None
    rows = read_npy(Path(path).expanduser(), "extra_regressor", "an array of numbers (.npy)")
    if rows.ndim != 2 or rows.shape[1] != vertices or len(rows) <= EXTRA_HEAD_TOP:
        raise UserError(
            f"extra_regressor {path!r} has shape {rows.shape}, not (9, {vertices}) as SPIN's J_regressor_extra.npy for "
            "this body; leave the option empty to train without the head's top"
        )
    return rows[EXTRA_HEAD_TOP]


class JointRegressor(nn.Module):
    """Joints (K) of a posed body as sums over its vertices, of which only those that count are posed."""

    def __init__(self, body: Body, rows: Tensor) -> None:
        """``rows`` (K, V): the weights of each joint."""
        super().__init__()
        used = (rows != 0).any(0)
        posedirs = body.posedirs.unflatten(1, (-1, 3))
        for name, values in {
            "rows": rows[:, used], "template": body.v_template[used], "shapedirs": body.shapedirs[used],
            "posedirs": posedirs[:, used].flatten(1), "weights": body.weights[used],
            "rest_template": body.rest_template, "rest_shapedirs": body.rest_shapedirs,
        }.items():  # fmt: skip
            self.register_buffer(name, values.clone())

    rows: Tensor
    template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    rest_template: Tensor
    rest_shapedirs: Tensor

    def forward(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """Rotation matrices (B, 24, 3, 3) and betas (B, 10) -> joints (B, K, 3) metres, before any translation."""
        shaped = self.template + torch.einsum("bk,vak->bva", betas, self.shapedirs)
        shaped = shaped + (pose_feature(rotations) @ self.posedirs).unflatten(1, (-1, 3))
        rest = self.rest_template + torch.einsum("bk,jak->bja", betas, self.rest_shapedirs)
        world, joints = rigid_chain(rotations, rest)
        return self.rows @ skin(shaped, self.weights, world, joints, rest)
