"""What this plugin brings; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence
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
            licence=LICENCE,
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
