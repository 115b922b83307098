"""Frames are judged as they are drawn: what is written, what is remembered, and what the filter may still change."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core import Component, Kind, SampleError, UserError, hookimpl
from posesyn_core.cli import main
from posesyn_core.contracts.engines import EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.batches import cpu_pass
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.files.images import load_image
from posesyn_core.inference.predict import predict
from posesyn_core.pipeline import animate, judging
from posesyn_core.pipeline.order import STAGES, with_engine
from posesyn_core.pipeline.run import Clip, Run, create_run, fork_run, open_run
from posesyn_core.pipeline.tables import Table, to_plain
from posesyn_core.pipeline.thresholds import chosen_filter, errors_by_filter, limit_of
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import ClipPlan, Image, LabelledFrame, PoseEstimate, Sample, Verdict
from tests.tiny import folder_data_set

Fork = Callable[..., Run]


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two motions, up to their synthesis."""
    recipe = folder_data_set(tmp_path_factory.mktemp("data"), people=6, part="lab")
    settings = ["animate.max_frames=5", "animate.frame_stride=9"]
    run = create_run(tmp_path_factory.mktemp("mined"), load_recipe(recipe, settings), Registry.discover())
    for stage in STAGES[: STAGES.index("animate")]:
        run_stage(run, stage)
    return run


def forked(mined: Run, folder: Path, *settings: str, registry: Registry | None = None) -> Run:
    """Another run that takes over the motions."""
    run = fork_run(mined, folder, load_recipe(mined.folder / "recipe.toml", settings))
    return run if registry is None else Run(run.folder, run.recipe, registry)


def errors_of(run: Run) -> list[float]:
    return [frame.verdict.error for frame in run.frames.values()]


@pytest.fixture(scope="module")
def whole(mined: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every frame written."""
    run = forked(mined, tmp_path_factory.mktemp("whole"), "animate.keep_dropped=true", "filter.tau=1")
    run_stage(run, "animate")
    run_stage(run, "filter")
    return run


@pytest.fixture(scope="module")
def middle(whole: Run) -> float:
    """A threshold that keeps some frames and drops others."""
    return round(float(np.median(errors_of(whole))), 1)


@pytest.fixture(scope="module")
def thrifty(mined: Run, middle: float, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Only what the filter keeps is written."""
    run = forked(mined, tmp_path_factory.mktemp("thrifty"), f"filter.tau={middle}")
    run_stage(run, "animate")
    return run


def copy_of(run: Run, folder: Path, *settings: str) -> Run:
    """The run opened in another folder, with its frames where they were."""
    shutil.copytree(run.folder, folder, ignore=lambda *_: {"filter"})
    return Run(folder, load_recipe(folder / "recipe.toml", settings), run.registry)


def files(run: Run) -> dict[str, bytes]:
    """What was drawn, but for what is set aside."""
    shown = (path for folder in run.folder.iterdir() if folder.name != ".superseded" for path in folder.rglob("*.jpg"))
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in shown}


def test_dropped_frames_are_not_written(whole: Run, thrifty: Run, middle: float) -> None:
    everything, kept = files(whole), files(thrifty)
    assert 0 < len(kept) < len(everything) == whole.require("animate")["frames"]
    assert kept.items() < everything.items()  # the same bytes
    said = {
        str(f.image.relative_to(thrifty.folder)) for clip in thrifty.clips.values() for f in clip.frames if f.on_disk
    }
    assert said == kept.keys()
    drawn = [frame for clip in thrifty.clips.values() for frame in clip.frames]
    assert all(frame.on_disk == frame.judgement.keep for frame in drawn)
    assert all(f.judgement.verdict is not None and (f.judgement.verdict.error <= middle) == f.on_disk for f in drawn)


def test_the_estimator_sees_what_the_disk_has(whole: Run) -> None:
    estimator = whole.create(Kind.ESTIMATOR, whole.recipe.estimator, "estimator")
    frames = [row.frame for row in whole.frames.values()]
    samples = [Sample(f.id, f.image, f.box, "smpl24", f.joints2d, f.confidence, f.camera) for f in frames]
    (again,) = predict(estimator, [samples])
    found = [frame.judgement.estimate for clip in whole.clips.values() for frame in clip.frames]
    assert len(again) == len(found)
    for one, other in zip(again, found, strict=True):
        assert other is not None
        np.testing.assert_array_equal(one.joints3d, other.joints3d)  # type: ignore[union-attr]
        np.testing.assert_array_equal(one.joints2d, other.joints2d)  # type: ignore[union-attr]


def test_the_filter_stage_runs_no_network(
    thrifty: Run, tmp_path: Path, middle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "predict", lambda *_, **__: pytest.fail("a network ran"))
    run = copy_of(thrifty, tmp_path / "run")
    figures = run_stage(run, "filter")
    assert figures["frames"] == thrifty.require("animate")["frames"] and figures["kept"] == len(files(thrifty))
    errors = errors_of(run)
    assert len(errors) == figures["frames"] and max(errors) > middle  # those of dropped frames as well


def test_a_smaller_threshold_needs_nothing_drawn(
    whole: Run, thrifty: Run, middle: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "predict", lambda *_, **__: pytest.fail("a network ran"))
    tau = f"filter.tau={middle - 1}"
    from_all, from_kept = (copy_of(run, tmp_path / name, tau) for run, name in ((whole, "all"), (thrifty, "kept")))
    figures = [run_stage(run, "filter") for run in (from_all, from_kept)]
    assert figures[0] == figures[1]
    assert errors_of(from_all) == errors_of(from_kept) == errors_of(whole)
    assert all(row.frame.image.is_file() for row in from_kept.frames.values() if row.verdict.keep)  # type: ignore[union-attr]


def test_a_larger_threshold_needs_the_dropped_frames(whole: Run, thrifty: Run, middle: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was dropped as it was drawn .* set animate.keep_dropped = true"):
        run_stage(copy_of(thrifty, tmp_path / "kept", f"filter.tau={2 * middle}"), "filter")
    assert run_stage(copy_of(whole, tmp_path / "all", "filter.tau=9999"), "filter")["kept"] == len(files(whole))


def test_animate_and_filter_are_commands_of_their_own(mined: Run, thrifty: Run, middle: float, tmp_path: Path) -> None:
    run = forked(mined, tmp_path / "run", f"filter.tau={middle}")
    for stage in ("animate", "filter"):
        main([stage, str(run.folder)])
    assert files(run) == files(thrifty)
    with pytest.raises(SystemExit, match="2"):
        main(["filter", str(run.folder), "--set", f"filter.tau={middle - 5}"])  # needs --restart
    main(["filter", str(run.folder), "--set", f"filter.tau={middle - 5}", "--restart", "filter"])
    run = open_run(run.folder, run.registry)
    assert run.require("filter")["kept"] == sum(error <= middle - 5 for error in errors_of(run))


def rows_of(run: Run) -> list[Any]:
    """The table's values without the folder that they lie in."""
    return [
        (row.unit, row.rejected, repr(to_plain(row.value)).replace(str(run.folder), "")) for row in run.clips.rows()
    ]


@pytest.mark.parametrize("machine", [("machine.workers=1", "machine.batch_size=3"), ("machine.workers=4",)])
def test_workers_and_batches_change_no_bit(
    mined: Run, thrifty: Run, middle: float, tmp_path: Path, machine: tuple[str, ...]
) -> None:
    run = forked(mined, tmp_path / "run", f"filter.tau={middle}", *machine)
    run_stage(run, "animate")
    assert files(run) == files(thrifty) and rows_of(run) == rows_of(thrifty)


def test_a_stage_that_was_stopped_ends_the_same(
    mined: Run, middle: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when the first part was written, and the frames of the second."""
    monkeypatch.setattr(animate.Clips, "part", 1)
    undisturbed = forked(mined, tmp_path / "undisturbed", f"filter.tau={middle}")
    run_stage(undisturbed, "animate")
    written = Table.write_part

    def power_cut(table: Table, number: int, rows: Sequence[Any], identity: str) -> None:
        if table.of is Clip and number == 1:
            raise KeyboardInterrupt
        written(table, number, rows, identity)

    with monkeypatch.context() as cut:
        cut.setattr(Table, "write_part", power_cut)
        with pytest.raises(KeyboardInterrupt):
            run_stage(forked(mined, tmp_path / "run", f"filter.tau={middle}"), "animate")
    run = forked(mined, tmp_path / "run", f"filter.tau={middle}")
    assert len(run.clips.parts()) == 1
    run_stage(run, "animate")
    assert files(run) == files(undisturbed) and rows_of(run) == rows_of(undisturbed)


def test_a_frame_that_another_filter_had_written_is_taken_away(
    mined: Run, thrifty: Run, middle: float, tmp_path: Path
) -> None:
    run = forked(mined, tmp_path / "run", "filter.tau=9999")
    run_stage(run, "animate")
    for part in run.clips.parts():  # as if it had been stopped before the table was written
        part.unlink()
    (run.folder / "animate/done.json").unlink()
    again = Run(run.folder, load_recipe(run.folder / "recipe.toml", [f"filter.tau={middle}"]), run.registry)
    run_stage(again, "animate")
    assert files(again) == files(thrifty)


@frozen
class Nothing:
    """No options."""


@frozen
class Threshold:
    least: float = 0.0


class Bright:
    """A filter that looks at the pictures."""

    def __init__(self, config: Threshold) -> None:
        self.config = config

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        light = [float(load_image(frame.image).mean()) for frame in frames]
        return [Verdict(value >= self.config.least, value) for value in light]


def with_bright() -> Registry:
    registry = Registry.discover()
    component = Component(Kind.FILTER, "bright", "", Bright, Threshold)
    plugin = SimpleNamespace(register_filters=hookimpl(lambda: [component]))
    registry.add(plugin, Origin("bright", "tests", "1"))
    return registry


def test_a_filter_may_look_at_pictures_while_they_are_there(mined: Run, tmp_path: Path) -> None:
    registry = with_bright()
    run = forked(mined, tmp_path / "run", "filter={name='bright', least=1000.0}", registry=registry)
    assert run_stage(run, "animate")["frames"] > 0
    assert not files(run)
    assert run_stage(run, "filter")["kept"] == 0
    assert all(0 < error < 255 for error in errors_of(run))

    shutil.rmtree(run.folder / "filter")
    changed = Run(run.folder, load_recipe(run.folder / "recipe.toml", ["filter.least=10.0"]), registry)
    with pytest.raises(UserError, match="can't judge frames that were not kept"):
        run_stage(changed, "filter")


def test_a_frame_must_pass_all_filters_and_the_table_has_what_each_says(mined: Run, tmp_path: Path) -> None:
    both = "filter=[{name='tpe_error', tau=9999.0}, {name='bright', label='light', least=1000.0}]"
    run = forked(mined, tmp_path / "run", both, "animate.keep_dropped=true", registry=with_bright())
    assert run_stage(run, "animate")["frames"] > 0
    assert run_stage(run, "filter")["kept"] == 0
    verdicts = [row.verdict for row in run.frames.values()]
    assert all([part.filter for part in verdict.parts] == ["tpe_error", "light"] for verdict in verdicts)
    assert all([part.keep for part in verdict.parts] == [True, False] for verdict in verdicts)
    assert all(verdict.error == verdict.parts[0].error for verdict in verdicts)
    assert all(0 < error < 255 for error in errors_by_filter(run)["light"])
    with pytest.raises(UserError, match="no threshold"):
        limit_of(run, chosen_filter(run, "light"))

    shutil.rmtree(run.folder / "filter")
    lower = ["filter.light.least=1.0"]
    changed = Run(run.folder, load_recipe(run.folder / "recipe.toml", lower), run.registry)
    assert run_stage(changed, "filter")["kept"] == len(verdicts)  # judged anew, on the frames that were kept on disk


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SampleError("out of memory for 5 frames"), "out of memory for 5 frames"),
        (torch.OutOfMemoryError("CUDA out of memory."), "OutOfMemoryError: CUDA out of memory."),
        (MemoryError(), "MemoryError: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_animator_without_memory_for_a_clip_loses_that_clip_alone(
    mined: Run, tmp_path: Path, error: Exception, reason: str
) -> None:
    class Hungry:
        def animate(self, plan: ClipPlan) -> Iterator[Image]:
            image = load_image(plan.reference.image)
            for number in range(len(plan.transl)):
                if plan.id == unlucky and number == 2:
                    raise error
                yield image

    registry = Registry.discover()
    component = Component(Kind.ANIMATOR, "hungry", "", lambda _: Hungry(), Nothing)
    registry.add(SimpleNamespace(register_animators=hookimpl(lambda: [component])), Origin("hungry", "tests", "1"))
    unlucky = f"{next(mined.motions.values()).id}@0"
    run = forked(mined, tmp_path / "run", "animator=hungry", registry=registry)
    figures = run_stage(run, "animate")
    assert figures["clips"] == 2 and figures["rejected"] == 1 and figures["frames"] == 5
    [(rejected, told)] = run.clips.rejections()
    assert rejected == unlucky and told.startswith(reason)
    assert run_stage(run, "filter")["frames"] == 5


def test_a_clip_of_one_frame(mined: Run, tmp_path: Path) -> None:
    run = forked(mined, tmp_path / "run", "animate.max_frames=1", "animate.smooth=2", "filter.tau=9999")
    assert run_stage(run, "animate")["frames"] == run_stage(run, "filter")["kept"] == 2
    assert len(files(run)) == 2


def test_clips_are_judged_before_all_are_drawn(mined: Run, tmp_path: Path) -> None:
    """Memory holds a few clips, however many there are."""
    begun: list[str] = []
    begun_at_verdicts: list[int] = []

    class Still:
        def animate(self, plan: ClipPlan) -> Iterator[Image]:
            begun.append(plan.id)
            yield from [load_image(plan.reference.image)] * len(plan.transl)

    class Counting:
        def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
            begun_at_verdicts.append(len(begun))
            return [Verdict(False, 1.0) for _ in frames]

    registry = Registry.discover()
    parts = {
        "register_animators": Component(Kind.ANIMATOR, "still", "", lambda _: Still(), Nothing),
        "register_filters": Component(Kind.FILTER, "counting", "", lambda _: Counting(), Nothing),
    }
    hooks = {name: hookimpl(lambda one=component: [one]) for name, component in parts.items()}
    registry.add(SimpleNamespace(**hooks), Origin("still", "tests", "1"))
    settings = ("synthesize.motions_per_sample=8", "animator=still", "filter=counting", "animate.max_frames=2")
    machine = ("machine.workers=1", "machine.batch_size=1")
    run = forked(mined, tmp_path / "run", *settings, *machine, registry=registry)
    run_stage(run, "synthesize")
    assert run_stage(run, "animate")["clips"] == 16
    assert begun_at_verdicts[0] < 8 and begun_at_verdicts[-1] == 16


def test_frames_are_judged_on_the_chosen_engine_in_batches(
    mined: Run, thrifty: Run, middle: float, tmp_path: Path
) -> None:
    sizes: list[int] = []
    wanted: set[int] = set()

    class Counting:
        """Eager torch that notes the batches it gets, and those that it should get."""

        def __init__(self, config: EngineConfig) -> None:
            self.config = config

        def load(self, module: ExportableModule) -> NetworkCall:
            inner = TorchEngine(self.config).load(module)
            wanted.add(cpu_pass(module))

            def call(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
                sizes.append(len(next(iter(tensors.values()))))
                return inner(tensors)

            return call

    registry = Registry.discover()
    engine = Component(Kind.ENGINE, "counting", "", Counting, EngineConfig)
    registry.add(SimpleNamespace(register_engines=hookimpl(lambda: [engine])), Origin("counting", "tests", "1"))
    run = forked(mined, tmp_path / "run", f"filter.tau={middle}", registry=registry)
    accelerated = Run(run.folder, with_engine(run.recipe, "animate", "counting", None), registry)
    accelerated = evolve(accelerated, recipe=evolve(accelerated.recipe, animator=run.recipe.animator))
    figures = run_stage(accelerated, "animate")
    frames = figures["frames"]
    assert set(sizes) == wanted and frames <= sum(sizes) <= frames + 32  # a few to try the engine
    assert files(run) == files(thrifty) and rows_of(run) == rows_of(thrifty)
