"""Skinning: against smplx, whose results the published estimators were made with; gradients, dtypes, ONNX."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from posesyn_core.body.model import FREE_BODY, Body
from posesyn_core.body.skinning import rigid_chain, skin
from posesyn_core.geometry.skeletons import SMPL24

smplx = pytest.importorskip("smplx", reason="smplx is what skinning is compared with")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """The free body with pose blend shapes, which it lacks itself."""
    with np.load(FREE_BODY) as file:
        found = {
            name: file[name] for name in ("v_template", "shapedirs", "J_regressor", "kintree_table", "weights", "f")
        }
    found["posedirs"] = 1e-3 * np.random.default_rng(1).normal(size=(*found["v_template"].shape, 207))
    return found


@pytest.fixture(scope="module")
def reference(arrays: dict[str, np.ndarray]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """smplx's own vertices and joints, float64."""
    with redirect_stdout(io.StringIO()):
        layout = smplx.utils.Struct(**arrays)
        model = smplx.SMPL("", data_struct=layout, num_betas=10, batch_size=1, dtype=torch.float32).double()

    def posed(rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        zeros = betas.new_zeros(len(betas), 3)
        out = model(
            betas=betas, global_orient=rotations[:, :1], body_pose=rotations[:, 1:], transl=zeros, pose2rot=False
        )
        return out.vertices, out.joints[:, :24]

    return posed


def random_pose(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Any rotations (count, 24, 3, 3) and betas (count, 10)."""
    random = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(count, 24, 3, 3, generator=random, dtype=torch.float64))
    q = q * torch.linalg.det(q)[..., None, None]
    return q.to(dtype), torch.randn(count, 10, generator=random, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("count", [1, 5])
def test_vertices_and_joints_are_those_of_smplx(
    arrays: dict[str, np.ndarray], reference: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], count: int
) -> None:
    rotations, betas = random_pose(count)
    body = Body(arrays).double()
    with torch.no_grad():
        found, (vertices, joints) = body.pose(rotations, betas), reference(rotations, betas)
    torch.testing.assert_close(found.vertices, vertices, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.joints3d, joints, rtol=0, atol=1e-6)
    single = Body(arrays).pose(rotations.float(), betas.float())
    torch.testing.assert_close(single.vertices.double(), vertices, rtol=0, atol=5e-6)


def test_gradients_are_those_of_smplx(
    arrays: dict[str, np.ndarray], reference: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> None:
    rotations, betas = random_pose(2, seed=1)
    body = Body(arrays).double()
    towards = torch.randn(2, len(body.v_template), 3, generator=torch.Generator().manual_seed(2)).double()

    def gradients(vertices: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = rotations.clone().requires_grad_(), betas.clone().requires_grad_()
        return torch.autograd.grad((vertices(*leaves) * towards).mean(), leaves)

    ours = gradients(lambda r, b: body.pose(r, b).vertices)
    theirs = gradients(lambda r, b: reference(r, b)[0])
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 2**31), turned=st.integers(0, 23))
def test_a_joint_moves_what_is_below_it_and_nothing_else(seed: int, turned: int) -> None:
    rotations, _ = random_pose(1, seed)
    rest = torch.randn(1, 24, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    _, before = rigid_chain(rotations, rest)
    rotations[:, turned] = random_pose(1, seed + 1)[0][:, 0]
    _, after = rigid_chain(rotations, rest)
    below = {turned}
    for joint, parent in enumerate(SMPL24.parents):
        below |= {joint} if parent in below else set()
    still = [joint for joint in range(24) if joint not in below or joint == turned]
    torch.testing.assert_close(after[:, still], before[:, still], rtol=0, atol=1e-12)
    for joint, parent in enumerate(SMPL24.parents[1:], start=1):  # bones keep their length
        length = (after[:, joint] - after[:, parent]).norm()
        torch.testing.assert_close(length, (rest[:, joint] - rest[:, parent]).norm(), rtol=0, atol=1e-12)


def test_a_point_that_follows_one_joint_keeps_its_place_before_it() -> None:
    rotations, _ = random_pose(3)
    rest = torch.randn(1, 24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    world, joints = rigid_chain(rotations, rest)
    offset = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    moved = skin(rest + offset, torch.eye(24, dtype=torch.float64), world, joints, rest)
    torch.testing.assert_close(moved, joints + world @ offset)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_stays_itself(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> None:
    rotations, betas = random_pose(2)
    with torch.no_grad():
        found = Body(arrays).to(dtype).pose(rotations.to(dtype), betas.to(dtype))
        expected = Body(arrays).double().pose(rotations, betas)
    assert found.vertices.dtype == found.joints3d.dtype == dtype
    metres = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.joints3d.double(), expected.joints3d, rtol=0, atol=metres)
    torch.testing.assert_close(found.vertices.double(), expected.vertices, rtol=0, atol=metres)


class _Posed(nn.Module):
    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        out = self.body.pose(rotations, betas)
        return out.vertices, out.joints3d


def test_onnx_runtime_poses_the_body_alike_in_batches_of_any_size(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    module, file = _Posed(Body(arrays)).eval(), tmp_path / "body.onnx"
    example = random_pose(2, dtype=torch.float32)
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(
        module, example, file, dynamo=True, verbose=False, dynamic_shapes=({0: batch}, {0: batch}),
        input_names=["rotations", "betas"],
    )  # fmt: skip
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        rotations, betas = random_pose(count, seed=count, dtype=torch.float32)
        found = session.run(None, {"rotations": rotations.numpy(), "betas": betas.numpy()})
        for ours, eager in zip(found, module(rotations, betas), strict=True):
            np.testing.assert_allclose(ours, eager.numpy(), rtol=0, atol=5e-6)
