"""Whole SMPL poses out of the joints that an estimator of another joint set knows."""

import numpy as np
import pytest
import torch
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core.body.completion import complete, complete_all, is_whole
from posesyn_core.body.model import Body, load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import HUMANML22, JointSet, convert, joint_set, register
from posesyn_core.values import Camera, PoseEstimate, SmplParams
from tests.tiny import people

PLACE = np.array([0.3, -0.2, 4.0])
CAMERA = Camera([900, 900], [128, 128])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def truth() -> list[np.ndarray]:
    """SMPL's joints (24, 3) of people in ordinary poses, metres, camera frame, relative to the pelvis."""
    return [np.array(sample.joints3d, np.float64) for sample in people(6, "lab") if sample.joints3d is not None]


def seen_in(name: str, joints: np.ndarray, unknown: tuple[str, ...] = ()) -> PoseEstimate:
    """What an estimator without errors says of joints (24, 3) in its own joint set, without a body."""
    points, known = convert(joints, None, "smpl24", name)
    known &= ~np.isin(joint_set(name).joints, unknown)
    points = np.where(known[:, None], points, np.nan)
    root = points[list(joint_set(name).root)].mean(0)
    pixels = project(points + PLACE, CAMERA.focal_length, CAMERA.principal_point)
    return PoseEstimate(points - root, pixels, CAMERA, joint_set=name)


def apart(whole: PoseEstimate | SampleError, joints: np.ndarray) -> np.ndarray:
    """Millimetres (22,) between an estimate and the true joints."""
    assert isinstance(whole, PoseEstimate)
    return 1000 * np.linalg.norm(whole.joints3d[:22] - joints[:22], axis=-1)


@pytest.mark.parametrize("name", ["blazepose33", "coco17", "h36m16", "h36m17", "mpii16", "lsp14", "mpi3dhp17"])
def test_limbs_are_met_and_the_trunk_follows(body: Body, name: str) -> None:
    joints = truth()
    results = complete(body, [seen_in(name, each) for each in joints])
    distances = np.array([apart(result, each) for result, each in zip(results, joints, strict=True)])
    limbs = [at for at, joint in enumerate(HUMANML22.joints) if joint in joint_set(name).points]
    assert distances[:, limbs].mean() < 15
    assert distances.mean() < 30
    for whole in results:
        assert isinstance(whole, PoseEstimate) and is_whole(whole)
        assert whole.residual_mm is not None and 0 < whole.residual_mm < 20


def test_the_body_is_where_the_camera_sees_it(body: Body) -> None:
    (whole,) = complete(body, [seen_in("blazepose33", truth()[0])])
    assert isinstance(whole, PoseEstimate) and whole.smpl is not None
    smpl = whole.smpl
    posed = body.joints(
        *(torch.from_numpy(np.array(a))[None] for a in (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl))
    )[0].numpy()
    np.testing.assert_allclose(posed - posed[:1], whole.joints3d, atol=1e-4)
    np.testing.assert_allclose(project(posed, CAMERA.focal_length, CAMERA.principal_point), whole.joints2d, atol=0.05)
    assert np.linalg.norm(posed[1:3].mean(0) - (truth()[0][1:3].mean(0) + PLACE)) < 0.05


def test_all_of_smpls_joints_are_met_best(body: Body) -> None:
    """An estimator of joints without parameters keeps its joints, and gets the parameters."""
    given = [seen_in("smpl24", joints) for joints in truth()]
    for result, estimate in zip(complete(body, given), given, strict=True):
        assert isinstance(result, PoseEstimate) and result.smpl is not None
        np.testing.assert_array_equal(result.joints3d, estimate.joints3d)
        np.testing.assert_array_equal(result.joints2d, estimate.joints2d)
        assert result.residual_mm is not None and result.residual_mm < 15


def test_whole_estimates_stay_as_they_are(body: Body) -> None:
    smpl = SmplParams(np.zeros(3), np.zeros((23, 3)), np.zeros(10), np.zeros(3))
    given = evolve(seen_in("smpl24", truth()[0]), smpl=smpl)
    assert complete(body, [given])[0] is given
    error = SampleError("no picture")
    assert complete_all(body, [error, given]) == [error, given]


def test_parameters_of_ones_own_need_no_fit(body: Body) -> None:
    """A network of another joint set that predicts SMPL's parameters too: its body is taken, not one of ours."""
    (fitted,) = complete(body, [seen_in("coco17", truth()[1])])
    assert isinstance(fitted, PoseEstimate) and fitted.smpl is not None
    own = evolve(fitted.smpl, betas=np.linspace(-1, 1, 10))
    (whole,) = complete(body, [evolve(seen_in("coco17", truth()[1]), smpl=own)])
    assert isinstance(whole, PoseEstimate) and whole.smpl is not None
    for name in ("global_orient", "body_pose", "betas"):
        np.testing.assert_array_equal(getattr(whole.smpl, name), getattr(own, name))
    np.testing.assert_allclose(whole.smpl.transl, own.transl, atol=1e-5)
    assert whole.residual_mm is not None and fitted.residual_mm is not None
    assert whole.residual_mm > fitted.residual_mm


def test_a_result_depends_on_its_own_estimate_alone(body: Body) -> None:
    given = [seen_in("blazepose33", joints) for joints in truth()]
    together = complete(body, [*given, seen_in("smpl24", truth()[0])])
    for alone, other in zip([complete(body, [each])[0] for each in given], together, strict=False):
        assert isinstance(alone, PoseEstimate) and isinstance(other, PoseEstimate)
        np.testing.assert_array_equal(alone.joints3d, other.joints3d)
        assert alone.residual_mm == other.residual_mm


def test_poses_turn_with_the_camera(body: Body) -> None:
    """People who lie or stand on their heads are fitted as those who stand."""
    joints = truth()[2]
    turn = Rotation.from_rotvec([1.3, 0.4, 2.0])
    upright, turned = complete(body, [seen_in("coco17", each) for each in (joints, turn.apply(joints))])
    assert isinstance(upright, PoseEstimate) and isinstance(turned, PoseEstimate)
    np.testing.assert_allclose(turn.apply(upright.joints3d), turned.joints3d, atol=0.002)


def test_unseen_limbs_hang_and_are_not_counted(body: Body) -> None:
    joints = truth()[0]
    missing = ("left_elbow", "left_wrist", "right_wrist")
    (whole,) = complete(body, [seen_in("coco17", joints, missing)])
    seen = [at for at, joint in enumerate(HUMANML22.joints) if joint in joint_set("coco17").joints]
    kept = [at for at in seen if HUMANML22.joints[at] not in missing]
    assert apart(whole, joints)[kept].mean() < 15
    assert isinstance(whole, PoseEstimate) and whole.residual_mm is not None and whole.residual_mm < 20


@pytest.mark.parametrize(
    "missing",
    [("left_hip",), ("right_shoulder",), ("left_elbow", "left_wrist", "right_wrist", "left_knee", "left_ankle")],
)
def test_too_little_of_a_person_is_told(body: Body, missing: tuple[str, ...]) -> None:
    lacking, fine = complete(body, [seen_in("coco17", truth()[0], missing), seen_in("coco17", truth()[0])])
    assert isinstance(lacking, SampleError) and isinstance(fine, PoseEstimate)
    assert f"{missing[0]}" in str(lacking) and "too few joints" in str(lacking)


def test_a_joint_set_too_poor_is_refused_by_name(body: Body) -> None:
    names = (*(f"{side}_{part}" for part in ("hip", "shoulder", "knee") for side in ("left", "right")),)
    register(JointSet("stumps6", names, (-1, 0, 0, 1, 0, 1), (0, 1), "Trunk and thighs"))
    with pytest.raises(UserError, match=r"'stumps6' is too poor .*lacks left_ankle, right_ankle, left_elbow"):
        complete(body, [seen_in("stumps6", truth()[0])])


def test_nothing_to_complete() -> None:
    assert complete(load_body(), []) == []
