"""The example's motion generator: what it retrieves, and from where it goes on."""

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core import SampleError, UserError
from posesyn_core.components import Kind, MotionGenerator
from posesyn_core.registry import Origin, Registry
from posesyn_core.values import FloatArray, MotionRequest

PACKAGE = Path(__file__).parents[2] / "examples/retrieval_motion"
TEXTS = ["A person walks forward.", "A person kicks with the left leg.", "A person jumps up."]
LENGTHS = [60, 80, 30]

Make = Callable[..., MotionGenerator]


@pytest.fixture
def recordings() -> FloatArray:
    """Random bodies that move at random: (60 + 80 + 30, 22, 3), no two moments alike."""
    rng = np.random.default_rng(1)
    bodies = np.repeat(rng.normal(0, 0.5, (3, 22, 3)), LENGTHS, axis=0)
    return (bodies + np.cumsum(rng.normal(0, 0.02, bodies.shape), axis=0) + [0, 2, 0]).astype(np.float32)


@pytest.fixture
def make(recordings: FloatArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.syspath_prepend(str(PACKAGE))
    path = tmp_path / "motions.npz"
    texts = [json.dumps([text]) for text in TEXTS]
    np.savez(path, joints=recordings, offsets=np.cumsum([0, *LENGTHS]), texts=texts)
    registry = Registry.empty()
    registry.add(importlib.import_module("my_retrieval.plugin"), Origin("my_retrieval", "my-retrieval", "1"))

    def create(**options: Any) -> MotionGenerator:
        return registry.create(Kind.MOTION, "retrieval", {"motions": str(path), **options}, "motion")

    yield create


def request(pose: FloatArray | None, caption: str = "", **options: Any) -> MotionRequest:
    return MotionRequest("m#0", "m", caption, 0, pose, **options)


def test_it_goes_on_from_the_moment_of_the_pose(make: Make, recordings: FloatArray) -> None:
    """Found again in any place, at any size, turned anywhere; and played on to the recording's end on that heading."""
    turned = Rotation.from_euler("y", 2.0).as_matrix().T
    pose = 1.2 * recordings[75] @ turned + np.array([4, -1, 2], np.float32)
    (motion,) = make().generate([request(pose, min_frames=20)])
    assert motion.provenance == "retrieval 1 from frame 15"
    assert motion.joints.shape == (65, 22, 3) and motion.fps == 20
    expected = recordings[75:140] @ turned
    np.testing.assert_allclose(motion.joints - motion.joints[:1, :1], expected - expected[:1, :1], atol=1e-4)
    assert motion.joints[..., 1].min() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(motion.joints[0, 0, [0, 2]], 0, atol=1e-6)


def test_lengths_are_kept(make: Make, recordings: FloatArray) -> None:
    (cut,) = make().generate([request(recordings[75], min_frames=10, max_frames=12)])
    assert len(cut.joints) == 12
    (late,) = make().generate([request(recordings[135], min_frames=40)])
    assert len(late.joints) >= 40
    with pytest.raises(SampleError, match="no recording goes on for 81 frames; the longest has 80"):
        make().generate([request(recordings[0], min_frames=81, max_frames=196)])


@pytest.mark.parametrize(("caption", "clip"), [("he kicks with the left foot", 1), ("WALKS!", 0)])
def test_the_text_alone_chooses_a_recording(make: Make, caption: str, clip: int) -> None:
    (motion,) = make().generate([request(None, caption, guidance="text_only", min_frames=5)])
    assert motion.provenance == f"retrieval {clip} from frame 0"


def test_text_and_pose_are_weighed(make: Make, recordings: FloatArray) -> None:
    """Between two recordings the pose decides, unless the text's weight outdoes it."""
    pose, caption = recordings[20], "A person jumps up."
    begins = {
        weight: make(text_weight=weight).generate([request(pose, caption, min_frames=5)])[0].provenance
        for weight in (0.0, 100.0)
    }
    assert begins[0.0] == "retrieval 0 from frame 20"
    assert begins[100.0].startswith("retrieval 2 ")
    (posed,) = make(text_weight=100.0).generate([request(pose, caption, guidance="pose_only", min_frames=5)])
    assert posed.provenance == begins[0.0]


def test_motions_of_one_sample_differ_if_so_wished(make: Make, recordings: FloatArray) -> None:
    base = request(recordings[20], min_frames=5)
    several = [evolve(base, id=f"m#{k}", seed=k) for k in range(12)]
    clips = [motion.provenance.split()[1] for motion in make(among=2).generate(several)]
    assert len(set(clips)) == 2
    assert [motion.provenance.split()[1] for motion in make(among=2).generate(several[::-1])] == clips[::-1]


def test_bad_requests_and_files(make: Make, recordings: FloatArray, tmp_path: Path) -> None:
    for pose in (None, np.full((22, 3), np.nan, np.float32), np.zeros((22, 3), np.float32)):
        with pytest.raises(SampleError, match="no pose"):
            make().generate([request(pose)])
    with pytest.raises(UserError, match=r"nowhere.npz.* is not an npz of motions"):
        make(motions=str(tmp_path / "nowhere.npz"))
    np.savez(tmp_path / "other.npz", joints=recordings)
    with pytest.raises(UserError, match="is not an npz of motions"):
        make(motions=str(tmp_path / "other.npz"))
