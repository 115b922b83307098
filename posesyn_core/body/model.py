"""The body: SMPL's linear blend skinning, for the user's SMPL file or the free body that ships with PoseSyn.

Skinning is that of ``posesyn_core.body.skinning``. Coordinates in the rest pose: metres, y up, facing +z, the left
hand at +x. Rotations of joints are relative to the parent joint; joint order and kinematic tree are SMPL's.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import roma
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.body.parts import PART_NAMES, part_labels
from posesyn_core.body.skinning import pose_feature, rigid_chain, skin
from posesyn_core.body.with_hands import JOINTS as SMPLH_JOINTS
from posesyn_core.body.with_hands import without_fingers
from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, existing_file
from posesyn_core.files.reading import read_npz, reading
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.skeletons import SMPL24

FREE_BODY = Path(__file__).with_name("free_body.npz")
ShapeSpace = Literal["free", "smpl"]
"""Whose shape coefficients the ``betas`` are: the free body's, or SMPL's."""
LARGEST_DENSE = 1 << 26
"""Numbers of a sparse matrix in full; SMPL-H's regressor has 358,280."""
LARGEST = 1e6
"""Metres and shares of a body are far below; what is above is damage, and would not be finite for long."""
_NAMES = ("f", "kintree_table")
"""Arrays of numbers of vertices and joints."""
_NEEDED = ("v_template", "shapedirs", "J_regressor", "kintree_table", "weights", "f")


@frozen
class BodyOutput:
    """A posed batch: ``vertices`` (B, V, 3) and ``joints3d`` (B, 24, 3), metres, in the frame of ``transl``."""

    vertices: Tensor
    joints3d: Tensor


class Body(nn.Module):
    """An SMPL-layout body of V vertices, F triangles, 24 joints and 10 shape coefficients.

    All methods are batched, differentiable and free of data-dependent control flow; they compute in the dtype that
    the body has (float32 until ``double()`` or ``half()``), which their arguments must share.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], gender: str = "neutral", shape_space: ShapeSpace = "smpl"
    ) -> None:
        """``arrays`` has SMPL's names (see ``load_body``); optional: ``posedirs``, ``uv``, ``part_labels``."""
        super().__init__()
        self.gender = gender
        self.shape_space = shape_space
        self.part_names = PART_NAMES
        numbers = {name: np.asarray(arrays[name], np.float32) for name in ("v_template", "shapedirs", "weights")}
        self._keep("_template", numbers["v_template"].T)
        self._keep("_shapes", numbers["shapedirs"].transpose(2, 1, 0))
        self._keep("_weights", numbers["weights"].T)
        self._keep("_bends", _if_any(arrays.get("posedirs")))
        self._keep("J_regressor", np.asarray(arrays["J_regressor"], np.float32))
        self._keep("faces", np.asarray(arrays["f"]).astype(np.int64))
        self._keep("uv", None if (uv := arrays.get("uv")) is None else np.asarray(uv, np.float32))
        self._keep("part_labels", _labels(arrays))
        self.register_buffer("rest_template", self._template.new_zeros(24, 3))
        self.register_buffer("rest_shapedirs", self._template.new_zeros(24, 3, 10))
        self._regress()

    J_regressor: Tensor
    """(24, V): joints of the T-pose from its vertices."""
    faces: Tensor
    """(F, 3) int64 vertex indices, counter-clockwise seen from outside."""
    uv: Tensor | None
    """(F, 3, 2) texture coordinates of each face's corners (u right, v up, in [0, 1]), if the body has some."""
    part_labels: Tensor
    """(F,) uint8 into ``part_names``."""
    rest_template: Tensor
    """(24, 3) metres: the joints of the T-pose at betas 0."""
    rest_shapedirs: Tensor
    """(24, 3, 10) metres per unit of beta."""
    # What skinning reads, with the vertices as the last axis; the bends are None for a body that has none.
    _template: Tensor
    _shapes: Tensor
    _weights: Tensor
    _bends: Tensor | None

    def _keep(self, name: str, values: np.ndarray | None) -> None:
        self.register_buffer(name, None if values is None else torch.from_numpy(values.copy()))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Body":
        """Where ``to`` and ``double`` end: the joints of the T-pose are as exact as the dtype allows."""
        super()._apply(function, recurse)
        self._regress()
        return self

    def _regress(self) -> None:
        shapes = torch.cat([self.v_template[..., None], self.shapedirs], dim=-1)
        exact = torch.promote_types(shapes.dtype, torch.float32)
        rest = torch.einsum("jv,vak->jak", self.J_regressor.to(exact), shapes.to(exact)).to(shapes.dtype)
        self.rest_template, self.rest_shapedirs = rest[..., 0], rest[..., 1:]

    @property
    def v_template(self) -> Tensor:
        """(V, 3) metres: the surface at betas 0 in the T-pose."""
        return self._template.mT

    @property
    def shapedirs(self) -> Tensor:
        """(V, 3, 10) metres per unit of beta."""
        return self._shapes.permute(2, 1, 0)

    @property
    def posedirs(self) -> Tensor:
        """(207, 3 V) metres: pose blend shapes, of the coordinates of one vertex after the other."""
        if self._bends is None:
            return self._template.new_zeros(207, self._template.numel())
        return self._bends.mT.flatten(1)

    @property
    def weights(self) -> Tensor:
        """(V, 24) skinning weights; each row sums to 1."""
        return self._weights.mT

    def forward(
        self, global_orient: Tensor, body_pose: Tensor, betas: Tensor, transl: Tensor | None = None
    ) -> BodyOutput:
        """Pose the body from axis-angles.

        ``global_orient`` (B, 3), ``body_pose`` (B, 23, 3) radians, ``betas`` (B, 10), ``transl`` (B, 3) metres.
        """
        return self.pose(_rotations(global_orient, body_pose), betas, transl)

    def pose(self, rotations: Tensor, betas: Tensor, transl: Tensor | None = None) -> BodyOutput:
        """Pose the body from rotation matrices (B, 24, 3, 3), the root's first; for networks that predict those."""
        rest = self.rest_joints(betas)
        world, joints = rigid_chain(rotations, rest)
        vertices = skin(self._surface(rotations, betas), self.weights, world, joints, rest)
        if transl is None:
            return BodyOutput(vertices, joints)
        return BodyOutput(vertices + transl[:, None], joints + transl[:, None])

    def _surface(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """(B, V, 3): the surface of the T-pose, bent already as the pose will need it."""
        surface = torch.addmm(self._template.flatten(), betas, self._shapes.flatten(1))
        if self._bends is not None:
            surface = surface + pose_feature(rotations) @ self._bends.flatten(1)
        return surface.unflatten(1, (3, -1)).mT

    def joints(self, global_orient: Tensor, body_pose: Tensor, betas: Tensor, transl: Tensor | None = None) -> Tensor:
        """The joints (B, 24, 3) of ``forward`` without its vertices: hundreds of times less work."""
        return self.pose_joints(_rotations(global_orient, body_pose), betas, transl)

    def pose_joints(self, rotations: Tensor, betas: Tensor, transl: Tensor | None = None) -> Tensor:
        """The joints (B, 24, 3) of ``pose`` without its vertices."""
        _, joints = rigid_chain(rotations, self.rest_joints(betas))
        return joints if transl is None else joints + transl[:, None]

    def rest_joints(self, betas: Tensor) -> Tensor:
        """(B, 24, 3) metres: the joints of the T-pose for ``betas`` (B, 10), the same bits in a batch of any size."""
        return self.rest_template + (betas[:, None, None] * self.rest_shapedirs).sum(-1)


def _rotations(global_orient: Tensor, body_pose: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(torch.cat([global_orient[:, None], body_pose], dim=1))


def _if_any(posedirs: np.ndarray | None) -> np.ndarray | None:
    """SMPL's pose blend shapes (V, 3, 207) as (207, 3, V); None where all are zero, as the free body's are."""
    if posedirs is None or not np.any(posedirs):
        return None
    return np.asarray(posedirs, np.float32).transpose(2, 1, 0)


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
    same names; SMPL-H's fingers follow its hands (see ``posesyn_core.body.with_hands``). Only the first ten of its
    shape directions are used. ``gender`` labels the body; each gender of SMPL is a file of its own, the free body is
    neutral. UserError for a missing file or one that holds neither SMPL nor SMPL-H.
    """
    if path is None:
        return Body(_free_arrays(), gender, "free")
    return Body(_checked(path, _read_arrays(existing_file(path, "body model"))), gender)


BUFFERS: Mapping[str, str] = {
    "v_template": "v_template", "shapedirs": "shapedirs", "J_regressor": "J_regressor", "lbs_weights": "weights",
    "faces_tensor": "f",
}  # fmt: skip
"""The names that SMPL's arrays have in published networks -> SMPL's own; ``posedirs`` is laid out otherwise there."""


def body_of_buffers(buffers: Mapping[str, Tensor], shape_space: ShapeSpace = "smpl") -> Body:
    """The body that a published network carries, by the names that it has there.

    ``v_template`` (V, 3), ``shapedirs`` (V, 3, 10), ``posedirs`` (207, 3 V), ``J_regressor`` (24, V), ``lbs_weights``
    (V, 24), ``faces_tensor`` (F, 3). KeyError if one is missing.
    """
    plain = {name: buffers[name].detach().cpu().numpy() for name in (*BUFFERS, "posedirs")}
    arrays = {own: plain[name] for name, own in BUFFERS.items()}
    arrays["posedirs"] = plain["posedirs"].T.reshape(-1, 3, 207)
    return Body(arrays, shape_space=shape_space)


def save_body(body: Body, path: Path) -> None:
    """Write a body as .npz by SMPL's names, for :func:`load_body`, atomically; SMPL's licence goes with SMPL."""
    arrays = {
        "v_template": body.v_template, "shapedirs": body.shapedirs, "J_regressor": body.J_regressor,
        "weights": body.weights, "f": body.faces, "posedirs": body.posedirs.mT.unflatten(0, (-1, 3)),
    }  # fmt: skip
    tree = np.array([SMPL24.parents, range(len(SMPL24))])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, kintree_table=tree, **{name: tensor.cpu().numpy() for name, tensor in arrays.items()})


def _read_arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".pkl":
        content = load_pickle(path)
        return content if isinstance(content, dict) else {}
    return read_npz(path, "body model", "SMPL's file as an .npz of plain arrays", (*_NEEDED, "posedirs"))


def _checked(path: Path, content: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of an SMPL model, dense and of SMPL's shapes; UserError names the file and what is wrong."""
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise UserError(f"body model {str(path)!r} is not an SMPL model: it lacks {', '.join(missing)}")
    with reading(path, "body model", "SMPL's arrays of numbers"):
        arrays = {name: _dense(content[name]) for name in (*_NEEDED, "posedirs") if name in content}
        arrays["shapedirs"] = arrays["shapedirs"][..., :10]
    if arrays["kintree_table"].shape == (2, SMPLH_JOINTS):
        arrays = without_fingers(path, _shaped(path, arrays, SMPLH_JOINTS))
    arrays = _shaped(path, arrays, len(SMPL24))
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise UserError(
                f"body model {str(path)!r}: {name} has values that are no finite numbers; get the file again"
            )
        if name not in _NAMES and np.abs(values).max(initial=0) > LARGEST:
            raise UserError(f"body model {str(path)!r}: {name} has values beyond {LARGEST:g}; get the file again")
    faces = arrays["f"]
    if faces.dtype.kind == "f" or faces.min(initial=0) < 0 or faces.max(initial=0) >= len(arrays["v_template"]):
        raise UserError(f"body model {str(path)!r}: f names vertices that there are not; get the file again")
    if arrays["kintree_table"][0, 1:].tolist() != list(SMPL24.parents[1:]):
        raise UserError(f"body model {str(path)!r}: its kintree_table is not that of SMPL's 24 joints")
    return arrays


def _shaped(path: Path, arrays: dict[str, np.ndarray], joints: int) -> dict[str, np.ndarray]:
    """The arrays, if they have the shapes of a body of so many joints; UserError names the first that has not."""
    vertex_count, face_count = len(np.atleast_1d(arrays["v_template"])), len(np.atleast_1d(arrays["f"]))
    expected = {
        "v_template": (vertex_count, 3), "shapedirs": (vertex_count, 3, 10), "J_regressor": (joints, vertex_count),
        "weights": (vertex_count, joints), "kintree_table": (2, joints),
        "posedirs": (vertex_count, 3, 9 * (joints - 1)), "f": (face_count, 3),
    }  # fmt: skip
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            raise UserError(
                f"body model {str(path)!r}: {name} has shape {arrays[name].shape}, expected is {shape}; "
                "use a file of SMPL or SMPL-H (not SMPL-X, whose betas are of its own)"
            )
    return arrays


def _dense(value: Any) -> np.ndarray:
    """The array in C's order: a product's rounding depends on the order, and files of either kind must agree."""
    if hasattr(value, "toarray") and math.prod(value.shape) > LARGEST_DENSE:
        raise ValueError(f"a sparse matrix of {value.shape}")
    return np.ascontiguousarray(value.toarray() if hasattr(value, "toarray") else value)
