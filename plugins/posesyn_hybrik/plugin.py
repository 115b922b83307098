"""What this plugin brings; torch is imported when a component is made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.files.presence import body_faults, file_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_hybrik.config import HybrikConfig, HybrikReaderConfig, HybrikWriterConfig

if TYPE_CHECKING:
    from posesyn_hybrik.estimator import Hybrik
    from posesyn_hybrik.reader import HybrikReader
    from posesyn_hybrik.weights import HybrikWeights
    from posesyn_hybrik.writer import HybrikWriter

LICENCE = Licence(
    code="HybrIK (MIT)",
    weights=(
        "published with the MIT code, but the file holds SMPL (research only) and was trained on data for research only"
    ),
    data="for research unless you have a licence for SMPL; check yourself",
)


DATA = "it is in the model zoo of https://github.com/Jeff-sjtu/HybrIK"
ANNOTATIONS = "its README (https://github.com/Jeff-sjtu/HybrIK) links the parsed annotations"


def estimator_lacks(config: HybrikConfig) -> Iterator[str]:
    """The files that the options name and that are not there."""
    if config.weights not in ("random", "random-full"):
        yield from file_faults(config.weights, "HybrIK's checkpoint", DATA)
    yield from body_faults(config.body)


def reader_lacks(config: HybrikReaderConfig) -> Iterator[str]:
    """Whether the annotation file is there."""
    yield from file_faults(config.annotations or "annotations", "HybrIK's annotation file", ANNOTATIONS)
    yield from body_faults(config.body)


def make_hybrik(config: HybrikConfig) -> "Hybrik":
    """The estimator; imports torch."""
    from posesyn_hybrik.estimator import Hybrik

    return Hybrik(config)


def make_weights() -> "HybrikWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_hybrik.weights import HybrikWeights

    return HybrikWeights()


def make_reader(config: HybrikReaderConfig) -> "HybrikReader":
    """The reader; imports torch."""
    from posesyn_hybrik.reader import HybrikReader

    return HybrikReader(config)


def make_writer(config: HybrikWriterConfig) -> "HybrikWriter":
    """The writer; imports torch."""
    from posesyn_hybrik.writer import HybrikWriter

    return HybrikWriter(config)


@hookimpl
def register_estimators() -> list[Component]:
    summary = "HybrIK: joint heatmaps and an analytical inverse kinematics (ResNet-34, HRNet-W48)"
    return [
        Component(
            Kind.ESTIMATOR,
            "hybrik",
            summary,
            make_hybrik,
            HybrikConfig,
            weights=make_weights,
            resources=Resources(gpus=0.2, memory_gb=4),
            licence=LICENCE,
            lacks=estimator_lacks,
        )
    ]


@hookimpl
def register_readers() -> list[Component]:
    summary = "HybrIK's annotation files with SMPL parameters (Human3.6M's or 3DPW's style)"
    reader = Component(
        Kind.READER, "hybrik", summary, make_reader, HybrikReaderConfig, licence=LICENCE, lacks=reader_lacks
    )
    return [reader]


@hookimpl
def register_writers() -> list[Component]:
    summary = "HybrIK's training JSON (Human3.6M style), images beside it"
    return [Component(Kind.WRITER, "hybrik", summary, make_writer, HybrikWriterConfig, licence=LICENCE)]
