"""The body: SMPL's linear blend skinning, for the user's SMPL file or the free body that ships with PoseSyn.

Skinning is done by ``smplx.SMPL``. Coordinates in the rest pose: metres, y up, facing +z, the left hand at +x.
Rotations of joints are relative to the parent joint; joint order and kinematic tree are SMPL's.
"""

import contextlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import roma
import torch
from attrs import frozen
from smplx import SMPL
from smplx.lbs import batch_rigid_transform
from smplx.utils import Struct
from torch import Tensor, nn

from posesyn_core.body.parts import PART_NAMES, part_labels
from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.skeletons import SMPL24

FREE_BODY = Path(__file__).with_name("free_body.npz")
ShapeSpace = Literal["free", "smpl"]
"""Whose shape coefficients the ``betas`` are: the free body's, or SMPL's."""
_FACE = ("nose", "reye", "leye", "rear", "lear")
"""Joints that smplx picks from SMPL's vertices and we leave out; another body may not even have so many vertices."""
_NEEDED = ("v_template", "shapedirs", "J_regressor", "kintree_table", "weights", "f")


@frozen
class BodyOutput:
    """A posed batch: ``vertices`` (B, V, 3) and ``joints3d`` (B, 24, 3), metres, in the frame of ``transl``."""

    vertices: Tensor
    joints3d: Tensor


class Body(nn.Module):
    """An SMPL-layout body of V vertices, F triangles, 24 joints and 10 shape coefficients.

    Buffers: ``uv`` (F, 3, 2) float32 texture coordinates of each face's corners (u right,
    v up, in [0, 1]) or None; ``part_labels`` (F,) uint8 into ``part_names``; and SMPL's own arrays below.
    All methods are batched, differentiable and free of data-dependent control flow.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], gender: str = "neutral", shape_space: ShapeSpace = "smpl"
    ) -> None:
        """``arrays`` has SMPL's names (see ``load_body``); optional: ``posedirs``, ``uv``, ``part_labels``."""
        super().__init__()
        self.shape_space = shape_space
        vertex_count = len(arrays["v_template"])
        posedirs = arrays.get("posedirs", np.zeros((vertex_count, 3, 207), np.float32))
        layout = Struct(**{name: arrays[name] for name in _NEEDED}, posedirs=posedirs)
        with contextlib.redirect_stdout(io.StringIO()):  # smplx prints that there are only ten coefficients
            self.smpl = SMPL(
                "", data_struct=layout, num_betas=10, gender=gender, use_hands=False, use_feet_keypoints=False,
                create_betas=False, create_global_orient=False, create_body_pose=False, create_transl=False,
                vertex_ids=dict.fromkeys(_FACE, 0),
            )  # fmt: skip
        self.gender = gender
        shapes = torch.cat([self.v_template[..., None], self.shapedirs], dim=-1)
        rest = torch.einsum("jv,vak->jak", self.J_regressor, shapes)
        self.register_buffer("rest_template", rest[..., 0])
        self.register_buffer("rest_shapedirs", rest[..., 1:])
        uv = arrays.get("uv")
        self.register_buffer("uv", None if uv is None else torch.as_tensor(np.asarray(uv, np.float32)))
        self.register_buffer("part_labels", torch.as_tensor(_labels(arrays)))
        self.part_names = PART_NAMES

    uv: Tensor | None
    part_labels: Tensor
    rest_template: Tensor
    rest_shapedirs: Tensor

    @property
    def faces(self) -> Tensor:
        """(F, 3) int64 vertex indices, counter-clockwise seen from outside."""
        return self.smpl.faces_tensor

    @property
    def parents(self) -> Tensor:
        """(24,) int64 parent joints; the root's is -1."""
        return self.smpl.parents

    @property
    def v_template(self) -> Tensor:
        """(V, 3) metres: the surface at betas 0 in the T-pose."""
        return self.smpl.v_template

    @property
    def shapedirs(self) -> Tensor:
        """(V, 3, 10) metres per unit of beta."""
        return self.smpl.shapedirs

    @property
    def J_regressor(self) -> Tensor:
        """(24, V): joints of the T-pose from its vertices."""
        return self.smpl.J_regressor

    @property
    def weights(self) -> Tensor:
        """(V, 24) skinning weights; each row sums to 1."""
        return self.smpl.lbs_weights

    def forward(
        self, global_orient: Tensor, body_pose: Tensor, betas: Tensor, transl: Tensor | None = None
    ) -> BodyOutput:
        """Pose the body from axis-angles.

        ``global_orient`` (B, 3), ``body_pose`` (B, 23, 3) radians, ``betas`` (B, 10), ``transl`` (B, 3) metres.
        """
        return self.pose(_rotations(global_orient, body_pose), betas, transl)

    def pose(self, rotations: Tensor, betas: Tensor, transl: Tensor | None = None) -> BodyOutput:
        """Pose the body from rotation matrices (B, 24, 3, 3), the root's first; for networks that predict those."""
        if transl is None:
            transl = torch.zeros_like(betas[:, :3])
        out = self.smpl(
            global_orient=rotations[:, :1], body_pose=rotations[:, 1:], betas=betas, transl=transl, pose2rot=False
        )
        return BodyOutput(out.vertices, out.joints[:, : len(self.parents)])

    def joints(self, global_orient: Tensor, body_pose: Tensor, betas: Tensor, transl: Tensor | None = None) -> Tensor:
        """The joints (B, 24, 3) of ``forward`` without its vertices: hundreds of times less work."""
        return self.pose_joints(_rotations(global_orient, body_pose), betas, transl)

    def pose_joints(self, rotations: Tensor, betas: Tensor, transl: Tensor | None = None) -> Tensor:
        """The joints (B, 24, 3) of ``pose`` without its vertices."""
        joints, _ = batch_rigid_transform(rotations, self.rest_joints(betas), self.parents, dtype=rotations.dtype)
        return joints if transl is None else joints + transl[:, None]

    def rest_joints(self, betas: Tensor) -> Tensor:
        """(B, 24, 3) metres: the joints of the T-pose for ``betas`` (B, 10)."""
        return self.rest_template + torch.einsum("bk,jak->bja", betas, self.rest_shapedirs)


def _rotations(global_orient: Tensor, body_pose: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(torch.cat([global_orient[:, None], body_pose], dim=1))


def _labels(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The labels that come with the body, or for a user's SMPL file those of the dominant skinning weight."""
    if "part_labels" in arrays:
        return arrays["part_labels"]
    vertices = arrays["v_template"]
    return part_labels(arrays["weights"], arrays["f"].astype(np.int64), vertices, arrays["J_regressor"] @ vertices)


@cache
def _free_arrays() -> dict[str, np.ndarray]:
    with np.load(FREE_BODY, allow_pickle=False) as file:
        arrays = dict(file)
    arrays["uv"] = arrays.pop("vt")[arrays.pop("ft")]
    return arrays


def load_body(path: Path | None = None, *, gender: str = "neutral") -> Body:
    """The free body, or the user's SMPL model from ``path``.

    ``path`` is an official ``.pkl`` (read without chumpy by ``posesyn_core.files.unpickle``) or an ``.npz`` with the
    same names. Only the first ten of its shape directions are used. ``gender`` labels the body; each gender of SMPL is
    a file of its own, the free body is neutral. UserError for a missing file or one that does not hold an SMPL model.
    """
    if path is None:
        return Body(_free_arrays(), gender, "free")
    return Body(_checked(path, _read_arrays(existing_file(path, "body model"))), gender)


BUFFERS: Mapping[str, str] = {
    "v_template": "v_template", "shapedirs": "shapedirs", "J_regressor": "J_regressor", "lbs_weights": "weights",
    "faces_tensor": "f",
}  # fmt: skip
"""smplx's names of SMPL's arrays -> SMPL's own; besides, there is ``posedirs``, which smplx lays out otherwise."""


def body_of_buffers(buffers: Mapping[str, Tensor], shape_space: ShapeSpace = "smpl") -> Body:
    """The body that a published network carries, by smplx's names, with SMPL's kinematic tree.

    ``v_template`` (V, 3), ``shapedirs`` (V, 3, 10), ``posedirs`` (207, 3 V), ``J_regressor`` (24, V), ``lbs_weights``
    (V, 24), ``faces_tensor`` (F, 3). KeyError if one is missing.
    """
    plain = {name: buffers[name].detach().cpu().numpy() for name in (*BUFFERS, "posedirs")}
    arrays = {own: plain[name] for name, own in BUFFERS.items()}
    arrays["posedirs"] = plain["posedirs"].T.reshape(-1, 3, 207)
    arrays["kintree_table"] = np.array([SMPL24.parents, range(len(SMPL24))])
    return Body(arrays, shape_space=shape_space)


def smpl_file(folder: Path, gender: str) -> Path | None:
    """SMPL's file of that gender ("female", "male" or "neutral") in ``folder`` by its usual names, None if it has none.

    ``SMPL_FEMALE.pkl`` (smplx), ``basicmodel_f_lbs_10_207_0_v1.1.0.pkl`` (SMPL's own, of any version), or .npz.
    """
    own = {"female": "f", "male": "m", "neutral": "neutral"}[gender]
    patterns = (f"SMPL_{gender.upper()}.pkl", f"SMPL_{gender.upper()}.npz", f"basic[mM]odel_{own}_lbs_10_207_0_v*.pkl")
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def body_for_checkpoint(body: str, *, needs_smpl: bool) -> Body:
    """The body for an estimator's weights: the one place that decides what happens without an SMPL file.

    ``body`` is the estimator's option of that name: a path is loaded (see :func:`load_body`). "" takes the free body,
    unless the weights predict betas of SMPL's shape space (``needs_smpl``: published checkpoints do): a UserError then
    tells where to get SMPL, because the same betas make a body of other proportions of the free one, and every label
    derived from it would be wrong without notice. "free" poses the free body all the same, with a PoseSynWarning:
    poses are right, bone lengths and metres are not.
    """
    if body not in ("", "free"):
        return load_body(Path(body).expanduser())
    if needs_smpl and not body:
        raise UserError(
            "these weights predict betas of the SMPL body, which does not come with PoseSyn: set the option body to "
            "your SMPL file (.pkl or .npz, free for research at https://smpl.is.tue.mpg.de), or to 'free' to look at "
            "poses on the free body"
        )
    if needs_smpl:
        warnings.warn(
            "the weights predict betas of SMPL, but body = 'free' poses the free body with them: poses are right, "
            "bone lengths are not; set body to your SMPL file before using the joints as labels",
            PoseSynWarning,
            stacklevel=2,
        )
    return load_body()


def _read_arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".pkl":
        content = load_pickle(path)
        return content if isinstance(content, dict) else {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"body model {str(path)!r} is not a readable .npz of plain arrays: {error}") from error


def _checked(path: Path, content: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of an SMPL model, dense and of SMPL's shapes; UserError names the file and what is wrong."""
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise UserError(f"body model {str(path)!r} is not an SMPL model: it lacks {', '.join(missing)}")
    arrays = {name: _dense(content[name]) for name in (*_NEEDED, "posedirs") if name in content}
    arrays["shapedirs"] = arrays["shapedirs"][..., :10]
    vertex_count = len(arrays["v_template"])
    expected = {
        "v_template": (vertex_count, 3), "shapedirs": (vertex_count, 3, 10), "J_regressor": (24, vertex_count),
        "weights": (vertex_count, 24), "kintree_table": (2, 24), "posedirs": (vertex_count, 3, 207),
    }  # fmt: skip
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            raise UserError(
                f"body model {str(path)!r}: {name} has shape {arrays[name].shape}, SMPL's is {shape}; "
                "use an SMPL file (not SMPL-X or SMPL-H)"
            )
    return arrays


def _dense(value: Any) -> np.ndarray:
    """The array in C's order: a product's rounding depends on the order, and files of either kind must agree."""
    return np.ascontiguousarray(value.toarray() if hasattr(value, "toarray") else value)
