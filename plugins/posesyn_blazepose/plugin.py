"""What this plugin brings; torch is imported when a component is made."""

from typing import TYPE_CHECKING

from posesyn_blazepose.config import BlazePoseConfig, DetectorConfig, LabellerConfig, StarterConfig
from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_blazepose.detector import BlazePoseDetector
    from posesyn_blazepose.estimator import BlazePose
    from posesyn_blazepose.labeller import BlazePoseLabeller
    from posesyn_blazepose.starter import Starter
    from posesyn_blazepose.weights import BlazePoseWeights, StarterWeights

SMALL = Resources(gpus=0.1)
"""Networks of a few million weights: ten processes share a GPU."""
LICENCE = Licence(
    code="MediaPipe's BlazePose (Apache-2.0)",
    weights="Google's converted ones and the starter's, which come with it: Apache-2.0, notice beside them",
    data="yours, as far as the pictures are",
)


LICENCE = Licence(
    code="MediaPipe's published graphs (Apache-2.0), read layer by layer",
    weights="Google's BlazePose GHUM: Apache-2.0; the starter's, trained on from them: Apache-2.0",
    data="yours",
)


def make_blazepose(config: BlazePoseConfig) -> "BlazePose":
    """The estimator; imports torch."""
    from posesyn_blazepose.estimator import BlazePose

    return BlazePose(config)


def make_starter(config: StarterConfig) -> "Starter":
    """The estimator that regresses SMPL; imports torch."""
    from posesyn_blazepose.starter import Starter

    return Starter(config)


def make_labeller(config: LabellerConfig) -> "BlazePoseLabeller":
    """The 2D labeller; imports torch."""
    from posesyn_blazepose.labeller import BlazePoseLabeller

    return BlazePoseLabeller(config)


def make_detector(config: DetectorConfig) -> "BlazePoseDetector":
    """The detector; imports torch."""
    from posesyn_blazepose.detector import BlazePoseDetector

    return BlazePoseDetector(config)


def make_weights() -> "BlazePoseWeights":
    """The format of its weight files; imports torch."""
    from posesyn_blazepose.weights import BlazePoseWeights

    return BlazePoseWeights()


def make_starter_weights() -> "StarterWeights":
    """The format of the starter's weight files; imports torch."""
    from posesyn_blazepose.weights import StarterWeights

    return StarterWeights()


@hookimpl
def register_estimators() -> list[Component]:
    return [
        Component(
            Kind.ESTIMATOR,
            "blazepose",
            "BlazePose GHUM: 33 landmarks in the picture and in metres",
            make_blazepose,
            BlazePoseConfig,
            weights=make_weights,
            resources=SMALL,
            licence=LICENCE,
        ),
        Component(
            Kind.ESTIMATOR,
            "starter",
            "SMPL parameters from BlazePose's features; comes with weights",
            make_starter,
            StarterConfig,
            weights=make_starter_weights,
            resources=SMALL,
            licence=LICENCE,
        ),
    ]


@hookimpl
def register_keypoint_estimators() -> list[Component]:
    return [
        Component(
            Kind.KEYPOINTS,
            "blazepose",
            "BlazePose's landmarks as 2D labels, and its mask of the person",
            make_labeller,
            LabellerConfig,
            weights=make_weights,
            resources=SMALL,
            licence=LICENCE,
        )
    ]


@hookimpl
def register_detectors() -> list[Component]:
    return [
        Component(
            Kind.DETECTOR,
            "blazepose",
            "BlazePose's person detector, for all people of a picture",
            make_detector,
            DetectorConfig,
            weights=make_weights,
            resources=SMALL,
            licence=LICENCE,
        )
    ]
