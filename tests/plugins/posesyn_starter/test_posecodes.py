"""The sentences of the posecode captioner: what they say, and what they must not depend on."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core import Camera, PoseEstimate, Sample, SampleError
from posesyn_core.geometry.skeletons import HUMANML22
from posesyn_starter.posecodes import PosecodeCaptioner, PosecodeConfig, describe

UP = (0.0, 1.0, 0.0)
Places = Mapping[str, tuple[float, float, float]]

STANDING: Places = {
    "pelvis": (0, 0.93, 0), "hip": (0.09, 0.84, 0), "knee": (0.1, 0.46, 0), "ankle": (0.1, 0.07, 0),
    "foot": (0.11, 0.03, 0.13), "spine1": (0, 1.04, 0), "spine2": (0, 1.17, 0), "spine3": (0, 1.23, 0),
    "neck": (0, 1.44, 0), "collar": (0.07, 1.38, 0), "head": (0, 1.54, 0), "shoulder": (0.19, 1.4, 0),
    "elbow": (0.22, 1.13, 0), "wrist": (0.24, 0.87, 0),
}  # fmt: skip
"""A standing body, y up, facing +z: the left side, which is at +x, and the middle."""


def body(**moved: tuple[float, float, float]) -> np.ndarray:
    """Joints (1, 22, 3) of the standing body with some joints ``moved``: left_knee=..., or knee=... for both sides."""
    joints = np.empty((22, 3))
    for at, name in enumerate(HUMANML22.joints):
        plain = name.removeprefix("left_").removeprefix("right_")
        mirror = np.array([-1, 1, 1]) if name.startswith("right_") and name not in moved else np.ones(3)
        joints[at] = mirror * np.array(moved.get(name, moved.get(plain, STANDING[plain])))
    return joints[None]


def mirrored(joints: np.ndarray) -> np.ndarray:
    """The poses (N, 22, 3) in a mirror."""
    return joints[:, HUMANML22.flip] * [-1, 1, 1]


def swapped(sentence: str) -> str:
    """The sentence with left and right exchanged."""
    return re.sub("left|right", lambda match: {"left": "right", "right": "left"}[match[0]], sentence)


POSES = {
    "a person stands still": body(),
    "a person raises the left arm above the head": body(left_elbow=(0.2, 1.66, 0), left_wrist=(0.2, 1.9, 0)),
    "a person raises both arms above the head": body(elbow=(0.2, 1.66, 0), wrist=(0.2, 1.9, 0)),
    "a person stretches both arms out to the sides": body(elbow=(0.45, 1.4, 0), wrist=(0.7, 1.4, 0)),
    "a person stretches the right arm forward": body(right_elbow=(-0.19, 1.4, 0.26), right_wrist=(-0.19, 1.4, 0.5)),
    "a person stretches the left arm backwards": body(left_elbow=(0.2, 1.2, -0.2), left_wrist=(0.2, 1.05, -0.4)),
    "a person stretches the left arm out to the side and stretches the right arm forward": body(
        left_elbow=(0.45, 1.4, 0), left_wrist=(0.7, 1.4, 0),
        right_elbow=(-0.19, 1.4, 0.26), right_wrist=(-0.19, 1.4, 0.5),
    ),
    "a person holds the left hand to the head": body(left_elbow=(0.35, 1.25, 0.1), left_wrist=(0.12, 1.5, 0.1)),
    "a person puts both hands on the hips": body(elbow=(0.4, 1.18, -0.05), wrist=(0.2, 1.0, 0.03)),
    "a person holds both hands together in front of the body": body(elbow=(0.25, 1.15, 0.1), wrist=(0.04, 1.15, 0.3)),
    "a person bends the right elbow": body(right_elbow=(-0.22, 1.13, -0.02), right_wrist=(-0.25, 1.15, 0.24)),
    "a person stands with the legs apart": body(knee=(0.2, 0.47, 0), ankle=(0.32, 0.1, 0), foot=(0.35, 0.05, 0.12)),
    "a person steps forward with the left leg": body(
        left_knee=(0.1, 0.48, 0.15), left_ankle=(0.1, 0.1, 0.2),
        right_knee=(-0.1, 0.48, -0.1), right_ankle=(-0.1, 0.1, -0.3),
    ),
    "a person raises the right knee": body(right_knee=(-0.1, 0.85, 0.38), right_ankle=(-0.1, 0.46, 0.36)),
    "a person kicks forward with the left leg": body(left_knee=(0.1, 0.84, 0.38), left_ankle=(0.1, 0.88, 0.77)),
    "a person kicks to the side with the right leg": body(right_knee=(-0.46, 0.8, 0), right_ankle=(-0.85, 0.8, 0)),
    "a person lifts the left foot behind": body(left_knee=(0.1, 0.46, 0), left_ankle=(0.1, 0.5, -0.36)),
    "a person kneels on the left knee": body(
        pelvis=(0, 0.53, 0), hip=(0.09, 0.46, 0), left_knee=(0.1, 0.06, 0), left_ankle=(0.1, 0.06, -0.39),
        right_knee=(-0.1, 0.46, 0.38), right_ankle=(-0.1, 0.07, 0.38), left_foot=(0.1, 0.02, -0.5),
        right_foot=(-0.1, 0.03, 0.5), **{name: (x, y - 0.4, z) for name, (x, y, z) in STANDING.items() if y > 1},
        wrist=(0.24, 0.47, 0),
    ),
    "a person turns the upper body to the left": body(
        left_shoulder=(0.13, 1.4, -0.13), right_shoulder=(-0.13, 1.4, 0.13), left_elbow=(0.15, 1.13, -0.15),
        right_elbow=(-0.15, 1.13, 0.15), left_wrist=(0.17, 0.87, -0.17), right_wrist=(-0.17, 0.87, 0.17),
    ),
    "a person leans to the left": body(
        **{name: (0.5 * (y - 0.93), y, z) for name, (x, y, z) in STANDING.items() if x == 0 and y > 1},
        left_shoulder=(0.4, 1.33, 0), right_shoulder=(0.05, 1.47, 0), left_elbow=(0.5, 1.07, 0),
        right_elbow=(0.05, 1.2, 0), left_wrist=(0.55, 0.81, 0), right_wrist=(0.05, 0.94, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", POSES)
def test_what_is_said_of_a_pose_and_of_its_mirror_image(sentence: str) -> None:
    assert describe(POSES[sentence], UP) == [sentence]
    assert describe(mirrored(POSES[sentence]), UP) == [swapped(sentence)]


TURNED = {
    "lies on the back": (-90, 0, 0),
    "lies face down": (90, 0, 0),
    "lies on the left side": (0, 0, -90),
    "is upside down": (180, 0, 0),
}


@pytest.mark.parametrize("phrase", TURNED)
def test_a_standing_body_tipped_over(phrase: str) -> None:
    joints = Rotation.from_euler("xyz", TURNED[phrase], degrees=True).apply(body()[0])[None]
    assert describe(joints, UP) == [f"a person {phrase}"]


def test_several_phrases_make_one_sentence() -> None:
    joints = body(
        pelvis=(0, 0.5, -0.1), hip=(0.09, 0.42, -0.1), knee=(0.12, 0.48, 0.28), ankle=(0.1, 0.07, 0.05),
        foot=(0.11, 0.03, 0.17), **{n: (x, y - 0.43, z - 0.1) for n, (x, y, z) in STANDING.items() if y > 1},
        left_elbow=(0.2, 1.25, -0.1), left_wrist=(0.2, 1.5, -0.1), right_wrist=(-0.24, 0.44, -0.1),
    )  # fmt: skip
    want = "a person crouches with both knees bent and raises the left arm above the head"
    assert describe(joints, UP) == [want]


def random_poses(seed: int, spread: float, count: int = 20) -> np.ndarray:
    """Bodies in any position with every joint displaced at random: hardly human, but of all sorts."""
    rng = np.random.default_rng(seed)
    joints = body() + spread * rng.standard_normal((count, 22, 3))
    turns = Rotation.from_rotvec(rng.standard_normal((count, 3)) * rng.choice([0, 1, 2], (count, 1)))
    return np.einsum("nij,nkj->nki", turns.as_matrix(), joints)


poses = st.builds(random_poses, st.integers(0, 2**32), st.sampled_from([0.05, 0.15, 0.3]))


@settings(max_examples=40, deadline=None)
@given(poses)
def test_a_mirrored_pose_swaps_left_and_right(joints: np.ndarray) -> None:
    assert describe(mirrored(joints), UP) == [swapped(sentence) for sentence in describe(joints, UP)]


@settings(max_examples=40, deadline=None)
@given(poses, st.floats(-180, 180))
def test_the_heading_changes_nothing(joints: np.ndarray, degrees: float) -> None:
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    assert describe(joints @ turn.T, UP) == describe(joints, UP)


@settings(max_examples=40, deadline=None)
@given(poses, st.floats(0.01, 1000), st.tuples(*[st.floats(-5, 5)] * 3))
def test_size_and_place_change_nothing(joints: np.ndarray, scale: float, offset: tuple[float, float, float]) -> None:
    assert describe(scale * (joints + offset), UP) == describe(joints, UP)


@settings(max_examples=20, deadline=None)
@given(poses)
def test_each_pose_is_described_for_itself_and_in_any_frame(joints: np.ndarray) -> None:
    together = describe(joints, UP)
    assert together == [sentence for pose in joints for sentence in describe(pose[None], UP)]
    assert together == describe(joints * [1, -1, -1])  # the camera's frame: y down, z away


@settings(max_examples=20, deadline=None)
@given(poses)
def test_every_sentence_is_one(joints: np.ndarray) -> None:
    for sentence in describe(joints, UP):
        assert re.fullmatch(r"a person [a-z]+s\b[a-z -]*(, [a-z -]+)*( and [a-z -]+)?", sentence), sentence
        assert "{" not in sentence
        assert len(sentence.split()) < 60


def test_nothing_to_describe() -> None:
    assert describe(np.zeros((0, 24, 3))) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pose_with_a_joint_that_is_no_number_is_refused(bad: float) -> None:
    joints = body()
    joints[0, 5, 1] = bad
    with pytest.raises(SampleError, match="not finite"):
        describe(joints, UP)


def test_a_body_without_extent_is_refused() -> None:
    with pytest.raises(SampleError, match="length"):
        describe(np.zeros((1, 24, 3)))


@pytest.mark.parametrize("shape", [(22, 3), (1, 17, 3), (1, 22, 2)])
def test_other_skeletons_are_no_poses(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="joints3d"):
        describe(np.zeros(shape))


def test_the_captioner_describes_the_estimates() -> None:
    poses = [POSES["a person raises the right knee"], POSES["a person stands still"]]
    samples, estimates = [], []
    for number, pose in enumerate(poses):
        joints = np.concatenate([pose[0], pose[0, 20:22]]) * [1, -1, -1]  # the camera's frame; hands at the wrists
        samples.append(Sample(str(number), b"", [0, 0, 1, 1], "coco17", np.zeros((17, 2)), np.zeros(17)))
        estimates.append(PoseEstimate(joints - joints[0], np.zeros((24, 2)), Camera([1, 1], [0, 0])))
    captions = PosecodeCaptioner(PosecodeConfig()).caption(samples, estimates)
    assert captions == ["a person raises the right knee", "a person stands still"]


def described(shared: Path, action: str) -> list[tuple[str, list[str]]]:
    """The real motions of one action: their human description, and ours of every frame."""
    with np.load(shared / "data/motions/train.npz", allow_pickle=False) as data:
        segments = np.flatnonzero(data["action"] == action)
        bounds, joints, texts = data["offsets"], data["joints"], data["texts"]
        return [(json.loads(texts[i])[0], describe(joints[bounds[i] : bounds[i + 1]], UP)) for i in segments]


def share(sentences: list[str], phrase: str) -> float:
    return sum(phrase in sentence for sentence in sentences) / len(sentences)


def test_real_people_use_the_arm_that_their_description_names(shared: Path) -> None:
    for action in ("wash_window", "pick_up"):
        for text, sentences in described(shared, action):
            assert "right" in text
            assert share(sentences, "right arm") > 0.2, text
            assert share(sentences, "right arm") > 2 * share(sentences, "left arm"), text


@pytest.mark.parametrize(
    ("action", "phrase", "least"),
    [
        ("handstand", "does a handstand", 0.3),
        ("bridge", "into a bridge", 0.3),
        ("walk", "steps forward", 0.5),
        ("sit", "sits", 0.4),
        ("get_up", "lies", 0.25),
        ("sneak", "with bent knees", 0.15),
    ],
)
def test_real_actions_are_recognised(shared: Path, action: str, phrase: str, least: float) -> None:
    sentences = [sentence for _, frames in described(shared, action) for sentence in frames]
    elsewhere = [sentence for _, frames in described(shared, "direct_traffic") for sentence in frames]
    assert share(sentences, phrase) > least
    assert share(sentences, phrase) > share(elsewhere, phrase)
