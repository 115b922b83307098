"""The body model: the free body's shape, SMPL's conventions, the user's SMPL files."""

import io
import pickle
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy import sparse
from smplx import SMPL
from smplx.utils import Struct

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.model import FREE_BODY, Body, load_body
from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.geometry.skeletons import SMPL24


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def smpl_arrays() -> dict[str, np.ndarray]:
    """A stand-in for the licensed SMPL file: its array names, shapes and types, the free body's numbers."""
    with np.load(FREE_BODY) as file:
        arrays = {name: file[name] for name in ("v_template", "J_regressor", "weights", "f")}
        arrays["shapedirs"] = np.concatenate([file["shapedirs"], np.zeros((*file["v_template"].shape, 290))], -1)
        arrays["kintree_table"] = file["kintree_table"].astype(np.uint32)
    rng = np.random.default_rng(1)
    arrays["posedirs"] = 1e-3 * rng.normal(size=(*arrays["v_template"].shape, 207))
    return arrays


def _random_parameters(count: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    sizes = ((count, 3), (count, 23, 3), (count, 10), (count, 3))
    scales = (1.0, 0.4, 1.0, 1.0)
    return tuple(s * torch.randn(size, generator=random) for size, s in zip(sizes, scales, strict=True))


def test_the_free_body_is_a_standing_adult(body: Body) -> None:
    vertices = body.v_template
    height = float(vertices[:, 1].max() - vertices[:, 1].min())
    joints = body.rest_joints(torch.zeros(1, 10))[0]
    bone = (joints[1:] - joints[list(SMPL24.parents[1:])]).norm(dim=1)
    assert 1.6 < height < 1.8
    assert FREE_BODY.stat().st_size < 2.5e6
    for left, right in ((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21), (22, 23)):
        assert torch.allclose(joints[left] * torch.tensor([-1.0, 1, 1]), joints[right], atol=0.005)
        assert joints[left, 0] > 0  # left is +x
    assert 0.36 < bone[3] < 0.45 and 0.36 < bone[6] < 0.45  # thigh, shank
    assert 0.22 < bone[17] < 0.30 and 0.22 < bone[19] < 0.28  # upper arm, forearm
    assert joints[10, 2] > joints[7, 2] + 0.1  # toes point to +z
    arm = joints[[16, 18, 20, 22]]
    assert float((arm[:, 1:] - arm[0, 1:]).abs().max()) < 0.01  # T-pose


def test_surface_is_oriented_outwards_and_skinning_is_a_partition(body: Body) -> None:
    a, b, c = body.v_template[body.faces].double().unbind(1)
    volume = float((torch.linalg.cross(a, b) * c).sum()) / 6
    assert 0.05 < volume < 0.09  # cubic metres; negative if the faces looked inwards
    assert torch.allclose(body.weights.sum(1), torch.ones(len(body.weights)), atol=1e-5)
    assert torch.allclose(body.J_regressor.sum(1), torch.ones(24), atol=1e-5)


def test_shape_directions_are_orthogonal_and_the_first_is_height(body: Body) -> None:
    directions = body.shapedirs.reshape(-1, 10).double()
    gram = directions.T @ directions
    scale = gram.diagonal().sqrt()
    assert float((gram / scale[:, None] / scale - torch.eye(10)).abs().max()) < 0.02
    assert (scale[:-1] >= scale[1:]).all()
    taller = body(torch.zeros(1, 3), torch.zeros(1, 23, 3), torch.eye(10)[:1]).vertices[0]
    growth = float(
        (taller[:, 1].max() - taller[:, 1].min()) - (body.v_template[:, 1].max() - body.v_template[:, 1].min())
    )
    assert 0.05 < growth < 0.15  # one standard deviation of adult height


def test_bending_follows_smpls_signs(body: Body) -> None:
    def posed(joint: int, *rotvec: float) -> torch.Tensor:
        pose = torch.zeros(1, 23, 3)
        pose[0, joint - 1] = torch.tensor(rotvec)
        return body.joints(torch.zeros(1, 3), pose, torch.zeros(1, 10))[0]

    rest = posed(1, 0, 0, 0)
    assert posed(4, 1.5, 0, 0)[7, 2] < rest[7, 2] - 0.3  # the left knee bends backwards
    assert posed(1, -1.5, 0, 0)[4, 2] > rest[4, 2] + 0.3  # the left hip flexes forwards
    assert posed(18, 0, -1.5, 0)[20, 2] > rest[20, 2] + 0.15  # the left elbow bends forwards
    assert posed(16, 0, 0, -1.2)[20, 1] < rest[20, 1] - 0.4  # the left arm goes down
    assert posed(3, 0.5, 0, 0)[15, 2] > rest[15, 2] + 0.15  # the trunk bends forwards


def test_texture_and_parts_cover_every_face(body: Body) -> None:
    assert body.uv is not None
    assert body.uv.shape == (len(body.faces), 3, 2)
    assert float(body.uv.min()) >= 0 and float(body.uv.max()) <= 1
    assert set(body.part_labels.tolist()) == set(range(len(body.part_names)))
    centre = body.v_template[body.faces].mean(1)
    for part, (axis, sign) in {
        "left_hand": (0, 1),
        "right_foot": (0, -1),
        "scalp": (1, 1),
        "left_foot": (1, -1),
    }.items():
        of_part = centre[body.part_labels == body.part_names.index(part)]
        assert len(of_part) > 50
        assert float((of_part[:, axis] * sign).min()) > 0


def test_joints_fast_path_and_matrices_agree_with_skinning(body: Body) -> None:
    orient, pose, betas, transl = _random_parameters(5)
    out = body(orient, pose, betas, transl)
    assert torch.allclose(out.joints3d, body.joints(orient, pose, betas, transl), atol=1e-5)
    rotations = roma.rotvec_to_rotmat(torch.cat([orient[:, None], pose], 1))
    again = body.pose(rotations, betas, transl)
    assert torch.allclose(out.vertices, again.vertices, atol=1e-5)
    still = body.pose(rotations, betas)
    assert torch.allclose(out.vertices - transl[:, None], still.vertices, atol=1e-5)
    assert torch.allclose(out.joints3d - transl[:, None], body.pose_joints(rotations, betas), atol=1e-5)


def test_a_turn_of_the_root_turns_the_body_about_the_pelvis(body: Body) -> None:
    orient, pose, betas, _ = _random_parameters(1, seed=3)
    turn = torch.tensor([0.0, 0.7, 0.0])
    turned_orient = roma.rotvec_composition([turn[None], orient])
    before, after = body(orient, pose, betas), body(turned_orient, pose, betas)
    pelvis = before.joints3d[:, :1]
    expected = (before.vertices - pelvis) @ roma.rotvec_to_rotmat(turn).T + pelvis
    assert torch.allclose(after.vertices, expected, atol=1e-5)


def test_everything_is_differentiable_also_at_rest(body: Body) -> None:
    parameters = [torch.zeros(2, *size, requires_grad=True) for size in ((3,), (23, 3), (10,), (3,))]
    out = body(*parameters)
    (out.vertices.square().mean() + out.joints3d.square().mean()).backward()
    for parameter in parameters:
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0


def test_the_official_layout_loads_from_npz_and_pkl_alike(
    tmp_path: Path, smpl_arrays: dict[str, np.ndarray], body: Body
) -> None:
    npz, pkl = tmp_path / "SMPL_NEUTRAL.npz", tmp_path / "SMPL_NEUTRAL.pkl"
    np.savez(npz, **smpl_arrays)
    sparse_regressor = sparse.csc_matrix(smpl_arrays["J_regressor"])
    pkl.write_bytes(pickle.dumps({**smpl_arrays, "J_regressor": sparse_regressor, "bs_style": "lbs"}, 2))
    from_npz, from_pkl = load_body(npz), load_body(pkl, gender="female")
    assert from_pkl.gender == "female"
    assert from_npz.uv is None
    assert (from_npz.part_labels == body.part_labels).float().mean() > 0.99
    parameters = _random_parameters(2, seed=5)
    a, b, free = from_npz(*parameters), from_pkl(*parameters), body(*parameters)
    assert torch.equal(a.vertices, b.vertices)
    assert torch.allclose(a.joints3d, free.joints3d, atol=1e-5)
    assert 1e-4 < float((a.vertices - free.vertices).abs().max()) < 0.1  # the file's pose blend shapes are used


def test_smplx_loads_the_free_body_by_itself(body: Body) -> None:
    with np.load(FREE_BODY, allow_pickle=False) as file:
        layout = Struct(**file, posedirs=np.zeros((*file["v_template"].shape, 207), np.float32))
    with redirect_stdout(io.StringIO()):
        model = SMPL("", data_struct=layout, num_betas=10)
    orient, pose, betas, transl = _random_parameters(1)
    out = model(global_orient=orient, body_pose=pose.flatten(1), betas=betas, transl=transl)
    assert torch.allclose(out.vertices, body(orient, pose, betas, transl).vertices, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": None}, "lacks weights"),
        ({"weights": np.zeros((6800, 55))}, "weights has shape.*not SMPL-X"),
        ({"shapedirs": np.zeros((6800, 3, 4))}, "shapedirs has shape"),
    ],
)
def test_a_file_that_is_not_smpl_is_refused(
    tmp_path: Path, smpl_arrays: dict[str, np.ndarray], change: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = {k: v for k, v in {**smpl_arrays, "posedirs": np.zeros((6800, 3, 207)), **change}.items() if v is not None}
    path = tmp_path / "body.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        load_body(path)


@pytest.mark.parametrize(
    ("name", "harm", "complaint"),
    [
        *((name, lambda a: np.where(np.arange(a.size).reshape(a.shape) == 7, np.nan, a), "no finite numbers")
          for name in ("v_template", "shapedirs", "J_regressor", "weights")),
        ("shapedirs", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 7, 1e298, a), "values beyond 1e\\+06"),
        ("posedirs", lambda a: np.full((20, 3, 207), np.inf), "posedirs .*no finite numbers"),
        ("weights", lambda a: np.full(a.shape, "x"), "weights .*no finite numbers"),
        ("f", lambda a: a.astype(int) + 19, "f names vertices that there are not"),
        ("f", lambda a: a.astype(int) - 5, "f names vertices that there are not"),
        ("f", lambda a: np.zeros(0), r"f has shape \(0,\)"),
        ("v_template", lambda a: np.array(3.0), r"v_template has shape \(1,\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_a_damaged_body_is_refused(
    tmp_path: Path, name: str, harm: Callable[[np.ndarray], np.ndarray], complaint: str, suffix: str
) -> None:
    arrays = small_body()
    arrays[name] = harm(arrays.get(name, np.zeros(0)))
    path = tmp_path / f"body.{suffix}"
    np.savez(path, **arrays) if suffix == "npz" else path.write_bytes(pickle.dumps(arrays))
    with pytest.raises(UserError, match=rf"body\.{suffix}.*{complaint}"):
        load_body(path)


def test_a_sparse_matrix_that_would_take_all_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(pickle.dumps({**small_body(), "J_regressor": sparse.csc_matrix((40_000, 40_000))}))
    with pytest.raises(UserError, match=r"body\.pkl.*a sparse matrix of \(40000, 40000\)"):
        load_body(path)


def small_body() -> dict[str, np.ndarray]:
    """SMPL's arrays of a body with 20 vertices."""
    rng = np.random.default_rng(0)
    return {
        "v_template": rng.normal(size=(20, 3)), "shapedirs": rng.normal(size=(20, 3, 10)),
        "J_regressor": np.full((24, 20), 0.05), "weights": np.full((20, 24), 1 / 24),
        "kintree_table": np.array([SMPL24.parents, range(24)]), "f": np.arange(18).reshape(6, 3),
    }  # fmt: skip


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_body(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(UserError, match=r"text\.npz"):
        load_body(tmp_path / "text.npz")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="lacks v_template"):
        load_body(tmp_path / "list.pkl")


def test_weights_with_smpl_betas_want_an_smpl_file(tmp_path: Path, smpl_arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"set the option body to your SMPL file .*smpl\.is\.tue\.mpg\.de"):
        body_for_checkpoint("", needs_smpl=True)
    with pytest.raises(UserError, match=r"none\.npz.* does not exist"):
        body_for_checkpoint(str(tmp_path / "none.npz"), needs_smpl=True)
    np.savez(tmp_path / "smpl.npz", **smpl_arrays)
    assert body_for_checkpoint(str(tmp_path / "smpl.npz"), needs_smpl=True).shape_space == "smpl"


def test_the_free_body_poses_them_with_a_warning_only_when_asked() -> None:
    with pytest.warns(PoseSynWarning, match="bone lengths are not"):
        assert body_for_checkpoint("free", needs_smpl=True).shape_space == "free"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for body in ("", "free"):
            assert body_for_checkpoint(body, needs_smpl=False).shape_space == "free"
