"""A run's motions as files: which files there are, and that each holds its motion."""

from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch

from posesyn_core import Camera, Motion, PoseEstimate, Sample, SmplParams, UserError
from posesyn_core.body.model import load_body
from posesyn_core.body.planning import plan_clips
from posesyn_core.cli import main
from posesyn_core.pipeline.motion_files import export_motion
from posesyn_core.pipeline.run import Clip, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry

BODY = load_body()
LENGTHS = (6, 9)


def motions() -> list[Motion]:
    """People who walk two metres along z, in so many frames."""
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    standing = rest - [rest[0, 0], rest[:, 1].min(), rest[0, 2]]
    return [
        Motion(f"s{at}#0", f"s{at}", "walks", standing + np.linspace(0, 2, length)[:, None, None] * [0, 0, 1.0], 20.0)
        for at, length in enumerate(LENGTHS)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = create_run(tmp_path_factory.mktemp("motions") / "run", parse_recipe('dataset = "folder"'),
                      Registry.discover())  # fmt: skip
    made.motions.write_part(0, [Row(motion.id, motion) for motion in motions()])
    made.finish("synthesize", {})
    camera = Camera([1200.0, 1200.0], [60.0, 80.0])
    reference = Sample("r", b"", [0, 0, 1, 1], "smpl24", np.zeros((24, 2)), np.ones(24), camera)
    estimates = [
        PoseEstimate(np.zeros((24, 3)), np.zeros((24, 2)), camera,
                     SmplParams([np.pi, 0, 0], np.zeros((23, 3)), np.full(10, shape), (0.0, 0.3, 20.0)))
        for shape in (-1.0, 1.0)
    ]  # fmt: skip
    plans = plan_clips(BODY, motions(), [reference] * 2, estimates, names=["a@0", "b@0"], seeds=[1, 1],
                       orientation="heading")  # fmt: skip
    made.clips.write_part(0, [Row(plan.id, Clip(plan, (), 120, 160)) for plan in plans])
    made.finish("animate", {})
    return made


def test_a_glb_has_all_motions_of_one_body(run: Run) -> None:
    (path,) = export_motion(run, "glb")
    assert path == run.folder / "motions" / "motions-000.glb"
    document = pygltflib.GLTF2().load(str(path))
    assert document is not None
    assert [animation.name for animation in document.animations] == ["s0#0", "s1#0"]
    counts = [document.accessors[animation.samplers[0].input].count for animation in document.animations]
    assert counts == list(LENGTHS)
    seconds = [document.accessors[animation.samplers[0].input].max[0] for animation in document.animations]
    np.testing.assert_allclose(seconds, (np.array(LENGTHS) - 1) / 20)


def test_each_clip_has_the_shape_of_its_person(run: Run, tmp_path: Path) -> None:
    heights = []
    for path in export_motion(run, "glb", tmp_path, clips=True):
        document = pygltflib.GLTF2().load(str(path))
        assert document is not None and len(document.animations) == 1
        bounds = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
        heights.append(bounds.max[1] - bounds.min[1])
    assert len(heights) == 2 and abs(heights[0] - heights[1]) > 0.01


def test_npz_and_bvh_are_a_file_for_each_motion(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export-motion", str(run.folder), "--format", "npz", "--out", str(tmp_path)])
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    for path, length in zip(written, LENGTHS, strict=True):
        found = np.load(path, allow_pickle=False)
        assert found["mocap_framerate"] == 20 and len(found["poses"]) == length
        np.testing.assert_allclose(found["trans"][-1] - found["trans"][0], [0, -2, 0], atol=0.02)  # z up
    for path, length in zip(export_motion(run, "bvh", tmp_path), LENGTHS, strict=True):
        assert f"Frames: {length}\nFrame Time: 0.05000000\n" in path.read_text()


def test_what_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no format 'fbx'"):
        list(export_motion(run, "fbx"))
    empty = create_run(tmp_path / "run", parse_recipe('dataset = "folder"'), Registry.discover())
    with pytest.raises(UserError, match="'synthesize' is not complete"):
        list(export_motion(empty, "bvh"))
    empty.motions.write_part(0, [Row("s#0", rejected="no pose")])
    empty.finish("synthesize", {})
    with pytest.raises(UserError, match="no motion to write"):
        list(export_motion(empty, "bvh"))
