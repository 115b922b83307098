"""Body parts of an SMPL-layout mesh: one label per face."""

import numpy as np

PART_NAMES = (
    "head", "scalp", "torso", "hips",
    "left_upper_arm", "right_upper_arm", "left_lower_arm", "right_lower_arm", "left_hand", "right_hand",
    "left_upper_leg", "right_upper_leg", "left_lower_leg", "right_lower_leg", "left_foot", "right_foot",
)  # fmt: skip
"""Names of the part labels 0..15; ``head`` includes the neck."""

_JOINT_PARTS = (
    "hips", "left_upper_leg", "right_upper_leg", "torso", "left_lower_leg", "right_lower_leg", "torso", "left_foot",
    "right_foot", "torso", "left_foot", "right_foot", "head", "torso", "torso", "head", "left_upper_arm",
    "right_upper_arm", "left_lower_arm", "right_lower_arm", "left_hand", "right_hand", "left_hand", "right_hand",
)  # fmt: skip


def part_labels(weights: np.ndarray, faces: np.ndarray, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(F,) uint8 labels into ``PART_NAMES``: the part whose joints carry most of a face's skinning weight.

    ``weights`` (V, 24), ``faces`` (F, 3), and the rest pose ``vertices`` (V, 3), ``joints`` (24, 3) in metres. The
    scalp is what lies above and behind a plane through hairline and nape, set by the neck-head bone.
    """
    part_of_joint = np.array([PART_NAMES.index(name) for name in _JOINT_PARTS])
    share = weights @ np.eye(len(PART_NAMES))[part_of_joint]
    labels = share[faces].sum(1).argmax(1)
    size = np.linalg.norm(joints[15] - joints[12])
    height, forward = ((vertices[faces].mean(1) - joints[15]) / size)[:, 1:].T
    scalp = height > 0.25 + 0.6 * forward
    labels[(labels == PART_NAMES.index("head")) & scalp] = PART_NAMES.index("scalp")
    return labels.astype(np.uint8)
