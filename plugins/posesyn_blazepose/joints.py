"""BlazePose's 33 landmarks as a joint set."""

from posesyn_core.geometry.skeletons import JointSet

_SIDES = ("left", "right")
_FACE = (
    "nose",
    *(f"{side}_{part}" for side in _SIDES for part in ("eye_inner", "eye", "eye_outer")),
    *(f"{side}_ear" for side in _SIDES),
    *(f"mouth_{side}" for side in _SIDES),
)
_ARMS = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb") for side in _SIDES)
_LEGS = tuple(f"{side}_{part}" for part in ("hip", "knee", "ankle", "heel", "foot_index") for side in _SIDES)
_JOINTS = (*_FACE, *_ARMS, *_LEGS)

BLAZEPOSE33 = JointSet(
    name="blazepose33",
    joints=tuple({"mouth_left": "left_mouth", "mouth_right": "right_mouth"}.get(joint, joint) for joint in _JOINTS),
    parents=(
        *(-1, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0),
        *(23, 24, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16),
        *(-1, 23, 23, 24, 25, 26, 27, 28, 29, 30),
    ),
    root=(23, 24),
    description="BlazePose GHUM's landmarks: face, limbs, fingers, feet",
    renamed={"left_heel": "blazepose_left_heel", "right_heel": "blazepose_right_heel"},
)
"""Left before right; the root is the middle of the hips."""
