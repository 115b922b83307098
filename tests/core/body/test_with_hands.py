"""SMPL-H as a body of 24 joints: against smplx's own posing of all 52, with a stand-in that has fingers."""

import builtins
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posesyn_core.body.model import FREE_BODY, Body, load_body, save_body
from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import SMPL24

smplx = pytest.importorskip("smplx", reason="smplx is what reads SMPL-H")


@pytest.fixture(scope="module")
def smplh() -> dict[str, np.ndarray]:
    """The free body with fingers in SMPL-H's order, and pose blend shapes: what SMPL-H's file holds."""
    random = np.random.default_rng(0)
    with np.load(FREE_BODY) as file:
        arrays = {name: file[name] for name in ("v_template", "shapedirs", "J_regressor", "weights", "f")}
    vertices = len(arrays["v_template"])
    parents = [*SMPL24.parents[:22]]
    for wrist in (20, 21):
        for _ in range(5):
            first = len(parents)
            parents += [wrist, first, first + 1]
    weights = np.zeros((vertices, 52))
    weights[:, :22] = arrays["weights"][:, :22]
    for side in (0, 1):  # the hand's share falls to its fingers, another for every vertex
        shares = random.dirichlet(np.ones(15), vertices)
        weights[:, 22 + 15 * side : 37 + 15 * side] = arrays["weights"][:, 22 + side, None] * shares
    fingers = random.dirichlet(np.full(vertices, 1e-2), 30)
    tree = np.array([parents, range(52)]).astype(np.uint32)
    tree[0, 0] = 2**32 - 1  # as the official files have it
    return {
        **arrays,
        "weights": weights,
        "J_regressor": np.concatenate([arrays["J_regressor"][:22], fingers]),
        "posedirs": 1e-3 * random.normal(size=(vertices, 3, 459)),
        "kintree_table": tree,
    }


def written(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    path = folder / "SMPLH_NEUTRAL.npz"
    np.savez(path, **arrays)
    return path


def test_posed_as_smplx_poses_all_joints_with_the_fingers_at_rest(tmp_path: Path, smplh: dict[str, np.ndarray]) -> None:
    with redirect_stdout(io.StringIO()):
        layer = smplx.SMPL("", data_struct=smplx.utils.Struct(**smplh), num_betas=10)
    random = np.random.default_rng(1)
    rotations = np.tile(np.eye(3), (4, 52, 1, 1))
    rotations[:, :22] = Rotation.random(88, random_state=2).as_matrix().reshape(4, 22, 3, 3)
    betas = torch.from_numpy(random.normal(size=(4, 10)).astype(np.float32))
    vertices, joints = smplx.lbs.lbs(
        betas, torch.from_numpy(rotations).float(), layer.v_template, layer.shapedirs, layer.posedirs,
        layer.J_regressor, layer.parents, layer.lbs_weights, pose2rot=False,
    )  # fmt: skip
    found = load_body(written(tmp_path, smplh)).pose(torch.from_numpy(rotations[:, :24]).float(), betas)
    torch.testing.assert_close(found.vertices, vertices, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.joints3d[:, :22], joints[:, :22], rtol=0, atol=5e-6)
    for hand, first in ((22, 22), (23, 37)):  # the hand is the mean of its first knuckles
        torch.testing.assert_close(
            found.joints3d[:, hand], joints[:, first : first + 15 : 3].mean(1), rtol=0, atol=5e-6
        )


def test_a_turned_hand_takes_its_fingers_along(tmp_path: Path, smplh: dict[str, np.ndarray]) -> None:
    body = load_body(written(tmp_path, smplh))
    rest = torch.eye(3).tile(1, 24, 1, 1)
    turned = rest.clone()
    turned[0, 22] = torch.from_numpy(Rotation.from_rotvec([0, 0, 1]).as_matrix()).float()
    moved = (body.pose(turned, torch.zeros(1, 10)).vertices - body.pose(rest, torch.zeros(1, 10)).vertices)[0].norm(
        dim=-1
    )
    follows = torch.from_numpy(smplh["weights"][:, 22:37].sum(1)) > 0
    assert moved[follows].max() > 0.01
    assert moved[~follows].max() < 1e-6


@pytest.mark.parametrize("parent", [3, 30, 51, 60])
def test_fingers_that_hang_elsewhere_are_refused(tmp_path: Path, smplh: dict[str, np.ndarray], parent: int) -> None:
    """On the spine, on themselves, in a ring, nowhere."""
    tree = smplh["kintree_table"].copy()
    tree[0, 30] = parent
    with pytest.raises(UserError, match=r"SMPLH_NEUTRAL\.npz.*kintree_table is not that of SMPL-H"):
        load_body(written(tmp_path, {**smplh, "kintree_table": tree}))


def test_blend_shapes_of_another_body_are_refused(tmp_path: Path, smplh: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match="posedirs has shape"):
        load_body(written(tmp_path, {**smplh, "posedirs": smplh["posedirs"][..., :207]}))


def test_without_smplx_the_extra_is_named(
    tmp_path: Path, smplh: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "smplx":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"SMPL-H.*pip install 'posesyn\[smpl\]'"):
        load_body(written(tmp_path, smplh))


def test_it_is_saved_and_read_as_any_other_body(tmp_path: Path, smplh: dict[str, np.ndarray]) -> None:
    body = load_body(written(tmp_path, smplh))
    save_body(body, tmp_path / "body.npz")
    again = load_body(tmp_path / "body.npz")
    assert isinstance(again, Body)
    torch.testing.assert_close(again.posedirs, body.posedirs)
    torch.testing.assert_close(again.weights, body.weights)
