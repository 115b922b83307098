"""What this plugin brings. Only the options stand here; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING, Literal

from attrs import frozen

from posesyn_core.components import Component, Kind, option
from posesyn_core.hookspecs import hookimpl
from posesyn_crowdnet.reader import CrowdNetReader, CrowdNetReaderConfig
from posesyn_crowdnet.writer import CrowdNetWriter, CrowdNetWriterConfig

if TYPE_CHECKING:
    from posesyn_crowdnet.estimator import CrowdNet
    from posesyn_crowdnet.weights import CrowdNetWeights


@frozen
class CrowdNetConfig:
    """Options of the estimator ``crowdnet``."""

    weights: str = option(
        "random",
        "a file: an official snapshot (.pth.tar) or a .safetensors written here; 'random' (small, untrained) or "
        "'random-full' (untrained at the published size)",
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that gives the joints; empty = the body that official snapshots bring "
        "along, the free body for random weights; 'free' = the free body in any case",
    )
    detections: str = option(
        "",
        "JSON of 2D detections by sample id or image name, [x, y, confidence] a joint (17 COCO, 18 or 25 OpenPose); "
        "empty = the data set's own keypoints",
    )
    confidence: float = option(0.05, "2D joints must be surer than this (official: 0.05 on 3DPW, 0.1 in the demo)")
    crop: Literal["pose", "box"] = option(
        "pose", "what is cut out: the surroundings of the 2D pose (official test) or of the person box"
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    synthesise_errors: bool = option(
        True, "training: disturb true 2D joints like a detector's (switch off where they are detections already)"
    )
    extra_regressor: str = option(
        "", "training: J_regressor_extra.npy (SPIN's), to train on the head's top too; empty = without it"
    )


def make_crowdnet(config: CrowdNetConfig) -> "CrowdNet":
    """The estimator; imports torch."""
    from posesyn_crowdnet.estimator import CrowdNet

    return CrowdNet(config)


def make_weights() -> "CrowdNetWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_crowdnet.weights import CrowdNetWeights

    return CrowdNetWeights()


@hookimpl
def register_estimators() -> list[Component]:
    return [
        Component(
            Kind.ESTIMATOR,
            "crowdnet",
            "3DCrowdNet: SMPL from a crop and the person's 2D pose",
            make_crowdnet,
            CrowdNetConfig,
            weights=make_weights,
        )
    ]


@hookimpl
def register_readers() -> list[Component]:
    return [
        Component(
            Kind.READER,
            "crowdnet",
            "3DCrowdNet's annotation files: MPII, MSCOCO, Human3.6M, MuCo with SMPL parameters",
            CrowdNetReader,
            CrowdNetReaderConfig,
        )
    ]


@hookimpl
def register_writers() -> list[Component]:
    return [
        Component(
            Kind.WRITER,
            "crowdnet",
            "MSCOCO- or MPII-style JSON and SMPL parameters, as 3DCrowdNet's code trains on",
            CrowdNetWriter,
            CrowdNetWriterConfig,
        )
    ]
