"""Lifters as estimators: what they read, what they answer, how they are trained and saved."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.components import Kind
from posesyn_core.engines.export import export_onnx
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_jpeg, encode_png
from posesyn_core.geometry.joints import check_estimate
from posesyn_core.inference.predict import exportable, predict
from posesyn_core.inference.probe import probe_samples
from posesyn_core.registry import Registry
from posesyn_core.training.evaluate import evaluate
from posesyn_core.training.finetune import finetune
from posesyn_core.values import Camera, PoseEstimate
from posesyn_poseaug.config import MocapConfig
from posesyn_poseaug.estimator import Lifter
from posesyn_poseaug.measure import measure
from posesyn_poseaug.mocap import MocapReader
from posesyn_poseaug.screen import place
from posesyn_poseaug.weights import LIFTERS, LifterWeights
from tests.plugins.posesyn_poseaug.motions import write_motions
from tests.plugins.posesyn_poseaug.people import CAMERA, SIZE, frames, people, person, poses

lifters = pytest.mark.parametrize("name", sorted(LIFTERS))


def make(name: str, **options: object) -> Lifter:
    """With the same random weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: Lifter = Registry.discover().create(Kind.ESTIMATOR, name, {"weights": "random", **options}, "test")
    return made


@lifters
def test_it_answers_in_its_own_joints(name: str) -> None:
    (found,) = predict(make(name), [people(5)])
    for estimate in found:
        assert isinstance(estimate, PoseEstimate)
        assert estimate.joint_set == "h36m16"
        np.testing.assert_allclose(estimate.joints3d[0], 0, atol=1e-6)


def test_its_2d_is_normalised_by_the_width(tmp_path: Path) -> None:
    lifter, sample = make("simplebaseline"), people(1)[0]
    screen = lifter.preprocess(sample).tensors["keypoints"]
    np.testing.assert_allclose(screen, sample.keypoints2d * 2 / SIZE - 1, atol=1e-6)
    wide = tmp_path / "wide.png"
    wide.write_bytes(encode_png(np.zeros((SIZE // 2, SIZE, 3), np.uint8)))
    inside = evolve(sample, image=wide, keypoints2d=sample.keypoints2d * np.float32([1, 0.5]))
    screen = lifter.preprocess(inside).tensors["keypoints"]
    np.testing.assert_allclose(screen, inside.keypoints2d * 2 / SIZE - np.array([1, 0.5]), atol=1e-6)


def test_only_the_header_of_a_picture_is_read(tmp_path: Path) -> None:
    """A picture whose pixels are cut off is good enough."""
    sample, whole = people(1)[0], encode_jpeg(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    lifter = make("simplebaseline")
    ours, theirs = (lifter.preprocess(s).tensors["keypoints"] for s in (evolve(sample, image=cut), sample))
    np.testing.assert_array_equal(ours, theirs)


def test_a_pose_is_placed_where_it_is_seen() -> None:
    for pose in poses(20):
        sample = person(pose)
        found = place(pose - pose[0], sample.keypoints2d, CAMERA)
        np.testing.assert_allclose(found, pose[0], atol=1e-3)


def test_the_projection_of_a_right_pose_is_its_2d() -> None:
    lifter, samples = make("simplebaseline"), people(3)
    contexts = [lifter.preprocess(sample).context for sample in samples]
    outputs = {"joints3d": np.stack([s.keypoints3d - s.keypoints3d[0] for s in samples])}  # type: ignore[index,operator]
    for estimate, sample in zip(lifter.decode(outputs, contexts), samples, strict=True):
        np.testing.assert_allclose(estimate.joints2d, sample.keypoints2d, atol=0.05)
        check_estimate(estimate)


def test_a_missing_joint_rejects() -> None:
    sample = people(1)[0]
    confidence = sample.confidence.copy()
    confidence[[6, 9]] = 0
    with pytest.raises(SampleError, match="missing here: left_ankle, head"):
        make("semgcn").preprocess(evolve(sample, confidence=confidence))


def test_a_joint_outside_the_picture_rejects() -> None:
    sample = people(1)[0]
    points = sample.keypoints2d.copy()
    points[3] = 1600, 200
    with pytest.raises(SampleError, match="the right_ankle lies outside the picture, at 1600, 200"):
        make("semgcn").preprocess(evolve(sample, keypoints2d=points))


def test_without_picture_and_camera_there_is_no_screen() -> None:
    with pytest.raises(SampleError, match="neither a picture nor a camera"):
        make("semgcn").preprocess(evolve(people(1)[0], camera=None))


def test_a_pose_behind_the_camera_is_not_placed() -> None:
    pose = poses(1)[0]
    with pytest.raises(SampleError, match="behind the camera"):
        place(pose - pose[0], -person(pose).keypoints2d + SIZE, Camera(CAMERA.focal_length, CAMERA.principal_point))


@lifters
@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
def test_weights_come_back(name: str, suffix: str, tmp_path: Path) -> None:
    first = make(name, joints="smpl16")
    path = tmp_path / f"ckpt_best{suffix}"
    first.save(path)
    options = {} if suffix == ".safetensors" else {"joints": "smpl16"}
    second = make(name, weights=str(path), **options)
    assert second.joint_set == "smpl16"
    for ours, theirs in zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_weights_of_other_joints_are_refused(tmp_path: Path) -> None:
    make("semgcn", joints="smpl16").save(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="are of the joints smpl16"):
        make("semgcn", weights=str(tmp_path / "w.safetensors"), joints="h36m16")


def test_weights_of_another_lifter_are_refused(tmp_path: Path) -> None:
    make("semgcn").save(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="are not those of a VPose"):
        make("videopose", weights=str(tmp_path / "w.safetensors"))


@lifters
def test_it_runs_on_onnx_runtime(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    lifter = make(name, flip=True)
    path = export_onnx(exportable(name, lifter), tmp_path / "lifter.onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        keypoints = np.random.default_rng(count).uniform(-0.5, 0.5, (count, 16, 2)).astype(np.float32)
        with torch.inference_mode():
            expected = lifter.network(torch.from_numpy(keypoints))["joints3d"]
        (found,) = session.run(["joints3d"], {"keypoints": keypoints})
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["semgcn", "simplebaseline"])
def test_its_graph_at_the_published_size_is_products_alone(name: str, tmp_path: Path) -> None:
    """Norms are folded into the products before them, and adjacencies computed, when the graph is written."""
    onnx = pytest.importorskip("onnx")
    path = export_onnx(exportable(name, make(name, weights="random-full")), tmp_path / "lifter.onnx")
    operators = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert operators <= {"MatMul", "Gemm", "Relu", "Add", "Sub", "Slice", "Reshape", "Pad"}


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("name", ["semgcn", "simplebaseline"])
def test_in_int8_it_answers_nearly_the_same(name: str, engine: str, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    options = {"precision": "int8", "batch": (1, 64)}
    lifter, module = make(name), Registry.discover().create(Kind.ENGINE, engine, options, "test")
    seen = np.stack([lifter.preprocess(sample).tensors["keypoints"] for sample in probe_samples()])
    keypoints = torch.from_numpy(seen)
    try:
        found = module.load(exportable(name, lifter))({"keypoints": keypoints})["joints3d"]
    except UserError as error:
        pytest.skip(str(error))
    with torch.inference_mode():
        expected = lifter.network(keypoints)["joints3d"]
    assert (found - expected).norm(dim=-1).mean() < 0.1 * expected.norm(dim=-1).mean()


@lifters
def test_what_is_kept_in_float32_is_there(name: str) -> None:
    lifter = make(name)
    names = dict(lifter.network.named_modules()).keys() | lifter.preprocess(people(1)[0]).tensors.keys()
    assert set(lifter.keep_fp32) <= names


@lifters
def test_training_lowers_its_error(name: str, tmp_path: Path) -> None:
    lifter, samples = make(name, dropout=0.0), people(32)
    before = evaluate(lifter, samples, batch_size=32, workers=1).summary()["mpjpe"]
    finetune(
        lifter,
        frames(32),
        [],
        tmp_path,
        steps=100,
        batch_size=16,
        ratio=0.0,
        learning_rate=3e-3,
        seed=0,
        workers=1,
        mode="train",
    )
    assert evaluate(lifter, samples, batch_size=32, workers=1).summary()["mpjpe"] < 0.8 * before


def test_from_scratch_it_forgets() -> None:
    lifter = make("stgcn")
    before = {name: value.clone() for name, value in lifter.lifter.named_parameters()}
    lifter.reinitialise()
    assert any(not torch.equal(before[name], value) for name, value in lifter.lifter.named_parameters())


@lifters
@pytest.mark.parametrize("key", ["state_dict", "model_pos"])
def test_files_as_published_are_read_and_converted(name: str, key: str, tmp_path: Path) -> None:
    """In the format of before torch 1.6, beside an epoch: the baselines' and PoseAug's."""
    published = LIFTERS[name].published()
    path, target = tmp_path / "ckpt_best.pth.tar", tmp_path / "converted.safetensors"
    torch.save({"epoch": 7, key: published.state_dict()}, path, _use_new_zipfile_serialization=False)
    checked = LifterWeights(name).check(path)
    assert checked.fits and checked.variant == LIFTERS[name].title
    LifterWeights(name).convert(path, target)
    loaded = make(name, weights=str(target)).lifter.state_dict()
    for weight, value in published.state_dict().items():
        torch.testing.assert_close(loaded[weight], value)


def test_the_starter_lifts_people(tmp_path: Path) -> None:
    lifter = make("videopose", weights="starter")
    assert lifter.joint_set == "smpl16"
    motions = write_motions(tmp_path / "motions.npz")
    found = measure(lifter.lifter, MocapReader(MocapConfig(str(motions), views="wild", cameras=1)).poses())
    assert found["pa_mpjpe"] < 70
    assert found["mpjpe"] < 120


def test_lifters_without_a_starter_say_so() -> None:
    with pytest.raises(UserError, match=r"no starter weights come with 'semgcn' \(videopose has some\)"):
        make("semgcn", weights="starter")
