"""The filter keypoint_agreement: limbs where a judge sees them, and limbs that are lost."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from posesyn_core.components import FrameFilter
from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.skeletons import COCO17, convert
from posesyn_core.method.agreement import LIMBS, AgreementConfig, KeypointAgreement, hidden, person_height
from posesyn_core.values import Camera, Keypoints, LabelledFrame, Sample

SIZE = 300
STANDING = {
    "shoulder": (0.18, -0.45), "elbow": (0.3, -0.2), "wrist": (0.38, 0.05), "hip": (0.1, 0.0), "knee": (0.14, 0.42),
    "ankle": (0.15, 0.85),
}  # fmt: skip
"""Metres of the left side's joints from the middle of the hips, x to the right of the picture, y down."""


def colour(at: int) -> tuple[int, int, int]:
    return (255, 20 * (at - 4), 0)


def person(turn: float = 0.0, scale: float = 130.0) -> LabelledFrame:
    """Somebody who stands before the camera, turned by ``turn`` degrees in the picture; no picture yet."""
    joints3d = np.zeros((17, 3))
    for at, name in enumerate(COCO17.joints):
        side, _, part = name.partition("_")
        if part in STANDING:
            x, y = STANDING[part]
            joints3d[at] = (x if side == "left" else -x, y, 0)
    angle = np.radians(turn)
    joints3d[:, :2] = joints3d[:, :2] @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    known = np.isin(np.arange(17), LIMBS)
    pixels = joints3d[:, :2] * scale + SIZE / 2
    return LabelledFrame(
        "f", b"", [0, 0, SIZE, SIZE], pixels, known, Camera([1000, 1000], [150, 150]), joints3d=joints3d,
        joint_set="coco17", confidence3d=known,
    )  # type: ignore[arg-type]  # fmt: skip


def drawn(frame: LabelledFrame, **moved: tuple[float, float] | None) -> LabelledFrame:
    """The frame with a disc for each limb, of its own colour: some ``moved`` by pixels, or not drawn (None)."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    for at in LIMBS:
        shift = moved.get(COCO17.joints[at], (0, 0))
        if shift is not None:
            cv2.circle(image, tuple(np.round(frame.joints2d[at] + shift).astype(int).tolist()), 5, colour(at), -1)
    return evolve(frame, image=encode_png(image))


class Discs:
    """Sees the discs, wherever they are."""

    joint_set = "coco17"

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        return [self._of(load_image(sample.image).astype(int)) for sample in samples]

    def _of(self, image: np.ndarray) -> Keypoints:
        points, confidence = np.zeros((17, 2)), np.zeros(17)
        for at in LIMBS:
            rows, columns = np.nonzero(np.abs(image - colour(at)).max(axis=-1) < 8)
            if len(rows):
                points[at], confidence[at] = (columns.mean(), rows.mean()), 0.9
        return Keypoints(points, confidence)


def filtered(**options: object) -> KeypointAgreement:
    """It looks twice unless told otherwise: in a mirror, a disc is of the same colour, and so of the wrong side."""
    return KeypointAgreement(AgreementConfig(**{"judge": Discs(), "looks": 2, **options}))  # type: ignore[arg-type]


def test_it_is_a_filter() -> None:
    assert isinstance(filtered(), FrameFilter)


@settings(max_examples=12, deadline=None)
@given(st.floats(-180, 180), st.integers(1, 5))
def test_limbs_where_they_are_seen_are_kept_however_the_person_is_turned(turn: float, looks: int) -> None:
    (verdict,) = filtered(looks=looks).judge([drawn(person(turn))], [])
    assert verdict.keep and verdict.error < 0.02


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        ({"left_wrist": (60.0, 0.0)}, "lost: left wrist (0.2"),
        ({"right_knee": None}, "lost: right knee (not seen)"),
        ({"left_elbow": (0.0, 80.0), "right_ankle": None}, "lost: right ankle (not seen), left elbow (0.3"),
    ],
    ids=str,
)
def test_the_record_says_which_limb_was_lost(moved: dict[str, tuple[float, float] | None], told: str) -> None:
    whole = drawn(person())
    kept, dropped = filtered().judge([whole, drawn(person(), **moved)], [])
    assert kept.keep and not dropped.keep and dropped.reason.startswith(told)


def test_the_limit_is_a_share_of_a_persons_height_at_the_pictures_scale() -> None:
    frame = person(scale=100)
    assert abs(person_height(frame) - 170) < 1
    moved = drawn(frame, left_wrist=(30.0, 0.0))  # 0.176 of it
    assert [filtered(limit=limit).judge([moved], [])[0].keep for limit in (0.16, 0.19)] == [False, True]


def test_limbs_behind_the_body_do_not_count() -> None:
    frame = person()
    wrist, hip = COCO17.joints.index("left_wrist"), COCO17.joints.index("left_hip")
    joints3d, joints2d = frame.joints3d.copy(), frame.joints2d.copy()  # type: ignore[union-attr]
    joints3d[wrist] = (0, -0.25, 0.3)  # behind the back
    joints2d[wrist] = joints3d[wrist, :2] * 130 + SIZE / 2
    behind = evolve(frame, joints3d=joints3d, joints2d=joints2d)
    assert hidden(behind)[LIMBS.index(wrist)] and not hidden(frame).any() and not hidden(behind)[LIMBS.index(hip)]
    assert filtered().judge([drawn(behind, left_wrist=None)], [])[0].keep
    joints3d[wrist, 2] = -0.3  # before the belly
    assert not filtered().judge([drawn(evolve(behind, joints3d=joints3d), left_wrist=None)], [])[0].keep


def test_labels_of_another_joint_set_are_compared() -> None:
    frame = drawn(person())
    points, known = convert(frame.joints2d, frame.confidence > 0, "coco17", "openpose25")
    assert frame.joints3d is not None
    solid, there = convert(frame.joints3d, frame.confidence > 0, "coco17", "openpose25")
    other = evolve(frame, joint_set="openpose25", joints2d=points, confidence=known, joints3d=solid, confidence3d=there)
    assert filtered().judge([other], [])[0].keep


def test_what_can_not_be_judged_is_dropped_alone() -> None:
    class Failing(Discs):
        def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
            if any(sample.id.startswith("bad") for sample in samples):
                raise RuntimeError("no")
            return super().detect(samples)

    broken = evolve(person(), image=b"no picture")
    nobody = evolve(drawn(person()), confidence=np.zeros(17))
    refused = evolve(drawn(person()), id="bad")
    judge = KeypointAgreement(AgreementConfig(judge=Failing(), looks=2))
    kept, *dropped = judge.judge([drawn(person()), broken, nobody, refused], [])
    assert kept.keep and not any(verdict.keep for verdict in dropped)
    assert "not an image" in dropped[0].reason and "too few joints" in dropped[1].reason
    assert "not seen" in dropped[2].reason


def test_a_judge_must_be_named() -> None:
    with pytest.raises(UserError, match="needs its key judge"):
        KeypointAgreement(AgreementConfig())


def test_unsure_joints_are_not_seen() -> None:
    assert not filtered(least_confidence=0.95).judge([drawn(person())], [])[0].keep


class Masked(Discs):
    """Knows where every joint would be, and that one picture's half shows nobody."""

    def detect_with_masks(self, samples: Sequence[Sample]) -> list[tuple[Keypoints, np.ndarray]]:
        masks = [np.ones(load_image(sample.image).shape[:2], np.float32) for sample in samples]
        for mask, sample in zip(masks, samples, strict=True):
            if sample.id.startswith("below"):
                mask[230:] = 0
        return list(zip(self.detect(samples), masks, strict=True))


def test_a_limb_that_is_not_on_the_persons_mask_is_lost() -> None:
    frames = [evolve(drawn(person()), id=name) for name in ("whole", "below")]
    kept, dropped = filtered(judge=Masked()).judge(frames, [])
    assert kept.keep and not dropped.keep
    assert "ankle (0.0" in dropped.reason and "wrist" not in dropped.reason
    assert "on the person's mask 0.00" in dropped.reason
    assert filtered(judge=Masked(), mask=0).judge(frames[1:], [])[0].keep
