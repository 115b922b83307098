"""The 44 joints: their order, what a body knows of them, and what becomes of SMPL's labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.body.model import Body
from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_hmr2.joints import FLIP, NAMES, OPENPOSE, PELVIS, SMPL_OF, Joints44, from_smpl, joints44, to_smpl

UNPOSED = torch.eye(3).repeat(1, 24, 1, 1)


def test_there_are_44_and_flipping_swaps_the_sides() -> None:
    assert len(NAMES) == 44
    np.testing.assert_array_equal(FLIP[FLIP], np.arange(44))
    for at, name in enumerate(NAMES):
        assert (FLIP[at] < OPENPOSE) == (at < OPENPOSE)
        if name.startswith("left_"):
            assert NAMES[FLIP[at]] == name.replace("left_", "right_")
        elif not name.startswith("right_"):
            assert FLIP[at] == at


def test_smpls_joints_have_smpls_names() -> None:
    shared = {NAMES[at]: SMPL24.joints[joint] for at, joint in SMPL_OF.items()}
    assert shared.pop("mid_hip") == "pelvis"
    assert len(shared) == 13
    assert all(ours == theirs for ours, theirs in shared.items())


def test_the_free_body_knows_smpls_joints_and_a_pelvis(body: Body) -> None:
    joints = joints44(body)
    assert joints.known.nonzero().flatten().tolist() == sorted([*SMPL_OF, PELVIS])
    betas = torch.randn(1, 10, generator=torch.Generator().manual_seed(0))
    found, smpl = joints(UNPOSED, betas)[0], body.pose_joints(UNPOSED, betas)[0]
    torch.testing.assert_close(found[list(SMPL_OF)], smpl[list(SMPL_OF.values())])
    torch.testing.assert_close(found[PELVIS], smpl[[1, 2]].mean(0))
    assert not found[~joints.known].any()


def test_face_feet_and_regressed_joints_follow_the_vertices(body: Body) -> None:
    random = torch.Generator().manual_seed(1)
    regressor = torch.rand(19, len(body.v_template), generator=random)
    vertices = list(range(0, 1100, 100))
    joints, betas = Joints44(body, vertices, regressor), torch.randn(1, 10, generator=random)
    found, surface = joints(UNPOSED, betas)[0], body.pose(UNPOSED, betas).vertices[0]
    assert joints.known.all()
    torch.testing.assert_close(found[0], surface[0])
    torch.testing.assert_close(found[[15, 16, 17, 18, *range(19, 25)]], surface[vertices[1:]])
    torch.testing.assert_close(found[OPENPOSE:], regressor @ surface, rtol=1e-4, atol=1e-3)


def test_a_regressor_for_another_body_is_refused(body: Body) -> None:
    with pytest.raises(UserError, match="set the option body to your SMPL file"):
        joints44(body, torch.zeros(19, 6890))


def test_hips_move_outwards_and_towards_the_pelvis(body: Body) -> None:
    betas = torch.zeros(1, 10)
    plain, moved = (joints44(body, update_hips=update)(UNPOSED, betas)[0] for update in (False, True))
    torch.testing.assert_close(moved[9] - moved[12], 1.5 * (plain[9] - plain[12]))
    middle = (plain[9] + plain[12]) / 2
    torch.testing.assert_close((moved[9] + moved[12]) / 2, (middle + plain[8]) / 2)
    others = [at for at in range(44) if at not in (9, 12)]
    torch.testing.assert_close(moved[others], plain[others])


@given(seed=st.integers(0, 1000))
def test_smpls_labels_go_there_and_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    points, confidence = random.standard_normal((24, 3)), random.integers(0, 2, 24)
    labelled = from_smpl(points, confidence, pelvis=True)
    again = to_smpl(labelled)
    joints = [joint for joint in SMPL_OF.values() if confidence[joint]]
    np.testing.assert_allclose(again[joints, :3], points[joints], rtol=1e-6)
    assert (again[joints, 3] == 1).all()
    np.testing.assert_allclose(labelled[PELVIS, :3], points[[1, 2]].mean(0), rtol=1e-5, atol=1e-6)
    assert not again[[joint for joint in range(24) if joint not in joints], 3].any()


def test_limbs_of_the_second_block_stand_in() -> None:
    labelled = np.zeros((44, 3), np.float32)
    labelled[[25, 33]] = [[1, 2, 1], [3, 4, 0.5]]
    found = to_smpl(labelled)
    assert found[SMPL24.joints.index("right_ankle")].tolist() == [1, 2, 1]
    assert found[SMPL24.joints.index("right_shoulder")].tolist() == [3, 4, 0.5]
    assert np.count_nonzero(found[:, 2]) == 2
