"""Label fidelity of what an animator drew, and the diversity of what was kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.cli import main
from posesyn_core.files.images import encode_jpeg
from posesyn_core.pipeline.diversity import diversity, without_duplicates
from posesyn_core.pipeline.export import export
from posesyn_core.pipeline.fidelity import measure, measured
from posesyn_core.pipeline.filter import filter_frames
from posesyn_core.pipeline.judging import label_frames
from posesyn_core.pipeline.run import HARD, Clip, DrawnFrame, FilteredFrame, Judgement, Run, Selected, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.report.fidelity import fidelity as section
from posesyn_core.values import ClipPlan, Image, ScoredSample, Verdict
from posesyn_reprojection.animator import ReprojectionAnimator
from posesyn_reprojection.config import ReprojectionConfig
from tests.plugins.posesyn_champ.conftest import plan_of
from tests.tiny import people

FRAMES = 3


@pytest.fixture(scope="module")
def plan() -> ClipPlan:
    return plan_of(people(4, "lab")[3], FRAMES)


@pytest.fixture(scope="module")
def drawn(plan: ClipPlan) -> list[Image]:
    return list(ReprojectionAnimator(ReprojectionConfig()).animate(plan))


def run_of(folder: Path, plan: ClipPlan, images: list[Image], *settings: str) -> Run:
    """A run with one clip, of which all frames are kept; the estimator sees the reference's pose everywhere."""
    run = create_run(folder, parse_recipe('dataset = "folder"', settings), Registry.discover())
    paths = [run.folder / "animate/frames/c" / f"{at:04d}.jpg" for at in range(len(images))]
    paths[0].parent.mkdir(parents=True)
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encode_jpeg(image))
    height, width = images[0].shape[:2]
    seen = Judgement(plan.reference_estimate)
    clip = Clip(plan, tuple(DrawnFrame(path, True, seen) for path in paths), width, height)
    run.clips.write_part(0, [Row(plan.id, clip)])
    run.selected.write_part(0, [Row("hard", _selected(plan))])
    frames = list(label_frames(plan, paths, width, height))
    kept = [FilteredFrame(plan.id, at, frame, Verdict(True, 1.0)) for at, frame in enumerate(frames)]
    run.frames.write_part(0, [Row(each.frame.id, each) for each in kept])
    for stage in ("score", "select", "caption", "synthesize", "animate", "filter"):
        run.finish(stage, {"frames": len(images)})
    return run


def _selected(plan: ClipPlan) -> Selected:
    estimate = plan.reference_estimate
    return Selected(HARD, 0, ScoredSample(plan.reference, 1.0, np.zeros(24), estimate))


def test_faithful_frames_are_told_from_others(
    plan: ClipPlan, drawn: list[Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faithful = run_of(tmp_path / "faithful", plan, drawn)
    mirrored = run_of(tmp_path / "mirrored", plan, [np.ascontiguousarray(image[:, ::-1]) for image in drawn])
    good, bad = (measure(run, "blazepose") for run in (faithful, mirrored))
    assert [part.name for part in good.parts] == ["shoulders", "elbows", "wrists", "hips", "knees", "ankles", "all"]
    assert good.frames == bad.frames == FRAMES and good.animator == "reprojection"
    assert good.parts[-1].median < 12 < bad.parts[-1].median
    assert good.parts[-1].lost < 0.2 < bad.parts[-1].lost
    assert good.identity < 10 and 0.3 < good.sharpness < 3
    assert measured(faithful) == [good] and json.loads((faithful.folder / "fidelity/blazepose.json").read_text())
    blurred = run_of(tmp_path / "grey", plan, [np.full_like(image, 128) for image in drawn])
    assert measure(blurred, "blazepose").sharpness < 0.1

    told = section(faithful)
    assert told["measured"] == [good] and told["diversity"].frames == FRAMES and "<svg" in told["map"]
    main(["fidelity", str(faithful.folder), str(mirrored.folder), "--every", "2", "--set", "weights=lite"])
    printed = capsys.readouterr().out
    assert "faithful" in printed and "mirrored" in printed and "wrists" in printed


def test_near_duplicates_are_left_out_of_exports(plan: ClipPlan, drawn: list[Image], tmp_path: Path) -> None:
    same = evolve(plan, **{name: np.repeat(getattr(plan, name)[:1], FRAMES, axis=0) for name in (
        "global_orient", "body_pose", "transl", "joints3d", "joints2d"
    )})  # fmt: skip
    settings = ("export.formats=['coco']",)
    run = run_of(tmp_path / "all", same, drawn, *settings)
    assert export(run)["frames"] == FRAMES
    found = diversity(run)
    assert found is not None and (found.frames, found.different, found.covered) == (FRAMES, 1, 1.0)
    capped = run_of(tmp_path / "capped", same, drawn, *settings, "export.most_alike=1")
    figures = export(capped)
    assert figures["frames"] == 1 and figures["near_duplicates"] == FRAMES - 1
    assert [frame.id for frame in without_duplicates(capped, 30, 2)] == [f"{plan.id}/{at:04d}" for at in range(2)]


def test_a_frame_must_pass_all_filters(plan: ClipPlan, drawn: list[Image], tmp_path: Path) -> None:
    both = "filter=[{name='tpe_error', tau=1e9}, {name='keypoint_agreement', judge='blazepose'}]"
    run = run_of(tmp_path / "run", plan, [drawn[0], np.ascontiguousarray(drawn[1][:, ::-1]), drawn[2]], both)
    figures = filter_frames(run)
    assert (figures["kept"], figures["dropped"]) == (2, 1)
    (reason,) = figures["drop_reasons"]
    assert reason.startswith("keypoint_agreement: lost: ") and "(" not in reason
    mirrored = list(run.frames.values())[1].verdict
    assert [(part.filter, part.keep) for part in mirrored.parts] == [("tpe_error", True), ("keypoint_agreement", False)]
    assert mirrored.error == mirrored.parts[0].error and "of the height off" in mirrored.reason
    # the first frame's pose is the reference's own, which the estimator sees everywhere
    strict = run_of(tmp_path / "strict", plan, drawn, both.replace("1e9", "0.001"))
    assert filter_frames(strict)["drop_reasons"] == {"tpe_error: 3D error … mm exceeds tau = … mm": FRAMES - 1}
