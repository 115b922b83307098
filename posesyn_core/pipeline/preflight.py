"""What a run needs and this machine lacks: everything at once, before the first stage.

Files are judged by names, sizes and heads; nothing is loaded, and PyTorch only where a GPU is asked for and there.
"""

import shutil
from collections.abc import Collection, Iterator, Sized
from pathlib import Path

from posesyn_core.components import Kind
from posesyn_core.contracts.results import calling
from posesyn_core.engines.devices import device_fault
from posesyn_core.errors import UserError
from posesyn_core.files.presence import GET_REGRESSOR, GET_SMPL, file_faults
from posesyn_core.pipeline.independence import self_labelled
from posesyn_core.pipeline.order import STAGES, uses
from posesyn_core.recipe import Choice, Recipe
from posesyn_core.registry import Registry

FRAME_BYTES = 150_000
"""A typical synthesised frame as JPEG: 512 x 512 at quality 95, or a larger photograph mostly out of focus."""
KEPT = 0.46
"""The share of frames that the filter keeps (the paper's Table 5 at tau = 120)."""
TRAINING_COPIES = 5
"""Weights of a training on disk in sizes of the checkpoint: last and best, and AdamW's two moments with the last."""
VARIANTS = 2
"""Trainings of a run: with synthesised data, and for comparison without."""
GB = 1e9


def lacks(recipe: Recipe, registry: Registry, folder: Path, stages: Collection[str] = STAGES) -> list[str]:
    """A sentence for each thing that the ``stages`` of a run in ``folder`` need and that is not there; empty = ready.

    They are components and what they need, files that the recipe names, devices, engines, room on the disk, and labels
    from somebody else than the estimator.
    """

    def used(where: str) -> bool:
        return any(uses(stage, where) for stage in stages)

    found: list[str] = []
    for kind, choice, where in choices_of(recipe, registry):
        if used(where):
            found += registry.lacks(kind, choice.name, choice.options, f"[{where}]")
    found += _files(recipe) if used("body") else []
    found += _devices(recipe)
    found += _disk(recipe, registry, folder) if "animate" in stages else []
    found += self_labelled(recipe, registry)
    return list(dict.fromkeys(found))


def complaint(found: Collection[str]) -> str:
    """What is lacking, for an error message: the sentence itself, or a list."""
    if len(found) == 1:
        return next(iter(found))
    return "\n".join([f"{len(found)} things are missing:", *(f"  - {fault}" for fault in found)])


def disk_bytes(recipe: Recipe, people: int | None = None) -> int:
    """Bytes that a whole run writes, estimated: kept frames and their exports, and the trainings' checkpoints.

    No more than ``people``, those of the data set, can be mined.
    """
    mined = recipe.score.hard if people is None else min(recipe.score.hard, people)
    shortest, longest = recipe.synthesize.min_frames, recipe.synthesize.max_frames
    drawn = min((shortest + longest) / 2, recipe.animate.max_frames * recipe.animate.frame_stride)
    clips = mined * recipe.synthesize.motions_per_sample * recipe.animate.references_per_motion
    written = clips * drawn / recipe.animate.frame_stride * (1 if recipe.animate.keep_dropped else KEPT)
    frames = written * FRAME_BYTES * (1 + len(recipe.export.formats))
    weights = recipe.estimator.options.get("weights")
    file = Path(weights).expanduser() if isinstance(weights, str) else Path()
    trained = file.stat().st_size if recipe.finetune.steps != 0 and file.is_file() else 0
    return int(frames + trained * TRAINING_COPIES * (VARIANTS if recipe.finetune.real_only else 1))


def choices_of(recipe: Recipe, registry: Registry) -> Iterator[tuple[Kind, Choice, str]]:
    """Every component of the recipe, its labeller too, which is of one of two kinds."""
    yield from recipe.choices()
    if recipe.labeller is not None:
        flat = (Kind.KEYPOINTS, recipe.labeller.name) in registry.components
        yield Kind.KEYPOINTS if flat else Kind.ESTIMATOR, recipe.labeller, "labeller"


def _files(recipe: Recipe) -> Iterator[str]:
    if recipe.body_file is not None:
        yield from (f"body: {fault}" for fault in file_faults(recipe.body_file, "the SMPL file", GET_SMPL))
    if recipe.h36m_regressor:
        what = "the regressor of Human3.6M's joints"
        yield from (f"h36m_regressor: {fault}" for fault in file_faults(recipe.h36m_regressor, what, GET_REGRESSOR))


def _devices(recipe: Recipe) -> Iterator[str]:
    named = {"machine.device": recipe.machine.device}
    named |= {f"{where}.device": str(choice.options.get("device", "cpu")) for _, choice, where in recipe.choices()}
    known: dict[str, str] = {}
    for key, device in named.items():
        fault = known.setdefault(device, device_fault(device))
        if fault:
            yield f"{key} = {device!r}: {fault}"


def _disk(recipe: Recipe, registry: Registry, folder: Path) -> Iterator[str]:
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    needed, free = disk_bytes(recipe), shutil.disk_usage(place).free
    if free < needed:  # counting a data set may mean to read its annotations: only before a run is refused
        needed = disk_bytes(recipe, _people(recipe, registry))
    if free < needed:
        yield (
            f"the disk of {str(folder)!r} has {free / GB:.3f} GB free, and the run is estimated to write "
            f"{needed / GB:.3f} GB: make room, choose another --run folder, or mine less (score.hard)"
        )


def _people(recipe: Recipe, registry: Registry) -> int | None:
    """How many samples the data set has; None if it doesn't say, or can't be read, of which the reader tells more."""
    try:
        reader = registry.create(Kind.READER, recipe.dataset.name, recipe.dataset.options, "dataset")
        if not isinstance(reader, Sized):
            return None
        with calling(reader.__len__):
            return len(reader)
    except UserError:
        return None
