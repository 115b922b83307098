"""The joint set of lifters that are trained on bodies or motions with SMPL's joints."""

from posesyn_core.geometry.skeletons import H36M16, SMPL24, JointSet, register

TRUNK = {"spine": "spine2", "thorax": "neck", "head": "head"}
SMPL16 = JointSet(
    name="smpl16",
    joints=H36M16.joints,
    parents=H36M16.parents,
    root=H36M16.root,
    description="The 16 joints of lifters with SMPL's spine2, neck and head in the trunk",
    renamed={**H36M16.renamed, **{ours: SMPL24.points[SMPL24.joints.index(theirs)] for ours, theirs in TRUNK.items()}},
)
register(SMPL16)
