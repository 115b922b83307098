"""Projection at the edge of what can be divided by."""

import numpy as np
import pytest
import torch

from posesyn_poseaug.camera import project

CAMERA = torch.tensor([[2.0, 2.0, 0.1, 0.0, 0.2, 0.1, 0.0, 0.01, 0.01]])


@pytest.mark.parametrize("depth", [0.0, -0.0, 1e-30, -1e-30, 1e-12, 0.3, -0.3])
def test_a_joint_in_the_camera_s_plane_leaves_gradients_finite(depth: float) -> None:
    points = torch.tensor([[[0.5, -0.5, depth], [0.1, 0.2, 4.0]]], requires_grad=True)
    flat = project(points, CAMERA)
    flat.sum().backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    assert (points.grad[0, 0] == 0).all()  # clamped
    assert (points.grad[0, 1] != 0).all()
    beside = 1.0 if str(depth).startswith("-") else -1.0
    clamped = points.detach().clone()
    clamped[0, 0] = torch.tensor([-beside, beside, 1.0])
    torch.testing.assert_close(flat.detach(), project(clamped, CAMERA))
    np.testing.assert_allclose(project(points.detach().numpy(), CAMERA.numpy()), flat.detach(), rtol=1e-6)
