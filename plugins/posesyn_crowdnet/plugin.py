"""What this plugin brings; torch is imported when the estimator is made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.files.presence import body_faults, file_faults, folder_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_crowdnet.config import CrowdNetConfig
from posesyn_crowdnet.reader import CrowdNetReader, CrowdNetReaderConfig
from posesyn_crowdnet.writer import CrowdNetWriter, CrowdNetWriterConfig

if TYPE_CHECKING:
    from posesyn_crowdnet.estimator import CrowdNet
    from posesyn_crowdnet.weights import CrowdNetWeights

LICENCE = Licence(
    code="3DCrowdNet (MIT)",
    weights=(
        "no licence of their own; the file holds SMPL and VPoser (both research only) and was trained on data for "
        "research only"
    ),
    data="for research unless you have licences for SMPL and VPoser; check yourself",
)


DATA = "https://github.com/hongsukchoi/3DCrowdNet_RELEASE links it"
PARTS = {
    "mscoco": "MSCOCO/annotations/person_keypoints_train2017.json",
    "mpii": "MPII/data/annotations/train.json",
    "human36m": "Human36M/annotations",
    "muco": "MuCo/data/MuCo-3DHP.json",
}
"""What each part of the official data folder has, whatever else it lacks."""


def estimator_lacks(config: CrowdNetConfig) -> Iterator[str]:
    """The files that the options name and that are not there."""
    if config.weights not in ("random", "random-full"):
        yield from file_faults(config.weights, "3DCrowdNet's snapshot", DATA)
    yield from body_faults(config.body)
    if config.detections:
        yield from file_faults(config.detections, "the file of 2D detections", "name one that exists")
    if config.extra_regressor:
        yield from file_faults(config.extra_regressor, "SPIN's J_regressor_extra.npy", "it is in SPIN's data.tar.gz")


def reader_lacks(config: CrowdNetReaderConfig) -> Iterator[str]:
    """Whether the part is there, laid out as for the official code."""
    yield from folder_faults(config.root, "3DCrowdNet's data folder", DATA, (PARTS[config.part],))


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
            resources=Resources(gpus=0.2, memory_gb=4),
            licence=LICENCE,
            lacks=estimator_lacks,
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
            licence=LICENCE,
            lacks=reader_lacks,
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
            licence=LICENCE,
        )
    ]
