"""Is a run what its stages wrote? Every damage is named with the command that repairs it."""

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from posesyn_core.errors import UserError
from posesyn_core.pipeline.ledger import DONE, INPUTS
from posesyn_core.pipeline.order import BUILDS_ON, later
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.seals import DamagedFile, check_regular, digest
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Table, part_number

_OURS = re.compile(rf"\d{{6,}}\.parquet|{re.escape(INPUTS)}|{re.escape(DONE)}|\..*")
_SUBFOLDERS = {"animate": {"references", "frames"}}
"""The folders in a table's folder."""


@frozen
class Damage:
    """A file of a run that is not what was written, or does not belong there."""

    stage: str
    path: Path
    fault: str

    def command(self, run: Path) -> str:
        """What mends it."""
        return f"posesyn {self.stage} {run} --repair"


def damages(run: Run) -> Iterator[Damage]:
    """All damages of a run, stage by stage; every byte that a stage wrote is read."""
    for stage in BUILDS_ON:
        if (run.folder / stage).exists():
            yield from _of_stage(run, stage)


def repair(run: Run, stage: str) -> tuple[list[Damage], Path | None]:
    """Set aside what is damaged in a stage and open it again: what is missing is made again when it is run.

    Returns the damages and where the files are now. UserError if what the stage needs is not there.
    """
    found = list(_of_stage(run, stage))
    if not found:
        return [], None
    run.check([stage])
    paths = dict.fromkeys(path for damage in found for path in _with_consequences(run, damage))
    run.ledger.restore_inputs(stage)
    place = set_aside(run.folder, [run.folder / stage / DONE, *(path for path in paths if path.name != DONE)])
    return found, place


def _of_stage(run: Run, stage: str) -> Iterator[Damage]:
    for name in (INPUTS, DONE):
        try:
            run.ledger.read(stage, name)
        except DamagedFile as damaged:
            yield Damage(stage, damaged.path, damaged.fault)
    yield from _missing_books(run, stage)
    if stage not in run.ledger.tables:
        yield from (Damage(stage, *changed) for changed in _quietly(run, stage))
        if stage == "finetune" and not (run.folder / stage / DONE).exists():
            yield from _of_trainings(run.folder / stage)
        return
    whole = True
    for table in run.ledger.tables[stage]:
        for damage in _of_table(run, stage, table):
            whole = False
            yield damage
    if whole:
        try:
            run.ledger.verify(stage)
        except DamagedFile as damaged:
            yield Damage(stage, damaged.path, damaged.fault)
    if stage == "animate":
        yield from _of_frames(run)


def _of_trainings(folder: Path) -> Iterator[Damage]:
    """Checkpoints that an unfinished training can't go on from."""
    import torch

    from posesyn_core.training.finetune import CHECKPOINT, read_training

    for checkpoint in sorted(folder.glob(f"*/{CHECKPOINT}")):
        try:
            read_training(checkpoint.parent, torch.device("cpu"))
        except UserError:
            yield Damage(folder.name, checkpoint.parent, "holds a training whose checkpoint or metrics are damaged")


def _missing_books(run: Run, stage: str) -> Iterator[Damage]:
    """The inputs of a stage that has results; the figures of one that others have gone on from."""
    inputs, done = (run.folder / stage / name for name in (INPUTS, DONE))
    if not inputs.exists():
        yield Damage(stage, inputs, "is gone")
    if not done.exists() and any((run.folder / other / DONE).exists() for other in later(stage)):
        yield Damage(stage, done, "is gone")


def _quietly(run: Run, stage: str) -> list[tuple[Path, str]]:
    """The changed files of a stage whose books can be read."""
    try:
        return run.ledger.changed_files(stage)
    except DamagedFile:
        return []


def _of_table(run: Run, stage: str, table: Table) -> Iterator[Damage]:
    """Damaged, missing and foreign parts, and foreign files."""
    numbers = set()
    for part in table.parts():
        numbers.add(part_number(part))
        try:
            table.verify(part)
        except DamagedFile as damaged:
            yield Damage(stage, part, damaged.fault)
    stated = _stated_parts(run, stage, table)
    for number in sorted(set(range(stated)) - numbers):
        yield Damage(stage, table.part(number), "is gone")
    for number in sorted(numbers - set(range(stated))) if stated else ():
        yield Damage(stage, table.part(number), "does not belong to the table")
    for path in sorted(table.folder.iterdir()) if table.folder.exists() else ():
        known = path.name in _SUBFOLDERS.get(stage, ()) if path.is_dir() else _OURS.fullmatch(path.name)
        if not known:
            yield Damage(stage, path, "does not belong to the run")


def _stated_parts(run: Run, stage: str, table: Table) -> int:
    """How many parts a table had when its stage was completed; 0 if it is not complete, or its books are damaged."""
    try:
        return run.ledger.stated_parts(stage, table)
    except DamagedFile:
        return 0


def _of_frames(run: Run) -> Iterator[Damage]:
    """Pictures of clips that are gone or changed."""
    for part in run.clips.parts():
        try:
            rows = list(run.clips.rows_of(part))
        except DamagedFile:
            continue  # told already
        for row in rows:
            for drawn in row.value.frames if row.value is not None else ():
                if drawn.on_disk and drawn.digest:
                    try:
                        check_regular(drawn.image)
                        changed = digest(drawn.image.read_bytes()) != drawn.digest
                    except ValueError:
                        changed = True
                    except OSError:
                        yield Damage("animate", drawn.image, "is gone")
                        continue
                    if changed:
                        yield Damage("animate", drawn.image, "is not what was written")


def _with_consequences(run: Run, damage: Damage) -> list[Path]:
    """The damaged file with what has to be made again to have it back."""
    stage = run.folder / damage.stage
    if damage.stage == "animate" and damage.path.suffix == ".jpg":
        return [damage.path, *_parts_with(run, damage.path)]
    if damage.stage == "finetune" and damage.path.parent.parent == stage and run.recipe.validation is not None:
        return [damage.path.parent]  # the best weights are those of a step that is past
    if damage.path == stage:
        return []
    return [damage.path]


def _parts_with(run: Run, image: Path) -> list[Path]:
    """The part that a picture's clip is in."""
    for part in run.clips.parts():
        rows = run.clips.rows_of(part)
        if any(image == drawn.image for row in rows if row.value is not None for drawn in row.value.frames):
            return [part]
    return []
