"""Joint sets of data sets in COCO's form that say their joints by name."""

from posesyn_core.geometry.skeletons import JointSet

_LIMBS = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)

CROWDPOSE14 = JointSet(
    name="crowdpose14",
    joints=(*_LIMBS, "head", "neck"),
    parents=(13, 13, 0, 1, 2, 3, 0, 1, 6, 7, 8, 9, 13, -1),
    root=(6, 7),
    description="CrowdPose: its head is the top of the head",
    renamed={"head": "head_top", "neck": "crowdpose_neck"},
)

POSETRACK17 = JointSet(
    name="posetrack17",
    joints=("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_LIMBS),
    parents=(1, -1, 0, 0, 0, 1, 1, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    root=(11, 12),
    description="PoseTrack 2018; its head bottom is where the neck begins",
    renamed={"head_bottom": "posetrack_head_bottom"},
)

JOINT_SETS = [CROWDPOSE14, POSETRACK17]
