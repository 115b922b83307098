"""What this plugin brings. Torch is imported when a component is made."""

from functools import partial
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.geometry.skeletons import H36M16, SMPL24, JointSet
from posesyn_core.hookspecs import hookimpl
from posesyn_poseaug.config import LifterConfig, PoseAugConfig

if TYPE_CHECKING:
    from posesyn_poseaug.augmenter import PoseAugmenter
    from posesyn_poseaug.estimator import Lifter
    from posesyn_poseaug.weights import LifterWeights

TRUNK = {"spine": "spine2", "thorax": "neck", "head": "head"}
SMPL16 = JointSet(
    name="smpl16",
    joints=H36M16.joints,
    parents=H36M16.parents,
    root=H36M16.root,
    description="The 16 joints of lifters with SMPL's spine2, neck and head in the trunk",
    renamed={**H36M16.renamed, **{ours: SMPL24.points[SMPL24.joints.index(theirs)] for ours, theirs in TRUNK.items()}},
)
"""What lifters that are trained on bodies or motions of SMPL's joints answer in."""

SUMMARIES = {
    "semgcn": "SemGCN: lifts 2D joints to 3D by graph convolutions with learned edges",
    "simplebaseline": "SimpleBaseline: lifts 2D joints to 3D by a residual MLP",
    "stgcn": "ST-GCN for one frame: lifts 2D joints to 3D by graph convolutions over joints and limbs",
    "videopose": "VideoPose3D for one frame: lifts 2D joints to 3D by a deep residual MLP",
}

LICENCE = Licence(
    code=(
        "PoseAug (MIT), from a description; the lifters' own repositories: Apache-2.0 (SemGCN, SimpleBaseline), "
        "CC BY-NC (VideoPose3D), none stated (ST-GCN)"
    ),
    weights="PoseAug's: no licence of their own, trained on Human3.6M (for research only); those you train: yours",
    data="with weights you trained yours; with PoseAug's for research, check yourself",
)


def make_lifter(name: str, config: LifterConfig) -> "Lifter":
    """The estimator; imports torch."""
    from posesyn_poseaug.estimator import Lifter

    return Lifter(name, config)


def make_augmenter(config: PoseAugConfig) -> "PoseAugmenter":
    """The augmenter; imports torch."""
    from posesyn_poseaug.augmenter import PoseAugmenter

    return PoseAugmenter(config)


def make_weights(name: str) -> "LifterWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_poseaug.weights import LifterWeights

    return LifterWeights(name)


@hookimpl
def register_joint_sets() -> list[JointSet]:
    return [SMPL16]


@hookimpl
def register_estimators() -> list[Component]:
    return [
        Component(
            Kind.ESTIMATOR,
            name,
            summary,
            partial(make_lifter, name),
            LifterConfig,
            weights=partial(make_weights, name),
            licence=LICENCE,
        )
        for name, summary in SUMMARIES.items()
    ]


@hookimpl
def register_augmenters() -> list[Component]:
    summary = "PoseAug: learns from a lifter's error to bend, stretch, turn and move poses"
    return [Component(Kind.AUGMENTER, "poseaug", summary, make_augmenter, PoseAugConfig, licence=LICENCE)]
