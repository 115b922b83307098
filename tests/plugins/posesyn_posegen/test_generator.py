"""The component as a run uses it, and its weight files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from posesyn_core.authoring.findings import Finding
from posesyn_core.authoring.others import try_motion
from posesyn_core.body.model import load_body
from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_all
from posesyn_core.values import MotionRequest
from posesyn_posegen.generator import PoseGenMotions
from posesyn_posegen.model import Generator, GeneratorSizes
from posesyn_posegen.weights import STARTER, GeneratorWeights, load_generator, save_generator
from tests.tiny import folder_data_set

REQUESTS = [MotionRequest(f"s#{at}", "s", "", seed=at) for at in range(3)]


def starter(**options: object) -> PoseGenMotions:
    made: PoseGenMotions = Registry.discover().create(Kind.MOTION, "posegen", options, "motion")
    return made


def test_single_poses_with_their_rotations() -> None:
    made = starter()
    motions = made.generate(REQUESTS)
    again = made.generate([evolve(REQUESTS[2], id="other", caption="a person runs")])
    body = load_body()
    for motion in motions:
        assert motion.joints.shape == (1, 22, 3) and motion.joints[..., 1].min() == pytest.approx(0, abs=1e-6)
        assert motion.body_pose is not None and motion.global_orient is not None
        turns = torch.from_numpy(np.concatenate([motion.global_orient, motion.body_pose[0]])[None])
        joints = body.joints(turns[:, 0], turns[:, 1:], torch.zeros(1, 10))[0, :22].numpy() * [1, -1, -1]
        np.testing.assert_allclose(joints - joints[0], motion.joints[0] - motion.joints[0, 0], atol=1e-5)
        assert np.linalg.norm(turns, axis=-1).max() <= np.pi + 1e-5
    assert not np.allclose(motions[0].body_pose, motions[1].body_pose)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again[0].body_pose, motions[2].body_pose)


def test_without_k_the_orientation_is_left_open() -> None:
    turned, open_ = (starter(camera=camera).generate(REQUESTS[:1])[0] for camera in (True, False))
    assert open_.global_orient is None
    np.testing.assert_array_equal(turned.body_pose, open_.body_pose)
    head, hips = open_.joints[0, 15], open_.joints[0, 0]
    assert head[1] > hips[1]  # upright


def test_the_starters_poses_are_upright_on_the_whole() -> None:
    noise = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    poses = starter().poses(noise)
    up = -Rotation.from_rotvec(poses[:, 0]).as_matrix()[:, 1, 1]  # y down in the camera's frame
    assert np.median(up) > 0.5
    assert np.linalg.norm(poses[:, 1:], axis=-1).mean() < 0.6


def test_the_trial_of_motion_generators() -> None:
    found: list[Finding] = list(try_motion(starter(), None))
    assert all(finding.passed for finding in found), [finding for finding in found if not finding.passed]


def test_a_run_needs_neither_eem_nor_captioner(tmp_path: Path) -> None:
    recipe = load_recipe(
        folder_data_set(tmp_path),
        [
            *('motion="posegen"', 'captioner="none"', 'score.method="random"', "synthesize.motions_per_sample=3"),
            *('filter={name="posegen_rejection", threshold=9999}', "export.formats=[]"),
        ],
    )
    run = create_run(tmp_path / "run", recipe, Registry.discover())
    run_all(run, lambda *_: None)
    motions, clips = list(run.motions.values()), list(run.clips.values())
    assert len(motions) == 6 and clips
    for clip in clips:
        (motion,) = (motion for motion in motions if motion.id == clip.plan.motion_id)
        assert motion.global_orient is not None and motion.body_pose is not None
        np.testing.assert_allclose(clip.plan.global_orient, motion.global_orient, atol=1e-5)
        np.testing.assert_allclose(clip.plan.body_pose, motion.body_pose, atol=1e-6)
        assert clip.plan.residual_mm == 0 and len(clip.frames) == 1


def test_weights_of_any_size_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorSizes(noise=8, width=16, stages=1)).eval()
    save_generator(generator, tmp_path / "w.safetensors", {"made": "here"})
    noise = torch.randn(3, 8)
    torch.testing.assert_close(load_generator(str(tmp_path / "w.safetensors"))(noise), generator(noise))
    assert GeneratorWeights().check(tmp_path / "w.safetensors").fits
    GeneratorWeights().convert(tmp_path / "w.safetensors", tmp_path / "again.safetensors")
    assert GeneratorWeights().check(tmp_path / "again.safetensors").fits
    with pytest.raises(UserError, match="converted to"):
        GeneratorWeights().convert(tmp_path / "w.safetensors", tmp_path / "w.pth")


def test_broken_weights_are_named(tmp_path: Path) -> None:
    whole = STARTER.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"conv1.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    state = {f"model_G.{name}": value for name, value in Generator().state_dict().items()}
    state["model_G.BAprocess.w2.bias"] = torch.full((96,), torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    for name in ("cut", "other", "nan", "missing"):
        with pytest.raises(UserError, match=rf"{name}\.safetensors"):
            starter(weights=str(tmp_path / f"{name}.safetensors"))
