"""The run directory: what a run consists of on disk, and how it is opened, resumed and started over.

Layout::

    recipe.toml         the resolved recipe
    body.json, body.npz which body the run's is; the latter where the estimator's checkpoint brings one of its own
    <stage>/inputs.json, <stage>/done.json         what the stage is made from, and its figures once it is complete
    <stage>/NNNNNN.parquet                         a table in parts
    animate/references/NNNNNN.parquet              the bodies of the reference people
    animate/squares/NNNN.png                       the squares cut out of reference photographs
    animate/frames/<clip>/NNNN.jpg                 the synthesised frames that the filter kept
    export/<format>/...  finetune/<variant>/...    files for trainers, and what training left
    previews/... motions/...    strips and films of clips, motions for other programs, where such were asked for
    rejected.parquet    every rejected unit of every stage, with the reason
    report.html         everything, to look at
    .superseded/...     what other settings have taken the place of
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import tomli_w
from attrs import frozen

from posesyn_core.components import Kind, SplitEstimator
from posesyn_core.contracts.sections import Machine
from posesyn_core.engines.batches import load_network
from posesyn_core.errors import UserError
from posesyn_core.files.paths import remove_partials
from posesyn_core.files.remote import on_disk
from posesyn_core.parallel.processes import process_place
from posesyn_core.pipeline.bodies import RECORD, Bodies
from posesyn_core.pipeline.ledger import Ledger
from posesyn_core.pipeline.locks import opening_lock
from posesyn_core.pipeline.order import RECIPE, STAGES, differences, later, settings_of
from posesyn_core.pipeline.people import Reference
from posesyn_core.pipeline.preflight import complaint, lacks
from posesyn_core.pipeline.programs import programs_of, require_approval
from posesyn_core.pipeline.recipes import recipe_of, write_recipe
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Table
from posesyn_core.pipeline.verdicts import columns
from posesyn_core.progress import tell
from posesyn_core.recipe import Choice, EngineChoice, Recipe, load_recipe, unstructure
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
    says ``animate.keep_dropped``), and how it was judged as it was drawn."""

    image: Path
    on_disk: bool
    judgement: Judgement
    digest: str = ""
    """The checksum of the image's file, where it is on disk."""


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
    def references(self) -> Table[Reference]:
        return Table(self.folder / "animate" / "references", Reference)

    @property
    def clips(self) -> Table[Clip]:
        return Table(self.folder / "animate", Clip)

    @property
    def frames(self) -> Table[FilteredFrame]:
        several = [choice.label for choice in self.recipe.filters] if len(self.recipe.filters) > 1 else []
        return Table(self.folder / "filter", FilteredFrame, tuple(columns(several)))

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
        return sorted(self.stream_of_role(role), key=lambda s: s.rank)

    def stream_of_role(self, role: str) -> Iterator[Selected]:
        """The same one by one, in the order of the table, which ``select`` writes by rank."""
        return (selected for selected in self.selected.values() if selected.role == role)

    def create(self, kind: Kind, choice: Choice, where: str) -> Any:
        """Make the component of a recipe section, with the run's body file and device unless it names its own.

        The device "cpu" is not passed on: it is every component's own default, but for engines that need a GPU.
        UserError if it starts a program that the user has not approved, or must pose the run's body and poses another.
        """
        options = dict(choice.options)
        fields = attrs.fields_dict(self.registry.find(kind, choice.name).component.config)
        if "device" in fields and self.recipe.machine.device != Machine().device:
            options.setdefault("device", self.recipe.machine.device)
        if "body" in fields and "body" not in options and (file := self.bodies.file_for(kind, choice, where)):
            options["body"] = str(file)
        config = self.registry.check(kind, choice.name, options, f"recipe section [{where}]")
        require_approval(programs_of(config, self.registry, where))
        component = self.registry.create(kind, choice.name, options, f"recipe section [{where}]")
        self.bodies.check(component, kind, choice, where)
        return component

    @property
    def bodies(self) -> Bodies:
        """Which body the run has: that of the estimator that is trained."""
        return Bodies(self.folder, self.recipe, lambda: self.create(Kind.ESTIMATOR, self.recipe.estimator, "estimator"))

    def check(self, stages: Collection[str] | None = None) -> None:
        """UserError naming everything that ``stages`` need and that is not there; makes nothing.

        Without ``stages``: those that are still to be done.
        """
        open_stages = [stage for stage in STAGES[:-1] if self.summary(stage) is None] if stages is None else stages
        found = lacks(self.recipe, self.registry, self.folder, open_stages)
        if found:
            raise UserError(complaint(found))

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

    @property
    def ledger(self) -> Ledger:
        """Which stages are complete, and what they were made from."""
        tables: dict[str, Sequence[Table[Any]]] = {s: (t,) for s, t in self.tables().items() if s != "reference"}
        return Ledger(self.folder, self.recipe, {**tables, "animate": (self.references, self.clips)})

    def settings(self, stage: str) -> dict[str, Any]:
        """What a stage's results depend on in the recipe."""
        return settings_of(self.recipe, stage)

    def summary(self, stage: str) -> dict[str, Any] | None:
        """The figures of a finished stage; None if it is not complete, or was made from something else."""
        return self.ledger.figures(stage)

    def begin(self, stage: str) -> None:
        """Open the books of a stage; results of other inputs are set aside, and the user is told."""
        place = self.ledger.begin(stage)
        if place is not None:
            tell(f"{stage}: what it is made from has changed; it is done again, the old results lie in {str(place)!r}")

    def finish(self, stage: str, summary: Mapping[str, Any]) -> None:
        """Mark a stage complete."""
        self.ledger.finish(stage, summary)

    def require(self, stage: str) -> dict[str, Any]:
        """The figures of a stage that must be complete.

        UserError naming the command that makes it so, or what of its results is damaged.
        """
        summary = self.summary(stage)
        if summary is None:
            raise UserError(
                f"the stage {stage!r} is not complete in {str(self.folder)!r}; "
                f"run `posesyn {stage} {self.folder}` first, or `posesyn run` for everything"
            )
        self.ledger.verify(stage)
        return summary


def create_run(folder: Path, recipe: Recipe, registry: Registry, restart: str | None = None) -> Run:
    """Open ``folder`` as a run of ``recipe``: a new one, or one to go on with.

    ``restart`` names a stage that is to be done again: what it has made is set aside first, and the later stages will
    be done again as far as what they are made from comes out otherwise. Raises UserError if the folder can't be
    written, holds something else, is worked on by another process, or holds a run of another recipe (naming the keys
    that differ), or if what that stage needs is not there. If it refuses later, ``run_lock`` puts everything back.
    """
    folder = on_disk(folder).absolute()  # the tables hold paths below it
    recipe_file = folder / RECIPE
    if process_place()[0] > 0:  # torchrun: the first process sees to the folder
        return Run(folder, recipe, registry)
    if folder.exists() and not recipe_file.exists() and any(path.name[0] != "." for path in folder.iterdir()):
        raise UserError(f"{str(folder)!r} is not empty and not a run; choose another --run folder")
    with opening_lock(folder) as alone:
        if alone:
            remove_partials(folder)
        elif restart is not None:
            raise UserError("a shard restarts nothing: restart the stage in one process first")
        if recipe_file.exists():
            _check_same(folder, load_recipe(recipe_file), recipe, restart)
            if restart is not None:
                Run(folder, recipe, registry).check([restart])
                _set_aside(folder, restart)
        write_recipe(folder, tomli_w.dumps(unstructure(recipe)))
    return Run(folder, recipe, registry)


def open_run(folder: Path, registry: Registry) -> Run:
    """Open an existing run; UserError if there is none."""
    if not (on_disk(folder) / RECIPE).is_file():
        raise UserError(f"{str(folder)!r} is not a run (it has no recipe.toml); start one with `posesyn run RECIPE`")
    return Run(folder.absolute(), recipe_of(folder), registry)


def fork_run(source: Run, folder: Path, recipe: Recipe) -> Run:
    """A run of ``recipe`` in ``folder`` that takes over the stages of ``source`` that the two recipes share.

    Files are linked where the disk allows it, else copied; the frames themselves stay in ``source``. An existing run
    in ``folder`` is opened as :func:`create_run` does.
    """
    if (folder / RECIPE).exists():
        return create_run(folder, recipe, source.registry)
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES[: STAGES.index(_first_affected(source.recipe, recipe) or STAGES[-1])]:
        if source.summary(stage) is not None:
            shutil.copytree(source.folder / stage, folder / stage, copy_function=_link, ignore=_only_tables)
    write_recipe(folder, tomli_w.dumps(unstructure(recipe)))
    return create_run(folder, recipe, source.registry)


def _link(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _only_tables(folder: str, names: list[str]) -> set[str]:
    """The clips' pictures: a table names them by their place in the run that drew them."""
    return {"frames", "squares"} & set(names) if Path(folder).name == "animate" else set()


def _first_affected(before: Recipe, after: Recipe) -> str | None:
    """The first stage that comes out otherwise under another recipe."""
    affected = {stage for *_, stages in differences(before, after) for stage in stages}
    return next((stage for stage in STAGES if stage in affected), None)


def _set_aside(folder: Path, stage: str) -> None:
    """Make room for a stage to be done again, and tell what that means for others."""
    derived = ["previews"] if STAGES.index(stage) <= STAGES.index("animate") else []
    if stage == STAGES[0]:  # the estimator's weights may be others by now, in the same place
        derived.append(RECORD)
    place = set_aside(folder, [folder / name for name in (stage, *derived, "report.html")])
    if place is None:
        return
    others = [other for other in later(stage) if (folder / other).exists()]
    tell(f"what {stage} had made lies in {str(place)!r} (`posesyn superseded {folder}` lists, restores, deletes)")
    if others:
        tell(
            f"kept, and done again (the old results then set aside) where they are made from something that comes out "
            f"otherwise: {', '.join(others)}"
        )


def _check_same(folder: Path, old: Recipe, new: Recipe, restart: str | None) -> None:
    """UserError if a key differs that work depends on which is there and is not to be done again."""
    for name, before, after, stages in differences(old, new):
        stage = next((stage for stage in stages if (folder / stage).exists()), None)
        if stage is not None and (restart is None or STAGES.index(restart) > STAGES.index(stage)):
            raise UserError(
                f"the recipe's key {name!r} ({before!r} -> {after!r}) differs from the run in {str(folder)!r}; "
                f"use another --run folder, or --restart {stage} to do that stage again and whatever follows from it "
                "(old results are set aside)"
            )
