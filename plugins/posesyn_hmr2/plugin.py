"""What this plugin brings; torch is imported when the estimator is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.files.presence import body_faults, file_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_hmr2.config import Hmr2Config
from posesyn_hmr2.reader import Hmr2Reader, Hmr2ReaderConfig
from posesyn_hmr2.writers import Hmr2NpzWriter, Hmr2TarWriter, Hmr2TarWriterConfig, Hmr2WriterConfig

if TYPE_CHECKING:
    from posesyn_hmr2.estimator import Hmr2
    from posesyn_hmr2.weights import Hmr2Weights

LICENCE = Licence(
    code="4D-Humans (MIT)",
    weights=(
        "published with the MIT code, but the file holds SMPL (research only) and was trained on data for research only"
    ),
    data="for research unless you have a licence for SMPL; check yourself",
)


DATA = "run fetch_demo_data.sh of https://github.com/shubham-goel/4D-Humans (it is in hmr2_data.tar.gz, 2.7 GB)"
TRAINING_DATA = "run fetch_training_data.sh of https://github.com/shubham-goel/4D-Humans"


def estimator_lacks(config: Hmr2Config) -> Iterator[str]:
    """The files that the options name and that are not there."""
    if config.weights not in ("random", "random-full"):
        yield from file_faults(config.weights, "HMR 2.0's checkpoint", DATA)
    yield from body_faults(config.body)
    for path, what in (
        (config.joint_regressor, "the regressor of 19 joints"),
        (config.mocap, "the motion capture for the discriminator"),
        (config.pose_histogram, "the histogram of poses"),
    ):
        if path:
            yield from file_faults(path, what, DATA if path == config.joint_regressor else TRAINING_DATA)


def reader_lacks(config: Hmr2ReaderConfig) -> Iterator[str]:
    """Whether the annotations are there."""
    path = Path(config.path).expanduser()
    if not (path.is_dir() and any(path.glob("*.tar"))) and not path.is_file():
        yield f"4D-Humans' annotations {config.path!r} are missing (.tar, folder of .tar, or .npz): {TRAINING_DATA}"


def make_hmr2(config: Hmr2Config) -> "Hmr2":
    """The estimator; imports torch."""
    from posesyn_hmr2.estimator import Hmr2

    return Hmr2(config)


def make_weights() -> "Hmr2Weights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_hmr2.weights import Hmr2Weights

    return Hmr2Weights()


@hookimpl
def register_estimators() -> list[Component]:
    summary = "HMR 2.0 (4D-Humans): a vision transformer that regresses SMPL parameters"
    return [
        Component(
            Kind.ESTIMATOR,
            "hmr2",
            summary,
            make_hmr2,
            Hmr2Config,
            weights=make_weights,
            resources=Resources(gpus=0.25, memory_gb=8),
            licence=LICENCE,
            lacks=estimator_lacks,
        )
    ]


@hookimpl
def register_readers() -> list[Component]:
    summary = "4D-Humans' training shards (.tar) and evaluation sets (.npz)"
    return [Component(Kind.READER, "hmr2", summary, Hmr2Reader, Hmr2ReaderConfig, licence=LICENCE, lacks=reader_lacks)]


@hookimpl
def register_writers() -> list[Component]:
    tar, npz = "4D-Humans' training shards (WebDataset tar)", "4D-Humans' evaluation npz, images beside it"
    return [
        Component(Kind.WRITER, "hmr2", tar, Hmr2TarWriter, Hmr2TarWriterConfig, licence=LICENCE),
        Component(Kind.WRITER, "hmr2_npz", npz, Hmr2NpzWriter, Hmr2WriterConfig, licence=LICENCE),
    ]
