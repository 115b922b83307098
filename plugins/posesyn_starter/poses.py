"""Procedural poses: named activities as ranges of anatomical joint angles, sampled as SMPL parameters.

An activity is a path between two poses: every angle has a first and a last value in degrees, one number drawn per
pose says how far along the path the legs and the trunk are (a squat bends hips, knees and spine together), and each
angle adds its own deviation. Arms and neck are drawn independently. Which side is the "near" one is drawn, so that
every activity also occurs mirrored.

The angles and their signs, all 0 in the T-pose's legs and trunk:

- ``pitch``, ``roll``, ``yaw``: the whole body leaning forwards, tipping to the near side, turning to the near side;
- ``spine_bend``, ``spine_side``, ``spine_twist``, ``neck_bend``, ``neck_side``, ``neck_twist``: forwards, to the near
  side, and turning to the near side;
- ``hip_flex`` (thigh forwards), ``hip_spread`` (outwards), ``hip_turn`` (toes outwards), ``knee`` (heel to the seat),
  ``ankle`` (toes up);
- ``arm_flex`` (0 hanging, 90 forwards, 180 overhead), ``arm_spread`` (90 sideways), ``arm_turn`` (upper arm about
  itself: of a hanging arm, 90 turns the bent forearm inwards, -90 outwards), ``elbow``, ``wrist``, ``collar`` (shrug).

A name alone concerns both sides, each drawn for itself; ``near_`` or ``far_`` before it concerns one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.values import FloatArray

Range = tuple[float, float]

TRUNK = ("pitch", "roll", "yaw", "spine_bend", "spine_side", "spine_twist", "neck_bend", "neck_side", "neck_twist")
LEG = ("hip_flex", "hip_spread", "hip_turn", "knee", "ankle")
ARM = ("collar", "arm_flex", "arm_spread", "arm_turn", "elbow", "wrist")
ANGLES = (*TRUNK, *(f"{side}_{name}" for side in ("near", "far") for name in (*LEG, *ARM)))

LIMITS: Mapping[str, Range] = {
    "spine_bend": (-40, 95), "spine_side": (-45, 45), "spine_twist": (-60, 60),
    "neck_bend": (-50, 55), "neck_side": (-40, 40), "neck_twist": (-75, 75),
    "hip_flex": (-30, 135), "hip_spread": (-25, 75), "hip_turn": (-40, 60), "knee": (0, 150), "ankle": (-50, 35),
    "collar": (-10, 30), "arm_flex": (-50, 180), "arm_spread": (-20, 170), "arm_turn": (-90, 90),
    "elbow": (0, 145), "wrist": (-60, 60),
}  # fmt: skip
"""Anatomical limits in degrees; every drawn angle is clipped to them."""

RELAXED: Mapping[str, Range] = {
    "pitch": (-3, 5), "roll": (-3, 3), "spine_bend": (-5, 10), "spine_side": (-6, 6), "spine_twist": (-12, 12),
    "neck_bend": (-12, 22), "neck_side": (-10, 10), "neck_twist": (-35, 35),
    "hip_flex": (-5, 10), "hip_spread": (-1, 9), "hip_turn": (-5, 18), "knee": (2, 14), "ankle": (-6, 8),
    "collar": (-4, 8), "arm_flex": (-12, 18), "arm_spread": (7, 22), "arm_turn": (-10, 45), "elbow": (5, 40),
    "wrist": (-15, 15),
}  # fmt: skip
"""What an activity does not mention."""


@frozen
class Activity:
    """A named family of poses; ``lift`` is how far above the floor the lowest point may be, metres."""

    angles: Mapping[str, Range]
    lift: Range = (0.0, 0.0)


LAB: Mapping[str, Activity] = {
    "stand": Activity({}),
    "walk": Activity({
        "near_hip_flex": (5, 38), "far_hip_flex": (0, -24), "near_knee": (4, 30), "far_knee": (8, 55),
        "near_ankle": (0, 12), "far_ankle": (0, -25), "pitch": (0, 8), "near_arm_flex": (0, -30),
        "far_arm_flex": (5, 40), "elbow": (8, 60), "spine_twist": (-8, 8),
    }),
    "reach": Activity({
        "near_arm_flex": (40, 150), "near_arm_spread": (-5, 40), "near_elbow": (0, 60), "spine_bend": (0, 28),
        "spine_twist": (-25, 12), "hip_flex": (-2, 22), "knee": (2, 22), "neck_bend": (-20, 25),
    }),
    "gesture": Activity({
        "near_arm_flex": (0, 95), "near_arm_spread": (8, 60), "near_arm_turn": (-60, 60), "near_elbow": (30, 130),
        "far_arm_flex": (-10, 70), "far_arm_spread": (8, 50), "far_arm_turn": (-40, 60), "far_elbow": (5, 110),
    }),
    "hands_before": Activity({"arm_flex": (8, 45), "arm_spread": (6, 22), "arm_turn": (30, 75), "elbow": (55, 115)}),
    "hands_on_hips": Activity({
        "arm_flex": (-35, -15), "arm_spread": (28, 48), "arm_turn": (30, 60), "elbow": (75, 105), "wrist": (-30, 20),
    }),
    "signal": Activity({
        "near_arm_flex": (-10, 60), "near_arm_spread": (60, 140), "near_arm_turn": (-90, 30), "near_elbow": (0, 110),
        "far_arm_flex": (-10, 80), "far_arm_spread": (8, 110), "far_arm_turn": (-60, 45), "far_elbow": (0, 90),
    }),
}  # fmt: skip
"""The ordinary range: what a laboratory data set of daily actions shows."""

WILD: Mapping[str, Activity] = {
    "run": Activity({
        "near_hip_flex": (30, 85), "far_hip_flex": (5, -28), "near_knee": (40, 115), "far_knee": (10, 80),
        "far_ankle": (0, -40), "pitch": (3, 20), "elbow": (65, 120), "near_arm_flex": (-5, -50),
        "far_arm_flex": (10, 65), "arm_turn": (0, 40), "spine_twist": (-20, 10),
    }, lift=(0.0, 0.12)),
    "squat": Activity({
        "hip_flex": (50, 122), "knee": (55, 140), "hip_spread": (5, 32), "hip_turn": (5, 35), "ankle": (12, 34),
        "pitch": (0, 22), "spine_bend": (5, 35), "arm_flex": (0, 120), "arm_spread": (8, 40), "elbow": (0, 110),
    }),
    "lunge": Activity({
        "near_hip_flex": (45, 100), "near_knee": (45, 100), "far_hip_flex": (-5, -28), "far_knee": (15, 75),
        "far_ankle": (-10, 30), "arm_flex": (-20, 150), "arm_spread": (8, 70), "elbow": (0, 110), "pitch": (-5, 25),
    }),
    "side_lunge": Activity({
        "near_hip_flex": (30, 90), "near_knee": (40, 110), "near_hip_spread": (15, 45), "near_hip_turn": (10, 40),
        "far_hip_spread": (30, 60), "far_hip_flex": (5, 40), "far_knee": (0, 10), "spine_bend": (0, 40),
        "roll": (0, 12), "arm_flex": (0, 110), "arm_spread": (8, 90), "elbow": (0, 110),
    }),
    "high_kick": Activity({
        "near_hip_flex": (55, 125), "near_hip_spread": (0, 40), "near_knee": (0, 45), "near_ankle": (-40, 10),
        "far_hip_flex": (-12, 15), "far_knee": (2, 30), "pitch": (-3, -25), "arm_flex": (-30, 100),
        "arm_spread": (15, 80), "elbow": (10, 120), "spine_twist": (-30, 30),
    }),
    "side_kick": Activity({
        "near_hip_spread": (40, 75), "near_hip_flex": (0, 55), "near_knee": (0, 60), "roll": (-15, -45),
        "far_hip_spread": (5, 20), "far_knee": (2, 30), "arm_flex": (0, 80), "arm_spread": (10, 80), "elbow": (20, 125),
    }),
    "sit": Activity({
        "hip_flex": (70, 105), "knee": (45, 110), "hip_spread": (0, 30), "pitch": (-15, 10), "spine_bend": (0, 40),
        "arm_flex": (-10, 80), "arm_spread": (6, 45), "elbow": (5, 110), "ankle": (-25, 15),
    }),
    "sit_on_floor": Activity({
        "hip_flex": (70, 115), "near_knee": (5, 130), "far_knee": (5, 130), "hip_spread": (0, 45), "hip_turn": (0, 45),
        "pitch": (-30, 5), "spine_bend": (0, 50), "arm_flex": (-45, 90), "arm_spread": (8, 45), "elbow": (0, 100),
        "ankle": (-35, 10),
    }),
    "kneel": Activity({
        "hip_flex": (-5, 75), "knee": (95, 145), "ankle": (-45, -25), "hip_spread": (2, 20), "spine_bend": (0, 35),
        "arm_flex": (-20, 150), "arm_spread": (6, 60), "elbow": (0, 120), "pitch": (-10, 12),
    }),
    "kneel_on_one": Activity({
        "near_hip_flex": (75, 110), "near_knee": (75, 115), "far_hip_flex": (-10, 15), "far_knee": (80, 110),
        "far_ankle": (-45, 25), "spine_bend": (0, 40), "arm_flex": (-10, 130), "arm_spread": (6, 60), "elbow": (0, 120),
    }),
    "crawl": Activity({
        "pitch": (70, 95), "hip_flex": (55, 110), "knee": (75, 110), "ankle": (-45, 0), "neck_bend": (-50, 10),
        "arm_flex": (65, 115), "arm_spread": (-5, 25), "elbow": (0, 40), "spine_bend": (-15, 25),
    }),
    "bend": Activity({
        "pitch": (10, 35), "spine_bend": (30, 80), "hip_flex": (20, 65), "knee": (0, 40), "neck_bend": (-20, 30),
        "arm_flex": (50, 120), "arm_spread": (0, 40), "elbow": (0, 60), "ankle": (0, 12),
    }),
    "jump": Activity({
        "hip_flex": (-15, 60), "knee": (5, 95), "ankle": (-45, -10), "hip_spread": (0, 35), "pitch": (-12, 15),
        "arm_flex": (-30, 175), "arm_spread": (5, 60), "elbow": (0, 90), "spine_bend": (-25, 15),
    }, lift=(0.1, 0.6)),
    "leap": Activity({
        "near_hip_flex": (40, 105), "far_hip_flex": (-5, -30), "near_knee": (0, 80), "far_knee": (0, 90),
        "ankle": (-45, 0), "arm_flex": (-40, 160), "arm_spread": (10, 90), "elbow": (0, 90), "spine_bend": (-20, 15),
        "pitch": (-10, 20),
    }, lift=(0.1, 0.6)),
    "star": Activity({
        "hip_spread": (18, 50), "hip_turn": (0, 30), "arm_flex": (-15, 15), "arm_spread": (85, 155), "elbow": (0, 35),
        "arm_turn": (-90, 20), "spine_side": (-20, 20),
    }, lift=(0.0, 0.3)),
    "throw": Activity({
        "near_arm_flex": (-30, 30), "near_arm_spread": (75, 130), "near_arm_turn": (-90, -50), "near_elbow": (50, 120),
        "far_arm_flex": (30, 110), "far_arm_spread": (5, 50), "far_elbow": (0, 90), "spine_twist": (0, 45),
        "far_hip_flex": (10, 55), "near_hip_flex": (0, -20), "knee": (5, 45), "hip_spread": (5, 20), "pitch": (-15, 15),
        "yaw": (0, 20),
    }),
    "arms_overhead": Activity({
        "arm_flex": (125, 180), "arm_spread": (-10, 35), "elbow": (0, 80), "arm_turn": (-30, 60), "collar": (5, 28),
        "hip_flex": (-15, 30), "knee": (2, 40), "spine_bend": (-30, 15), "spine_side": (-30, 30),
    }),
    "lie_on_back": Activity({
        "pitch": (-90, -78), "near_hip_flex": (0, 80), "far_hip_flex": (0, 80), "near_knee": (0, 105),
        "far_knee": (0, 105), "hip_spread": (0, 35), "arm_flex": (0, 170), "arm_spread": (8, 75), "elbow": (0, 110),
        "neck_bend": (-5, 40), "ankle": (-40, 0),
    }),
    "lie_on_front": Activity({
        "pitch": (82, 95), "hip_flex": (-15, 5), "near_knee": (0, 90), "far_knee": (0, 90), "hip_spread": (0, 30),
        "arm_flex": (-15, 15), "arm_spread": (10, 155), "arm_turn": (-80, 20), "elbow": (0, 120),
        "neck_bend": (-45, 5), "ankle": (-50, -20), "spine_bend": (-30, 5),
    }),
    "lie_on_side": Activity({
        "roll": (80, 95), "near_hip_flex": (0, 95), "far_hip_flex": (0, 95), "near_knee": (0, 110),
        "far_knee": (0, 110), "arm_flex": (10, 160), "arm_spread": (-10, 40), "elbow": (0, 125), "spine_bend": (0, 40),
    }),
    "push_up": Activity({
        "pitch": (60, 82), "hip_flex": (-8, 15), "knee": (0, 12), "ankle": (0, 30), "neck_bend": (-40, 5),
        "arm_flex": (60, 100), "arm_spread": (0, 45), "elbow": (0, 90),
    }),
    "handstand": Activity({
        "pitch": (165, 195), "arm_flex": (150, 180), "arm_spread": (0, 20), "elbow": (0, 35),
        "near_hip_flex": (-20, 90), "far_hip_flex": (-20, 90), "near_knee": (0, 90), "far_knee": (0, 90),
        "hip_spread": (0, 60), "ankle": (-45, 0), "neck_bend": (-40, 10), "spine_bend": (-20, 25), "collar": (5, 28),
    }),
    "cartwheel": Activity({
        "roll": (50, 160), "hip_spread": (25, 70), "arm_flex": (-15, 15), "arm_spread": (120, 160), "elbow": (0, 30),
        "knee": (0, 35), "spine_side": (-10, 25), "ankle": (-45, 0),
    }),
    "twist": Activity({
        "spine_twist": (25, 58), "neck_twist": (0, 65), "spine_bend": (-10, 35), "arm_flex": (-20, 130),
        "arm_spread": (8, 90), "elbow": (0, 120), "hip_flex": (-10, 40), "knee": (2, 50), "hip_turn": (-30, 40),
    }),
    "side_bend": Activity({
        "spine_side": (20, 45), "roll": (0, 15), "far_arm_flex": (-10, 20), "far_arm_spread": (100, 170),
        "near_arm_spread": (5, 100), "elbow": (0, 60), "hip_spread": (0, 35),
    }),
    "arch": Activity({
        "spine_bend": (-15, -40), "pitch": (0, -30), "neck_bend": (-10, -45), "hip_flex": (0, -25), "knee": (5, 70),
        "arm_flex": (-45, 175), "arm_spread": (8, 50), "elbow": (0, 70),
    }),
    "balance": Activity({
        "near_hip_flex": (10, 100), "near_knee": (30, 130), "near_hip_spread": (5, 60), "near_hip_turn": (0, 55),
        "arm_flex": (-20, 60), "arm_spread": (10, 150), "elbow": (0, 100),
    }),
    "scale": Activity({
        "pitch": (35, 90), "near_hip_flex": (-10, -30), "near_knee": (0, 40), "far_hip_flex": (35, 90),
        "far_knee": (0, 15), "arm_flex": (-20, 150), "arm_spread": (8, 100), "elbow": (0, 40),
        "neck_bend": (-45, -10), "near_ankle": (-45, 0),
    }),
    "punch": Activity({
        "near_arm_flex": (70, 105), "near_arm_spread": (-15, 30), "near_arm_turn": (0, 90), "near_elbow": (0, 60),
        "far_arm_flex": (10, 60), "far_arm_spread": (8, 30), "far_arm_turn": (10, 50), "far_elbow": (90, 140),
        "spine_twist": (-45, 0), "near_hip_flex": (15, 45), "far_hip_flex": (0, -20), "knee": (10, 50),
        "pitch": (0, 20),
    }),
    "climb": Activity({
        "near_arm_flex": (130, 178), "near_elbow": (0, 80), "arm_spread": (0, 40), "far_arm_flex": (60, 160),
        "far_elbow": (30, 130), "near_hip_flex": (40, 115), "near_knee": (50, 125), "far_hip_flex": (-5, 40),
        "far_knee": (5, 60), "hip_spread": (5, 50), "hip_turn": (5, 50), "neck_bend": (-50, 10), "collar": (0, 25),
    }, lift=(0.0, 0.5)),
    "any": Activity({
        "pitch": (-25, 40), "roll": (-25, 25), "spine_bend": (-25, 60), "spine_side": (-30, 30),
        "spine_twist": (-45, 45), "neck_bend": (-40, 45), "neck_side": (-25, 25), "neck_twist": (-60, 60),
        "near_hip_flex": (-25, 115), "far_hip_flex": (115, -25), "near_knee": (0, 130), "far_knee": (130, 0),
        "hip_spread": (-5, 55), "hip_turn": (-25, 45), "ankle": (-45, 25), "arm_flex": (-40, 175),
        "arm_spread": (0, 90), "arm_turn": (-80, 80), "elbow": (0, 135), "wrist": (-40, 40),
    }, lift=(0.0, 0.2)),
}  # fmt: skip
"""What people do outside: sport, play, work on the floor."""

FAMILIES: Mapping[str, Mapping[str, Activity]] = {"lab": LAB, "wild": {**WILD, "walk": LAB["walk"]}}

DEVIATION = 0.3
"""Spread of an angle about its activity's common course, as a share of its range."""


@frozen(eq=False)
class Poses:
    """N drawn poses: names of their activities, root rotation (N, 3), body pose (N, 23, 3), both axis-angle in the
    body's own frame (y up, facing +z), and the height (N,) of the lowest point above the floor in metres."""

    activity: Sequence[str]
    root: FloatArray
    body_pose: FloatArray
    lift: FloatArray


def sample_poses(family: str, count: int, rng: np.random.Generator) -> Poses:
    """Draw ``count`` poses of the family "lab" or "wild", every activity equally often."""
    names = list(FAMILIES[family])
    chosen = rng.integers(len(names), size=count)
    first, last = (_table(FAMILIES[family], end)[chosen] for end in (0, 1))
    course = rng.random((count, 1)) + DEVIATION * rng.standard_normal((count, len(ANGLES)))
    alone = rng.random((count, len(ANGLES)))
    angles = first + (last - first) * np.where(_independent(), alone, np.clip(course, 0, 1))
    mirrored = rng.random(count) < 0.5
    lifts = np.array([FAMILIES[family][name].lift for name in names])[chosen]
    root, body_pose = to_smpl(angles, mirrored)
    lift = (lifts[:, 0] + (lifts[:, 1] - lifts[:, 0]) * rng.random(count)).astype(np.float32)
    return Poses([names[k] for k in chosen], root, body_pose, lift)


def _table(family: Mapping[str, Activity], end: int) -> NDArray[np.float64]:
    """First or last value (activities, angles) of every range, in degrees."""
    return np.array([[_range(activity, angle)[end] for angle in ANGLES] for activity in family.values()])


def _range(activity: Activity, angle: str) -> Range:
    """The range of one angle: its own, else that of both sides, else the relaxed one."""
    plain = angle.removeprefix("near_").removeprefix("far_")
    return activity.angles.get(angle, activity.angles.get(plain, RELAXED.get(plain, (0.0, 0.0))))


def _independent() -> NDArray[np.bool_]:
    """Which angles take no part in an activity's common course: arms and neck."""
    return np.array([any(name in angle for name in (*ARM, "neck")) for angle in ANGLES])


def to_smpl(angles: NDArray[np.float64], mirrored: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Turn anatomical angles (N, len(ANGLES)) in degrees into the root's (N, 3) and the joints' (N, 23, 3) axis-angle.

    The near side is the left one, or where ``mirrored`` (N,) the right one.
    """
    value = {name: _limited(name, angles[:, k]) for k, name in enumerate(ANGLES)}
    sign = np.where(mirrored, -1.0, 1.0)  # of turns about y and z, which mirroring reverses
    pose = np.zeros((len(angles), 24, 3))
    pose[:, 0] = _turn("yxz", sign * value["yaw"], value["pitch"], -sign * value["roll"])
    for joints, name in (((3, 6, 9), "spine"), ((12, 15), "neck")):
        twist, bend, side = (value[f"{name}_{kind}"] / len(joints) for kind in ("twist", "bend", "side"))
        pose[:, joints] = _turn("yxz", sign * twist, bend, -sign * side)[:, None]
    for right in (0, 1):
        limb = {n: np.where(mirrored == bool(right), value[f"near_{n}"], value[f"far_{n}"]) for n in (*LEG, *ARM)}
        out = 1 - 2 * right  # mirrors the turns of the right limbs
        pose[:, 1 + right] = _turn("xzy", -limb["hip_flex"], out * limb["hip_spread"], out * limb["hip_turn"])
        pose[:, 4 + right, 0] = np.radians(limb["knee"])
        pose[:, 7 + right, 0] = -np.radians(limb["ankle"])
        pose[:, 13 + right, 2] = out * np.radians(limb["collar"])
        pose[:, 16 + right] = _turn("xzx", -limb["arm_flex"], out * (limb["arm_spread"] - 90), limb["arm_turn"])
        pose[:, 18 + right, 1] = -out * np.radians(limb["elbow"])
        pose[:, 20 + right, 2] = out * np.radians(limb["wrist"])
    return pose[:, 0].astype(np.float32), pose[:, 1:].astype(np.float32)


def _limited(name: str, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    limits = LIMITS.get(name.removeprefix("near_").removeprefix("far_"))
    return degrees if limits is None else np.clip(degrees, *limits)


def _turn(axes: str, *degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis-angle (N, 3) of successive turns about the body's own (moving) axes."""
    return Rotation.from_euler(axes.upper(), np.stack(degrees, axis=1), degrees=True).as_rotvec()
