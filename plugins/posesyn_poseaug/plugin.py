"""What this plugin brings. Torch is imported when a component is made."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.contracts.worlds import World
from posesyn_core.geometry.skeletons import JointSet
from posesyn_core.hookspecs import hookimpl
from posesyn_poseaug.config import H36mPosesConfig, LifterConfig, MocapConfig, PoseAugConfig, PosesConfig
from posesyn_poseaug.joints import SMPL16

if TYPE_CHECKING:
    from posesyn_poseaug.augmenter import PoseAugmenter
    from posesyn_poseaug.estimator import Lifter
    from posesyn_poseaug.weights import LifterWeights

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


@hookimpl
def register_readers() -> list[Component]:
    return [
        Component(
            Kind.READER,
            "h36m_poses",
            "Human3.6M's poses without pictures, in VideoPose3D's files",
            _h36m,
            H36mPosesConfig,
            licence=LICENCE,
        ),
        Component(
            Kind.READER,
            "poses",
            "Poses without pictures: PoseAug's test sets, SPIN's MPI-INF-3DHP",
            _poses,
            PosesConfig,
            licence=LICENCE,
        ),
        Component(
            Kind.READER,
            "mocap",
            "Poses without pictures: recorded motions before virtual cameras",
            _mocap,
            MocapConfig,
            licence=LICENCE,
        ),
    ]


def _h36m(config: H36mPosesConfig) -> Any:
    from posesyn_poseaug.readers import H36mPoses

    return H36mPoses(config)


def _poses(config: PosesConfig) -> Any:
    from posesyn_poseaug.readers import Poses

    return Poses(config)


def _mocap(config: MocapConfig) -> Any:
    from posesyn_poseaug.mocap import MocapReader

    return MocapReader(config)


@hookimpl
def register_worlds() -> dict[str, Callable[[], World]]:
    return {"mocap": _mocap_world}


def _mocap_world() -> World:
    return World(Path(__file__).with_name("mocap.toml").read_text(encoding="utf-8"))


@hookimpl
def register_experiments() -> dict[str, Callable[[Any, Sequence[int]], Sequence[Any]]]:
    return {f"poseaug-table{number}": partial(_experiment, f"poseaug-table{number}") for number in range(1, 8)}


def _experiment(name: str, laboratory: Any, seeds: Sequence[int]) -> Sequence[Any]:
    from posesyn_poseaug.experiments import do_table

    return do_table(name, laboratory, seeds)
