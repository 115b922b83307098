"""The paper's runs in miniature: the recipes themselves, with nothing replaced but places and sizes, on stand-ins."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.cli.experiment import _columns
from posesyn_core.components import Kind
from posesyn_core.contracts.worlds import World
from posesyn_core.experiments.runner import Laboratory, Result, run_experiment
from posesyn_core.experiments.tables import CONTROL, table1
from posesyn_core.files.images import load_image
from posesyn_core.pipeline.export import kept_frames
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run, open_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from tests import standins
from tests.onnx_graphs import keypoint_graph
from tests.plugins.posesyn_wan.conftest import save_folder

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = (
    *("machine.device=cpu", "machine.workers=2", "machine.processes=1", "machine.batch_size=8"),
    *("score.hard=1", "score.easy=2", "synthesize.max_frames=28", "animate.frame_stride=14"),
    *("animate.max_residual_mm=9999", "filter.tau=99999"),  # of networks that know nothing
    *("animator.width=64", "animator.height=64", "animator.steps=1", "motion.heads=5"),
    *("finetune.steps=2", "finetune.batch_size=2", "captioner.max_tokens=8"),
    *("captioner.model=data/llava", "motion.clip=data/clip"),
)
SETS = ("3DPW", "EMDB", "CMU 171204", "CMU 171026", "HuMMan", "LSPET", "JHMDB")


def laboratory(name: str, folder: Path) -> Laboratory:
    recipe = (EXAMPLES / f"paper-{name}.toml").read_text()
    return Laboratory(World(recipe), folder / "out", Registry.discover(), lambda *_: None, SIZES)


def posed_by(run: Run) -> float:
    """How far (mm) the joints of labels are from those of the same parameters on the estimator's own body."""
    body = run.create(Kind.ESTIMATOR, run.recipe.estimator, "estimator").body
    worst = 0.0
    for frame in kept_frames(run):
        assert frame.smpl is not None and frame.joints3d is not None
        smpl = frame.smpl
        given = (torch.tensor(a[None]) for a in (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl))
        with torch.inference_mode():
            joints = body.joints(*given)[0].numpy()
        worst = max(worst, 1000 * float(np.abs(joints - joints[:1] - frame.joints3d).max()))
    return worst


@pytest.fixture
def data(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recipes look for everything; what all three name is there."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    smpl = standins.write_smpl(data / "smpl")
    standins.write_mpii(data / "mpii", shared)
    standins.write_generators(data)
    standins.write_test_sets(data)
    standins.write_checkpoint("hmr2", places("hmr2")["estimator"], smpl)
    return data


def places(name: str) -> dict[str, Path]:
    """The weight files that a recipe names, by section."""
    recipe = tomllib.loads((EXAMPLES / f"paper-{name}.toml").read_text())
    return {section: Path(recipe[section]["weights"]) for section in ("estimator", "reference") if section in recipe}


def miniature(name: str, folder: Path, *settings: str) -> tuple[Run, dict[str, Result]]:
    """Table 1 of a recipe: the run of the paper's method, and the rows by name."""
    known = laboratory(name, folder)
    results = run_experiment(table1(name), evolve(known, settings=(*known.settings, *settings)), [0])
    run = open_run(folder / "out/seed-0/ours", known.registry)
    check_table({result.row.name: result for result in results}, run)
    assert posed_by(run) < 0.1
    clip = next(iter(run.clips.values()))
    assert clip.width == clip.height  # the reference was cropped about the person, not squashed
    return run, {result.row.name: result for result in results}


@pytest.mark.slow
def test_the_papers_run_for_hmr2(data: Path, tmp_path: Path) -> None:
    recipe = tomllib.loads((EXAMPLES / "paper-hmr2.toml").read_text())
    names = [Path(real["path"]).name for real in recipe["real"]]
    standins.write_hmr2_training(data / "4dhumans/hmr2_training_data", names)
    run, _ = miniature("hmr2", tmp_path)
    mixture = run.require("finetune")["mixture"]
    assert mixture == pytest.approx({"h36m": 0.1, "mpii": 0.1, "coco14": 0.1, "coco14-vitpose": 0.1,
                                     "mpi-inf-3dhp": 0.02, "ava": 0.19, "aic": 0.19, "insta": 0.2})  # fmt: skip
    assert run.require("finetune")["learning_rate"] == 1e-5


@pytest.mark.slow
def test_the_papers_run_for_hybrik(data: Path, tmp_path: Path, shared: Path) -> None:
    standins.write_checkpoint("hybrik", places("hybrik")["estimator"], data / "smpl/SMPL_NEUTRAL.pkl")
    standins.write_hybrik_training(data, shared)
    run, _ = miniature("hybrik", tmp_path)
    assert run.require("finetune")["mixture"] == pytest.approx({"h36m": 0.4, "coco": 0.5, "3dhp": 0.1})
    assert run.require("finetune")["learning_rate"] == 1e-4


@pytest.mark.slow
def test_the_papers_run_for_crowdnet(data: Path, tmp_path: Path, shared: Path) -> None:
    standins.write_checkpoint("crowdnet", places("crowdnet")["estimator"], data / "smpl/SMPL_NEUTRAL.pkl")
    standins.write_crowdnet_training(data / "3dcrowdnet/data", shared)
    (data / "rtmpose").mkdir()
    mix = np.random.default_rng(0).normal(size=(17, 3))  # each joint where another colour is brightest
    keypoint_graph(data / "rtmpose/end2end.onnx", "simcc", joints=17, mix=mix)
    run, _ = miniature("crowdnet", tmp_path)
    assert "note" not in run.require("animate")  # its 2D input is detected, never the label
    mixture = run.require("finetune")["mixture"]
    assert mixture["human36m"] + mixture["muco"] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("animator", ["wan_animate", "wan_vace"])
def test_another_animator_is_one_key(data: Path, tmp_path: Path, animator: str) -> None:
    """The paper's recipe with the animator's name alone replaced, and where it looks for weights the other's folder."""
    standins.write_hmr2_training(data / "4dhumans/hmr2_training_data", ["h36m-train"])
    shutil.rmtree(data / "champ")
    save_folder(data / "champ", animator.removeprefix("wan_"))
    recipe = load_recipe(EXAMPLES / "paper-hmr2.toml", (*SIZES, f"animator.name={animator}"))
    run = create_run(tmp_path / "run", recipe, Registry.discover())
    for stage in STAGES[: STAGES.index("filter") + 1]:
        run_stage(run, stage)
    (clip,) = run.clips.values()
    for frame in clip.frames:
        assert load_image(frame.image).shape == (clip.height, clip.width, 3)
    assert len(list(kept_frames(run))) == len(clip.frames) == 2
    assert posed_by(run) < 0.1


def check_table(results: dict[str, Result], run: Run) -> None:
    """The row of the paper's method beside its baselines, every set in it, and the report."""
    assert {"Real-only (as downloaded)", CONTROL, "Ours"} <= {name for name, r in results.items() if not r.missing}
    ours = results["Ours"]
    assert list(ours.figures[0]) == [*SETS, "Mean"]
    assert all("mpjpe" in ours.figures[0][name] for name in SETS[:5])
    assert all("pckh" in ours.figures[0][name] for name in SETS[5:])
    columns = dict.fromkeys(name for name, _ in _columns([ours]))
    assert list(columns) == [*SETS[:5], "Mean", *SETS[5:]]
    assert ours.notes == {}
    assert ours.figures[0]["3DPW"] != results["Real-only (as downloaded)"].figures[0]["3DPW"]
    assert "PA-MPJPE" in (run.folder / "report.html").read_text()
