"""What a body does, in words: from 3D joints to a sentence, by rules.

In three steps, after the idea of PoseScript (Delmas et al., ECCV 2022), with rules and thresholds of our own:
:class:`BodyMeasures` measures angles, heights and directions; rules compare them with thresholds ("posecodes"); the
phrases of the rules that hold are joined to a sentence. Measures and rules are array operations over all poses.

Lengths are in legs (hip to ankle, about 0.8 m), heights are above the lowest joint, directions are those of the
body's own frame, and angles are in degrees. A sentence therefore changes neither with the person's size and place nor
with their heading, and for a mirrored pose it says the same with left and right exchanged.
"""

from collections.abc import Sequence

import numpy as np
from attrs import define, frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.values import PoseEstimate, Sample

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rule = tuple[Mask, str]
"""Where a posecode holds (N,), and the phrase that says so."""

PELVIS, NECK, HEAD = 0, 12, 15
HIPS, KNEES, ANKLES, FEET = [1, 2], [4, 5], [7, 8], [10, 11]
SHOULDERS, ELBOWS, WRISTS = [16, 17], [18, 19], [20, 21]
"""SMPL's joint numbers; of a pair, left comes first."""

SIDES = ("left", "right")
OUTWARD = np.array([1.0, -1.0])
"""The body's left axis points away from the body on the left side, and towards it on the right."""

CAMERA_UP = (0.0, -1.0, 0.0)
NEAR_FLOOR = 0.2
"""A wrist lower than this is on the floor: 0.16 m, the length of a hand."""


@frozen
class BodyMeasures:
    """What the rules look at, for N poses; pairs are (N, 2), left first."""

    upright: Floats
    """(N,) cosine between the torso (pelvis to neck) and up: 1 standing, 0 lying, -1 upside down."""
    face_up: Floats
    """(N,) cosine between the direction that the chest faces and up: 1 on the back, -1 face down."""
    left_up: Floats
    """(N,) cosine between the direction to the body's left and up: -1 lying on the left side."""
    pitch: Floats
    """(N,) lean of the torso forward (positive) or backward, degrees."""
    roll: Floats
    """(N,) lean of the torso to the left (positive) or right, degrees."""
    twist: Floats
    """(N,) turn of the shoulders to the left (positive) against the hips, degrees."""
    height: Floats
    """(N, J) of every joint above the lowest one, legs."""
    hip: Floats
    """(N, 2) bend of the hips, degrees: 0 = the thigh in line with the torso."""
    knee: Floats
    """(N, 2) bend of the knees, degrees: 0 = straight."""
    elbow: Floats
    """(N, 2) bend of the elbows, degrees: 0 = straight."""
    thigh: Floats
    """(N, 2, 3) direction of the thighs: outward, forward and up in the world (heading taken out)."""
    upper_arm: Floats
    """(N, 2, 3) direction of the upper arms: outward, forward, and up along the torso."""
    arm: Floats
    """(N, 2, 3) from shoulder to wrist over the arm's length: outward, forward, and up along the torso."""
    feet_apart: Floats
    """(N, 2) from the right ankle to the left one: sideways and forward, legs."""
    feet_ahead: Floats
    """(N,) of the middle of the ankles before the pelvis, legs."""
    hand_above_head: Floats
    """(N, 2) of the wrists over the head joint along the torso, legs."""
    hand_to: dict[str, Floats]
    """(N, 2) distance from each wrist to the "head", its own "hip", and the nearest "knee" and "ankle", legs."""
    hands_gap: Floats
    """(N,) distance between the wrists, legs."""


def measure(joints3d: ArrayLike, up: Sequence[float] = CAMERA_UP) -> BodyMeasures:
    """Measure poses ``joints3d`` (N, J >= 22, 3) in SMPL's order, any unit, ``up`` being their upward direction.

    SampleError if a joint is not finite or a body has no extent.
    """
    joints = np.asarray(joints3d, np.float64)
    if joints.ndim != 3 or joints.shape[1] < 22 or joints.shape[2] != 3:
        raise ValueError(f"joints3d must have the shape (N, J >= 22, 3), not {joints.shape}")
    if not np.isfinite(joints).all():
        raise SampleError("the pose has joints that are not finite")
    leg = (_length(joints[:, KNEES] - joints[:, HIPS]) + _length(joints[:, ANKLES] - joints[:, KNEES])).mean(1)
    if (leg == 0).any():
        raise SampleError("the pose has legs of no length")
    x = (joints - joints[:, PELVIS, None]) / leg[:, None, None]

    vertical = _unit(np.broadcast_to(np.asarray(up, np.float64), x[:, 0].shape))
    hip_line, shoulder_line = x[:, 1] - x[:, 2], x[:, 16] - x[:, 17]
    spine = _unit(x[:, NECK])
    left = _unit(_across(hip_line + shoulder_line, spine))
    front = np.cross(left, spine)
    heading_left = _unit(_across(hip_line, vertical))
    heading = np.cross(heading_left, vertical)

    height = (x @ vertical[:, :, None])[..., 0]
    thighs, shanks = x[:, KNEES] - x[:, HIPS], x[:, ANKLES] - x[:, KNEES]
    upper_arms, forearms = x[:, ELBOWS] - x[:, SHOULDERS], x[:, WRISTS] - x[:, ELBOWS]
    arm_length = np.maximum(_length(upper_arms) + _length(forearms), 1e-9)
    wrists, ankles = x[:, WRISTS], x[:, ANKLES]
    return BodyMeasures(
        upright=_dot(spine, vertical),
        face_up=_dot(front, vertical),
        left_up=_dot(left, vertical),
        pitch=np.degrees(np.arctan2(_dot(spine, heading), _dot(spine, vertical))),
        roll=np.degrees(np.arctan2(_dot(spine, heading_left), _dot(spine, vertical))),
        twist=_signed_angle(_across(hip_line, spine), _across(shoulder_line, spine), spine),
        height=height - height.min(1, keepdims=True),
        hip=_angle(thighs, -spine[:, None]),
        knee=_angle(shanks, thighs),
        elbow=_angle(forearms, upper_arms),
        thigh=_in_frame(_unit(thighs), heading_left, heading, vertical),
        upper_arm=_in_frame(_unit(upper_arms), left, front, spine),
        arm=_in_frame((upper_arms + forearms) / arm_length[..., None], left, front, spine),
        feet_apart=np.stack([_dot(ankles[:, 0] - ankles[:, 1], axis) for axis in (heading_left, heading)], -1),
        feet_ahead=_dot(ankles.mean(1), heading),
        hand_above_head=_dot(wrists - x[:, HEAD, None], spine[:, None]),
        hand_to={
            "head": _length(wrists - x[:, HEAD, None]),
            "hip": _length(wrists - x[:, HIPS]),
            "knee": _length(wrists[:, :, None] - x[:, None, KNEES]).min(2),
            "ankle": _length(wrists[:, :, None] - ankles[:, None]).min(2),
        },
        hands_gap=_length(wrists[:, 0] - wrists[:, 1]),
    )


def _dot(a: Floats, b: Floats) -> Floats:
    return (a * b).sum(-1)


def _length(v: Floats) -> Floats:
    return np.linalg.norm(v, axis=-1)


def _unit(v: Floats) -> Floats:
    return v / np.maximum(_length(v), 1e-9)[..., None]


def _across(v: Floats, axis: Floats) -> Floats:
    """The part of ``v`` that is perpendicular to the unit vector ``axis``."""
    return v - _dot(v, axis)[..., None] * axis


def _signed_angle(a: Floats, b: Floats, axis: Floats) -> Floats:
    """Angle from ``a`` to ``b`` about ``axis``, degrees, counter-clockwise seen from the axis' tip."""
    return np.degrees(np.arctan2(_dot(np.cross(a, b), axis), _dot(a, b)))


def _angle(a: Floats, b: Floats) -> Floats:
    """Angle between two directions, degrees."""
    return np.degrees(np.arccos(np.clip(_dot(_unit(a), _unit(b)), -1, 1)))


def _in_frame(v: Floats, left: Floats, front: Floats, up: Floats) -> Floats:
    """Pairs of vectors (N, 2, 3) -> their parts outward, forward and up."""
    out = _dot(v, left[:, None]) * OUTWARD
    return np.stack([out, _dot(v, front[:, None]), _dot(v, up[:, None])], -1)


def _sided(holds: Mask, one: str, both: str | None = None) -> list[Rule]:
    """The rules of a posecode that each side has or not (N, 2): for both, if that has a phrase, and for one alone."""
    alone = [(holds[:, s] & ~holds[:, 1 - s], one.format(side=SIDES[s])) for s in (0, 1)]
    return alone if both is None else [(np.all(holds, 1), both), *alone]


def _ground_rules(m: BodyMeasures) -> list[Rule]:
    """The trunk is level or upside down: it lies, or rests on hands and feet. The first rule that holds counts."""
    pelvis, neck, ankles = m.height[:, PELVIS], m.height[:, NECK], m.height[:, ANKLES]
    on_hands = (m.height[:, WRISTS] < 0.25).all(1)
    on_feet = (ankles < 0.3).all(1)
    on_knees = (m.height[:, KNEES] < 0.35).all(1) & (m.knee > 50).all(1) & (m.hip > 40).all(1)
    arms_down = (m.arm[..., 1] > 0.4).all(1)  # down from a level trunk is forward for the body
    level, face_down = abs(m.upright) < 0.6, m.face_up < -0.5
    in_line = (m.knee < 40).all(1) & (m.hip < 40).all(1)
    lies = level & ((pelvis < 0.4) & (neck < 0.5) | in_line)
    on_side = np.stack([lies & (m.left_up < 0), lies & (m.left_up > 0)], 1)
    return [
        ((m.upright < -0.5) & on_hands & (ankles.mean(1) > pelvis), "does a handstand"),
        ((m.upright < -0.4) & (ankles.mean(1) > pelvis), "is upside down"),
        (level & face_down & in_line & arms_down, "does a push-up"),
        (level & face_down & on_knees & (on_hands | arms_down), "crawls on hands and knees"),
        (level & (m.face_up > 0.3) & on_hands & on_feet & (pelvis > 0.4), "bends backwards into a bridge"),
        (lies & (m.face_up > 0.5), "lies on the back"),
        (lies & face_down, "lies face down"),
        *_sided(on_side, "lies on the {side} side"),
    ]


def _low_rules(m: BodyMeasures) -> list[Rule]:
    """On the knees, on the seat, or in a squat."""
    pelvis, knees = m.height[:, PELVIS], m.height[:, KNEES]
    kneels = (m.knee > 60) & (knees < 0.25) & (knees - m.height[:, ANKLES] < 0.2)
    on_floor = (pelvis < 0.35) & (m.upright > 0.4)
    seated = (m.upright > 0.75) & (m.thigh[..., 2] > -0.5).all(1) & (m.knee < 130).all(1)
    squats = (m.knee > 70).all(1) & (pelvis < 0.85)
    return [
        *_sided(kneels, "kneels on the {side} knee", "kneels on both knees"),
        (on_floor & (m.knee < 45).all(1), "sits on the floor with straight legs"),
        (on_floor, "sits on the floor with bent legs"),
        (seated & (m.feet_ahead > 0.4), "sits"),
        (squats & (m.feet_apart[:, 0] > 0.6), "squats with the legs apart"),
        (squats, "crouches with both knees bent"),
    ]


def _leg_rules(m: BodyMeasures) -> list[Rule]:
    """One foot in the air, or both on the ground and apart."""
    lift = m.height[:, ANKLES] - m.height[:, ANKLES[::-1]]
    lifted, straight = lift > 0.25, m.knee < 50
    outward, forward = m.thigh[..., 0], m.thigh[..., 1]
    sideways, ahead = m.feet_apart[:, 0], m.feet_apart[:, 1, None] * OUTWARD
    runs = (m.elbow > 50).all(1) & (m.knee > 60).any(1) & lifted.any(1) & (m.upright > 0.8)
    return [
        *_sided(lifted & straight & (forward > 0.5) & (forward > outward), "kicks forward with the {side} leg"),
        *_sided(lifted & straight & (outward > 0.5), "kicks to the side with the {side} leg"),
        *_sided((lift > 0.45) & straight & (forward < -0.3), "stretches the {side} leg out behind"),
        *_sided(runs[:, None] & (forward - forward[:, ::-1] > 0.5), "runs with the {side} leg in front"),
        *_sided(lifted & (forward > 0.5), "raises the {side} knee"),
        *_sided((lift > 0.4) & (m.knee > 60) & (forward < 0.2), "lifts the {side} foot behind"),
        *_sided((m.knee > 50) & (ahead > 0.7), "lunges forward with the {side} leg"),
        *_sided((m.knee > 50) & (m.knee[:, ::-1] < 40) & (sideways > 0.9)[:, None], "lunges to the {side}"),
        *_sided(ahead > 0.35, "steps forward with the {side} leg"),
        *_sided(lifted, "lifts the {side} foot"),
        (sideways > 0.55, "stands with the legs apart"),
        (np.all(m.knee > 35, 1), "stands with bent knees"),
    ]


def _trunk_rules(m: BodyMeasures) -> list[Rule]:
    """Which way the trunk leans."""
    aside = abs(m.roll) > abs(m.pitch)
    return [
        (aside & (m.roll > 20), "leans to the left"),
        (aside & (m.roll < -20), "leans to the right"),
        (m.pitch > 75, "bends far forward"),
        (m.pitch > 30, "bends forward"),
        (m.pitch < -20, "leans backwards"),
    ]


def _twist_rules(m: BodyMeasures) -> list[Rule]:
    return [
        (m.twist > 30, "turns the upper body to the left"),
        (m.twist < -30, "turns the upper body to the right"),
    ]


def _arm_rules(m: BodyMeasures) -> list[list[Rule]]:
    """What each arm does: of these posecodes, an arm has the first that holds. One list of rules for each."""
    outward, forward, upward = np.moveaxis(m.arm, -1, 0)
    low, straight = m.height[:, WRISTS] < NEAR_FLOOR, m.elbow < 60
    together = np.broadcast_to(((m.hands_gap < 0.25) & (forward > 0.2).all(1))[:, None], low.shape)
    codes = [
        (low, "touches the floor with the {side} hand", "puts both hands on the floor"),
        (m.hand_above_head > 0.1, "raises the {side} arm above the head", "raises both arms above the head"),
        (m.hand_to["head"] < 0.3, "holds the {side} hand to the head", "holds both hands to the head"),
        (together, "", "holds both hands together in front of the body"),
        (m.hand_to["ankle"] < 0.3, "reaches for the feet with the {side} hand", "reaches for the feet with both hands"),
        (
            (m.hand_to["hip"] < 0.3) & (m.elbow > 50) & (m.upper_arm[..., 0] > 0.4),
            "puts the {side} hand on the hip",
            "puts both hands on the hips",
        ),
        (m.hand_to["knee"] < 0.25, "puts the {side} hand on the knee", "puts both hands on the knees"),
        (
            straight & (outward > 0.7),
            "stretches the {side} arm out to the side",
            "stretches both arms out to the sides",
        ),
        (straight & (forward > 0.7), "stretches the {side} arm forward", "stretches both arms forward"),
        (straight & (forward < -0.5), "stretches the {side} arm backwards", "stretches both arms backwards"),
        (straight & (upward > 0), "raises the {side} arm", "raises both arms"),
        (m.elbow > 70, "bends the {side} elbow", "bends both elbows"),
    ]
    rules, free = [], np.ones(low.shape, bool)
    for holds, one, both in codes:
        rules.append(_sided(holds & free, one, both))
        free &= ~holds
    return rules


def _first(rules: list[Rule]) -> NDArray[np.str_]:
    """(N,) phrase of the first rule that holds; "" where none does."""
    return np.select([holds for holds, _ in rules], [phrase for _, phrase in rules], "")


def describe(joints3d: ArrayLike, up: Sequence[float] = CAMERA_UP) -> list[str]:
    """A sentence for each pose, as "a person crouches with both knees bent and raises the left arm above the head".

    ``joints3d`` (N, J >= 22, 3) are SMPL's joints in any unit and place; ``up`` is their upward direction: (0, -1, 0)
    in the camera frame, (0, 1, 0) for motions. SampleError if a joint is not finite.
    """
    m = measure(joints3d, up)
    posture = _first([*_ground_rules(m), *_low_rules(m), *_leg_rules(m)])
    details = [_trunk_rules(m), _twist_rules(m), *_arm_rules(m)]
    on_ground = _first(_ground_rules(m)) != ""  # which says all that matters
    phrases = [posture, *(np.where(on_ground, "", _first(rules)) for rules in details)]
    return [_sentence([str(phrase) for phrase in pose if phrase]) for pose in zip(*phrases, strict=True)]


def _sentence(phrases: list[str]) -> str:
    if not phrases:
        return "a person stands still"
    *others, last = phrases
    return "a person " + (f"{', '.join(others)} and {last}" if others else last)


@define
class PosecodeConfig:
    """The posecode captioner has no options."""


@define
class PosecodeCaptioner:
    """Describes the pseudo-label pose; it does not look at the image."""

    config: PosecodeConfig

    def caption(self, samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> list[str]:
        """One sentence per estimate (:func:`describe`). SampleError if a pose has a joint that is not finite."""
        return describe(np.stack([estimate.joints3d for estimate in estimates]))
