"""What this plugin brings: the motion generator ``t2mgpt`` and the commands that train it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.files.presence import file_faults, hub_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_t2mgpt.commands import t2mgpt
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.layout import lacking_parts, weight_files

if TYPE_CHECKING:
    import click

    from posesyn_t2mgpt.generator import T2MGpt
    from posesyn_t2mgpt.weights import T2MGptWeights

LICENCE = Licence(
    code="T2M-GPT (Apache-2.0), HumanML3D (MIT)",
    weights=(
        "the starter's: Apache-2.0; the official ones: published with the Apache-2.0 code, trained on HumanML3D, "
        "that is on AMASS and HumanAct12 (research only); CLIP's text encoder: MIT"
    ),
    data="with the starter yours; with the official weights check AMASS's licence yourself",
)


SOURCE = (
    "run dataset/prepare/download_model.sh and download_extractor.sh in a clone of "
    "https://github.com/Mael-zys/T2M-GPT, and name the clone"
)


def lacks(config: T2MGptConfig) -> Iterator[str]:
    """The files of the weights, and CLIP's text tower where they were trained with it, that are not there."""
    if config.weights == "starter":
        return
    path = Path(config.weights).expanduser()
    files = weight_files(path)
    official = any(file.suffix in (".pth", ".pt") for file in files)
    if not files:
        yield f"there are no weights of T2M-GPT at {config.weights!r}: {SOURCE}"
    elif official:
        yield from (f"the folder {config.weights!r} lacks {part}: {SOURCE}" for part in lacking_parts(files))
    for file in files:
        yield from file_faults(file, "T2M-GPT's file", SOURCE)
    if config.text_encoder == "clip" or (config.text_encoder == "auto" and (official or not files)):
        yield from hub_faults(config.clip, "the text encoder", "605 MB")


def make_generator(config: T2MGptConfig) -> "T2MGpt":
    from posesyn_t2mgpt.generator import T2MGpt

    return T2MGpt(config)


def make_weights() -> "T2MGptWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_t2mgpt.weights import T2MGptWeights

    return T2MGptWeights()


@hookimpl
def register_motion_generators() -> list[Component]:
    summary = "T2M-GPT: goes on from a pose as a text says (starter weights, or the official checkpoints)"
    generator = Component(
        Kind.MOTION,
        "t2mgpt",
        summary,
        make_generator,
        T2MGptConfig,
        weights=make_weights,
        resources=Resources(gpus=0.25, memory_gb=4),
        licence=LICENCE,
        lacks=lacks,
    )
    return [generator]


@hookimpl
def register_commands(cli: "click.Group") -> None:
    cli.add_command(t2mgpt)
