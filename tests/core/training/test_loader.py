"""Which frames a step sees, and what becomes of those that can't be read."""

from collections import Counter

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.geometry.joints import frame_in, labelled_frame
from posesyn_core.geometry.skeletons import SMPL24, joint_set
from posesyn_core.training.loader import Mixture, batches
from posesyn_core.values import LabelledFrame, Sample
from posesyn_spin.estimator import Spin


def test_a_batch_holds_the_share_of_synthesised_frames(frames: list[LabelledFrame]) -> None:
    mixture = Mixture(frames[:4], frames[4:], batch_size=8, ratio=0.25, seed=1)
    real = {frame.id for frame in frames[:4]}
    for step in range(5):
        names = [frame.id for frame in mixture.batch(step)]
        assert [name in real for name in names] == [True] * 6 + [False] * 2


def test_every_frame_comes_equally_often(frames: list[LabelledFrame]) -> None:
    mixture = Mixture(frames, [], batch_size=8, ratio=0.0, seed=1)
    seen = Counter(frame.id for step in range(6) for frame in mixture.batch(step))
    assert set(seen.values()) == {4}


def test_rounds_are_shuffled_anew(frames: list[LabelledFrame]) -> None:
    mixture = Mixture(frames, [], batch_size=12, ratio=0.0, seed=1)
    first, second = ([frame.id for frame in mixture.batch(step)] for step in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize(("ratio", "missing"), [(0.5, "synthesised"), (1.0, "synthesised"), (0.0, "real")])
def test_nothing_to_train_on_is_the_users_mistake(frames: list[LabelledFrame], ratio: float, missing: str) -> None:
    real = [] if missing == "real" else frames
    with pytest.raises(UserError, match=f"no {missing} frame"):
        Mixture(real, [], batch_size=4, ratio=ratio, seed=0)


def test_batches_are_the_same_for_any_number_of_workers(estimator: Spin, frames: list[LabelledFrame]) -> None:
    mixture = Mixture(frames[:6], frames[6:], batch_size=4, ratio=0.5, seed=3)
    alone = list(batches(estimator, mixture, 0, 4, workers=1))
    together = list(batches(estimator, mixture, 2, 4, workers=3))
    assert [batch.step for batch in together] == [2, 3]
    for one, other in zip(alone[2:], together, strict=True):
        for name, tensor in one.tensors.items():
            assert len(tensor) == 4
            torch.testing.assert_close(tensor, other.tensors[name], rtol=0, atol=0)


def test_a_frame_that_cannot_be_read_is_replaced(estimator: Spin, frames: list[LabelledFrame]) -> None:
    broken = evolve(frames[0], id="broken", image=b"no picture")
    mixture = Mixture([broken, *frames[1:4]], [], batch_size=4, ratio=0.0, seed=0)
    (batch,) = batches(estimator, mixture, 0, 1, workers=1)
    assert len(batch.tensors["images"]) == 4
    assert len(batch.replaced) >= 1
    assert all(name == "broken" and reason.startswith("not an image") for name, reason in batch.replaced)


def test_nothing_but_broken_frames_is_an_error(estimator: Spin, frames: list[LabelledFrame]) -> None:
    broken = [evolve(frame, image=b"") for frame in frames]
    mixture = Mixture(broken, [], batch_size=4, ratio=0.0, seed=0)
    with pytest.raises(UserError, match=r"in a row can't be read.*zero bytes"):
        list(batches(estimator, mixture, 0, 1, workers=1))


def test_a_sample_becomes_a_frame_with_the_joints_that_smpl_shares() -> None:
    keypoints = np.arange(34, dtype=np.float32).reshape(17, 2)
    confidence = np.ones(17, np.float32)
    confidence[15] = 0  # left ankle
    frame = frame_in(labelled_frame(Sample("a/b", b"", [0, 0, 9, 9], "coco17", keypoints, confidence)), "smpl24")
    assert (frame.joints3d, frame.smpl, frame.source) == (None, None, "real")
    assert frame.confidence3d is None
    labelled = np.flatnonzero(frame.confidence)
    assert labelled.tolist() == [1, 2, 4, 5, 8, 16, 17, 18, 19, 20, 21]
    np.testing.assert_array_equal(frame.joints2d[4], keypoints[13])  # left knee


def measured(name: str, joints: np.ndarray) -> Sample:
    """Somebody of whom nothing but 3D joints is known."""
    count = len(joints)
    return Sample("a/b", b"", [0, 0, 9, 9], name, np.zeros((count, 2)), np.zeros(count), keypoints3d=joints)


def test_3d_joints_of_a_set_of_their_own_are_relative_to_the_middle_of_the_hips() -> None:
    """Human3.6M's pelvis is that middle, and not SMPL's, which stays unknown."""
    joints = np.random.default_rng(0).normal(0, 0.3, (17, 3)) + np.array([1, 2, 5])
    joints[0], joints[13] = joints[[1, 4]].mean(0), np.nan  # the left wrist
    frame = frame_in(labelled_frame(measured("h36m17", joints)), "smpl24")
    assert frame.joints3d is not None and frame.confidence3d is not None
    assert np.flatnonzero(frame.confidence3d).tolist() == [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 21]
    np.testing.assert_allclose(frame.joints3d[2], joints[1] - joints[0], atol=1e-6)  # the right hip
    np.testing.assert_allclose(frame.joints3d[21], joints[16] - joints[0], atol=1e-6)  # the right wrist
    assert not frame.joints3d[[0, 20]].any()


def test_smpls_own_joints_keep_their_pelvis() -> None:
    joints = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    frame = labelled_frame(measured("smpl24", joints + 3))
    assert frame.joints3d is not None and frame.confidence3d is not None
    assert frame.confidence3d.all()
    np.testing.assert_allclose(frame.joints3d, joints - joints[0], atol=1e-6)


def test_3d_joints_without_a_hip_have_no_root() -> None:
    joints = np.random.default_rng(0).normal(0, 0.3, (17, 3))
    joints[1] = np.nan
    frame = frame_in(labelled_frame(measured("h36m17", joints)), "smpl24")
    assert (frame.joints3d, frame.confidence3d) == (None, None)


@pytest.mark.parametrize("name", ["h36m17", "mpi3dhp17", "muco21", "panoptic19"])
def test_what_data_sets_measure_in_3d_has_smpls_limbs_and_no_pelvis(name: str) -> None:
    joints = np.random.default_rng(0).normal(0, 0.3, (len(joint_set(name)), 3))
    frame = frame_in(labelled_frame(measured(name, joints)), "smpl24")
    assert frame.confidence3d is not None
    limbs = [at for at, joint in enumerate(SMPL24.joints) if joint_set(name).points.count(joint)]
    assert len(limbs) == 12
    assert np.flatnonzero(frame.confidence3d).tolist() == limbs


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_are_the_same_from_processes(estimator: Spin, frames: list[LabelledFrame], processes: int) -> None:
    broken = evolve(frames[0], id="broken", image=b"no picture")
    mixture = Mixture([broken, *frames[1:6]], frames[6:], batch_size=4, ratio=0.5, seed=3)
    for device in (torch.device("cpu"), torch.device("cuda")):
        alone = list(batches(estimator, mixture, 0, 5, workers=1, device=device))
        apart = list(batches(estimator, mixture, 0, 5, workers=1, processes=processes, device=device))
        assert any(batch.replaced for batch in alone)
        for one, other in zip(alone, apart, strict=True):
            assert (one.step, one.replaced, one.ids) == (other.step, other.replaced, other.ids)
            for ours, theirs in ((one.inputs.tensors, other.inputs.tensors), (one.inputs.levels, other.inputs.levels)):
                assert ours.keys() == theirs.keys()
                for name, tensor in ours.items():
                    torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


def test_a_mistake_in_a_process_is_told(estimator: Spin, frames: list[LabelledFrame]) -> None:
    mixture = Mixture([evolve(frame, image=b"") for frame in frames], [], batch_size=4, ratio=0.0, seed=0)
    with pytest.raises(UserError, match=r"in a row can't be read.*zero bytes"):
        list(batches(estimator, mixture, 0, 1, workers=1, processes=1))


def test_a_gpu_is_sent_bytes(estimator: Spin, frames: list[LabelledFrame]) -> None:
    mixture = Mixture(frames, [], batch_size=4, ratio=0.0, seed=0)
    (numbers,) = batches(estimator, mixture, 0, 1, workers=1)
    (packed,) = batches(estimator, mixture, 0, 1, workers=1, device=torch.device("cuda"))
    size = estimator.setting.image_size
    assert numbers.inputs.nbytes - packed.inputs.nbytes == 4 * 3 * (3 * size**2 - 4 * 256)
    for name, tensor in packed.inputs.on(torch.device("cpu")).items():
        torch.testing.assert_close(tensor, numbers.tensors[name], rtol=0, atol=0)
