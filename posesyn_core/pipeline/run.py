"""The run directory: what a run consists of on disk, and how it is opened, resumed and started over.

Layout::

    recipe.toml         the resolved recipe
    <stage>/NNNNNN.parquet, <stage>/done.json      a table in parts, and the stage's figures once it is complete
    animate/references/NNNNNN.parquet              the bodies of the reference people
    animate/frames/<clip>/NNNN.jpg                 the synthesised frames that the filter kept
    export/<format>/...  finetune/<variant>/...    files for trainers, and what training left
    previews/...        strips and films of clips, where ``posesyn preview`` was asked for them
    rejected.parquet    every rejected unit of every stage, with the reason
    report.html         everything, to look at
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from attrs import frozen

from posesyn_core.components import Kind, SplitEstimator
from posesyn_core.engines.batches import load_network
from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, remove_partials, write_atomic
from posesyn_core.pipeline.order import STAGE_OF_SECTION, STAGES, without_engines
from posesyn_core.pipeline.tables import Table
from posesyn_core.progress import tell
from posesyn_core.recipe import Choice, EngineChoice, Machine, Recipe, load_recipe, unstructure
from posesyn_core.registry import Registry
from posesyn_core.values import ClipPlan, LabelledFrame, Motion, PoseEstimate, ScoredSample, Verdict

if TYPE_CHECKING:
    from posesyn_core.engines.batches import LoadedNetwork
    from posesyn_core.inference.verification import Agreement

HARD, EASY = "hard", "easy"


@frozen
class Selected:
    """A hard or an easy sample with its place in the ranking (0 = hardest, or easiest).

    ``whole`` is the estimate completed to a whole SMPL pose, with the residual of the fit; None if it is one itself.
    """

    role: str
    rank: int
    scored: ScoredSample
    whole: PoseEstimate | None = None

    @property
    def pose(self) -> PoseEstimate:
        """The estimate as a whole SMPL pose."""
        return self.whole or self.scored.estimate


@frozen
class Captioned:
    """A hard sample's description."""

    sample_id: str
    caption: str


@frozen
class Judgement:
    """What was found of a frame: the estimate and the filter's verdict, or the ``fault`` for which there is none."""

    estimate: PoseEstimate | None = None
    verdict: Verdict | None = None
    fault: str | None = None

    @property
    def keep(self) -> bool:
        """Whether the filter keeps the frame."""
        return self.verdict is not None and self.verdict.keep


@frozen
class DrawnFrame:
    """A frame of a clip: where its image stands (if it is ``on_disk``: dropped ones are written only where the recipe
    says ``animate.keep_rejected``), and how it was judged as it was drawn."""

    image: Path
    on_disk: bool
    judgement: Judgement


@frozen
class Clip:
    """A drawn plan.

    ``filter`` is what judged its frames (a component with its options, as JSON); ``guidance`` names the maps that led
    the animator.
    """

    plan: ClipPlan
    frames: tuple[DrawnFrame, ...]
    width: int
    height: int
    filter: str = ""
    guidance: tuple[str, ...] = ()


@frozen
class FilteredFrame:
    """A synthesised frame with the filter's verdict."""

    clip: str
    index: int
    frame: LabelledFrame
    verdict: Verdict


def _accept(choice: Choice, precision: str, agreement: "Agreement") -> None:
    name = f"engine {choice.engine.name!r} ({precision}) for {choice.name!r}"
    agreement.require(name)
    tell(f"{name}: {agreement.text}")


def _section(where: str) -> str:
    return f"recipe section [{where}]"


@frozen
class Run:
    """One run directory with its recipe and the plugins at hand."""

    folder: Path
    recipe: Recipe
    registry: Registry

    @property
    def scored(self) -> Table[ScoredSample]:
        return Table(self.folder / "score", ScoredSample)

    @property
    def selected(self) -> Table[Selected]:
        return Table(self.folder / "select", Selected)

    @property
    def captions(self) -> Table[Captioned]:
        return Table(self.folder / "caption", Captioned)

    @property
    def motions(self) -> Table[Motion]:
        return Table(self.folder / "synthesize", Motion)

    @property
    def references(self) -> Table[PoseEstimate]:
        return Table(self.folder / "animate" / "references", PoseEstimate)

    @property
    def clips(self) -> Table[Clip]:
        return Table(self.folder / "animate", Clip)

    @property
    def frames(self) -> Table[FilteredFrame]:
        return Table(self.folder / "filter", FilteredFrame)

    def tables(self) -> Mapping[str, Table[Any]]:
        """The tables by stage; ``reference`` is a step of ``animate``."""
        return {
            "score": self.scored,
            "select": self.selected,
            "caption": self.captions,
            "synthesize": self.motions,
            "reference": self.references,
            "animate": self.clips,
            "filter": self.frames,
        }

    def of_role(self, role: str) -> list[Selected]:
        """The hard or the easy samples, by rank."""
        return sorted((s for s in self.selected.values() if s.role == role), key=lambda s: s.rank)

    def create(self, kind: Kind, choice: Choice, where: str) -> Any:
        """Make the component of a recipe section, with the run's body file and device unless it names its own.

        The device "cpu" is not passed on: it is every component's own default, but for engines that need a GPU.
        """
        options = dict(choice.options)
        fields = attrs.fields_dict(self.registry.find(kind, choice.name).component.config)
        device = self.recipe.machine.device
        for name, shared in (("body", self.recipe.body), ("device", "" if device == Machine().device else device)):
            if name in fields and shared:
                options.setdefault(name, shared)
        return self.registry.create(kind, choice.name, options, _section(where))

    def check(self) -> None:
        """UserError if a component of the recipe is unknown, lacks something, or has wrong options; makes nothing."""
        for kind, choice, where in self.recipe.choices():
            self.registry.check(kind, choice.name, choice.options, _section(where))

    def network(self, choice: Choice, estimator: Any, where: str) -> "LoadedNetwork | None":
        """The estimator's network on the engine that the recipe chose; None for an estimator in one piece.

        UserError if that engine's joints are not those of eager torch (``posesyn_core.inference.verification``).
        """
        from posesyn_core.inference import verification
        from posesyn_core.inference.predict import exportable

        if not isinstance(estimator, SplitEstimator):
            if choice.engine != EngineChoice():
                raise UserError(f"the estimator {choice.name!r} has no network of its own: remove [{where}.engine]")
            return None
        engine = self.create(Kind.ENGINE, choice.engine.choice, f"{where}.engine")
        network = load_network(engine, exportable(choice.name, estimator))
        if choice.engine != EngineChoice():
            precision, tolerance = engine.config.precision, choice.engine.tolerance
            _accept(choice, precision, verification.verify_estimator(estimator, network, precision, tolerance))
        return network

    def accelerate(self, choice: Choice, component: Any, where: str) -> None:
        """Let a motion generator or an animator use the engine that the recipe chose, if it chose any.

        UserError if it has no networks, or if the engine's results are not those of eager torch.
        """
        if choice.engine == EngineChoice():
            return
        from posesyn_core.inference import verification

        networks = verification.networks_of(choice.name, component)
        engine = self.create(Kind.ENGINE, choice.engine.choice, f"{where}.engine")
        calls, precision = verification.load(networks, engine), engine.config.precision
        agreement = verification.verify_accelerated(component, networks, calls, precision, choice.engine.tolerance)
        _accept(choice, precision, agreement)

    def summary(self, stage: str) -> dict[str, Any] | None:
        """The figures of a finished stage; None if it is not complete."""
        try:
            return json.loads((self.folder / stage / "done.json").read_text())
        except FileNotFoundError:
            return None

    def finish(self, stage: str, summary: Mapping[str, Any]) -> None:
        """Mark a stage complete."""
        write_atomic(self.folder / stage / "done.json", json.dumps(summary, indent=1, sort_keys=True) + "\n")

    def require(self, stage: str) -> dict[str, Any]:
        """The figures of a stage that must be complete; UserError naming the command that makes it so."""
        summary = self.summary(stage)
        if summary is None:
            raise UserError(
                f"the stage {stage!r} is not complete in {str(self.folder)!r}; "
                f"run `posesyn {stage} {self.folder}` first, or `posesyn run` for everything"
            )
        return summary


def create_run(folder: Path, recipe: Recipe, registry: Registry, restart: str | None = None) -> Run:
    """Open ``folder`` as a run of ``recipe``: a new one, or one to go on with.

    ``restart`` names a stage: what it and the later ones have made is deleted first. Raises UserError if the folder
    can't be written, holds something else, or holds a run of another recipe (naming the keys that differ).
    """
    folder = folder.absolute()  # the tables hold paths below it
    recipe_file = folder / "recipe.toml"
    if folder.exists() and not recipe_file.exists() and any(folder.iterdir()):
        raise UserError(f"{str(folder)!r} is not empty and not a run; choose another --run folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
        if recipe_file.exists():
            if restart is not None:
                _delete_from(folder, restart)
            _check_same(folder, load_recipe(recipe_file), recipe, restart)
        write_atomic(recipe_file, tomli_w.dumps(unstructure(recipe)))
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise UserError(
            f"run folder {str(folder)!r} can't be written: {error.strerror}; choose another --run"
        ) from error
    return Run(folder, recipe, registry)


def open_run(folder: Path, registry: Registry) -> Run:
    """Open an existing run; UserError if there is none."""
    if not (folder / "recipe.toml").is_file():
        raise UserError(f"{str(folder)!r} is not a run (it has no recipe.toml); start one with `posesyn run RECIPE`")
    return Run(folder.absolute(), load_recipe(folder / "recipe.toml"), registry)


def fork_run(source: Run, folder: Path, recipe: Recipe) -> Run:
    """A run of ``recipe`` in ``folder`` that takes over the stages of ``source`` that the two recipes share.

    Files are linked where the disk allows it, else copied; the frames themselves stay in ``source``. An existing run
    in ``folder`` is opened as :func:`create_run` does.
    """
    if (folder / "recipe.toml").exists():
        return create_run(folder, recipe, source.registry)
    before, after = unstructure(source.recipe), unstructure(recipe)
    differing = [
        STAGES.index(STAGE_OF_SECTION[section])
        for section in (before.keys() | after.keys()) - {"machine", "name"}
        if before.get(section) != after.get(section)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES[: min(differing, default=len(STAGES))]:
        if source.summary(stage) is not None:
            shutil.copytree(source.folder / stage, folder / stage, copy_function=_link, ignore=_only_tables)
    write_atomic(folder / "recipe.toml", tomli_w.dumps(unstructure(recipe)))
    return create_run(folder, recipe, source.registry)


def _link(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _only_tables(folder: str, names: list[str]) -> set[str]:
    """The clips' frames: a table names them by their place in the run that drew them."""
    return {"frames"} & set(names) if Path(folder).name == "animate" else set()


def _delete_from(folder: Path, stage: str) -> None:
    for later in STAGES[STAGES.index(stage) :]:
        away = folder / f".deleted-{later}-{os.getpid()}"  # at once: a stage is whole or gone
        with contextlib.suppress(FileNotFoundError):  # not there, or another process of a shared training was first
            (folder / later).rename(away)
            shutil.rmtree(away)
    if STAGES.index(stage) <= STAGES.index("animate"):
        shutil.rmtree(folder / "previews", ignore_errors=True)
    (folder / "report.html").unlink(missing_ok=True)


def _check_same(folder: Path, old: Recipe, new: Recipe, restart: str | None) -> None:
    """UserError if a key differs that finished work depends on."""
    before, after = without_engines(unstructure(old)), without_engines(unstructure(new))
    for section in sorted((before.keys() | after.keys()) - {"machine"}):
        if before.get(section) == after.get(section):
            continue
        stage = STAGE_OF_SECTION[section]
        begun = any((folder / s).exists() for s in STAGES[STAGES.index(stage) :])
        if begun:
            raise UserError(
                f"the recipe's {_differing(section, before.get(section), after.get(section))} differs from the run in "
                f"{str(folder)!r}; use another --run folder, or --restart {stage} to do that and all later stages again"
            )


def _differing(section: str, before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        key = next(k for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k))
        return f"key '{section}.{key}' ({before.get(key)!r} -> {after.get(key)!r})"
    return f"key {section!r} ({before!r} -> {after!r})"


def write_rejected(run: Run) -> int:
    """Gather the rejections of all stages in ``rejected.parquet``; return how many there are."""
    found = [(stage, unit, reason) for stage, table in run.tables().items() for unit, reason in table.rejections()]
    columns = dict(zip(("stage", "unit", "reason"), zip(*found, strict=True), strict=True)) if found else {}
    schema = pa.schema([("stage", pa.string()), ("unit", pa.string()), ("reason", pa.string())])
    rows = pa.table({name: list(columns.get(name, ())) for name in schema.names}, schema=schema)
    with atomic_path(run.folder / "rejected.parquet") as temporary:
        pq.write_table(rows, temporary)
    return len(found)
