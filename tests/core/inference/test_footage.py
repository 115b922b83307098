"""A film: people followed, put before one camera, smoothed, and written track by track."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import torch

from posesyn_core.body.model import load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.films import decoded, frame_rate, write_film
from posesyn_core.geometry.cameras import project
from posesyn_core.inference.footage import open_film, predict_film
from posesyn_core.values import Camera, Detections, Image, PoseEstimate, Sample, SmplParams

BODY = load_body()
FRAMES, RATE, SIZE = 12, 20.0, (160, 120)
LENS = Camera([200.0, 200.0], [79.5, 59.5])
HIDDEN = (5, 6)


def walker(at: int, side: float) -> SmplParams:
    """Somebody 4 m away who goes to the right, with an arm that rises."""
    pose = np.zeros((23, 3))
    pose[15, 2] = 0.1 * at
    return SmplParams([np.pi, 0, 0], pose, np.zeros(10), (side + 0.02 * at, 0.3, 4.0))


def seen(smpl: SmplParams, camera: Camera) -> PoseEstimate:
    parts = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    joints = BODY.joints(*(torch.from_numpy(np.array(part))[None] for part in parts))[0].numpy()
    return PoseEstimate(joints - joints[:1], project(joints, camera.focal_length, camera.principal_point), camera, smpl)


class TwoWalkers:
    """A detector of two people, the second hidden for two frames, told in changing order; one picture at a time."""

    def __init__(self) -> None:
        self.asked = 0

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        assert len(images) == 1
        at, self.asked = self.asked, self.asked + 1
        boxes = [self._box(at, side) for number, side in enumerate((-0.6, 0.5)) if number == 0 or at not in HIDDEN]
        boxes = boxes[:: -1 if at % 3 else 1]
        return [Detections(np.array(boxes), np.full(len(boxes), 0.9))]

    def _box(self, at: int, side: float) -> list[float]:
        pixels = seen(walker(at, side), LENS).joints2d
        return [*pixels.min(0).tolist(), *pixels.max(0).tolist()]


class Knows:
    """An estimator that is right, but for noise, with a camera of its own for every crop, as published ones have."""

    body = BODY

    def __init__(self, noise: float = 0.0, fails: bool = False) -> None:
        self.noise, self.fails, self.rng = noise, fails, np.random.default_rng(0)

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> PoseEstimate:
        if self.fails:
            raise SampleError("nothing to see")
        at = int(sample.id.rpartition("/")[2].partition("-")[0])
        side = min((-0.6, 0.5), key=lambda s: abs(seen(walker(at, s), LENS).joints2d.mean() - sample.box.mean()))
        true = walker(at, side)
        near = 1 + 0.5 * (at % 2)  # the crop's camera: another focal length, and the person as much nearer
        turned = true.body_pose + self.rng.normal(0, self.noise, (23, 3))
        smpl = SmplParams(true.global_orient, turned, true.betas, true.transl * [1, 1, near])
        return seen(smpl, Camera(LENS.focal_length * near, LENS.principal_point))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    write_film(path, (np.full((SIZE[1], SIZE[0], 3), 90, np.uint8) for _ in range(FRAMES)), RATE)
    return path


def run(clip: Path, out: Path, estimator: Knows, **options: Any) -> dict[str, Path]:
    stride = options.pop("stride", 1)
    written = predict_film(estimator, open_film(clip, stride), out, detector=TwoWalkers(), **options)
    return {path.name: path for path in written}


def test_every_person_has_files_of_their_own(clip: Path, tmp_path: Path) -> None:
    files = run(clip, tmp_path, Knows())
    assert set(files) == {"clip.overlay.mp4", "clip.json", "clip.0.npz", "clip.0.glb", "clip.1.npz", "clip.1.glb"}
    tracks = json.loads(files["clip.json"].read_text())["tracks"]
    assert [[one["frame"] for one in track["frames"]] for track in tracks] == [
        list(range(FRAMES)), [at for at in range(FRAMES) if at not in HIDDEN]
    ]  # fmt: skip
    for track, side in zip(tracks, (-0.6, 0.5), strict=True):
        for one in track["frames"]:
            pixels = seen(walker(one["frame"], side), LENS).joints2d
            assert np.abs(np.array(one["joints2d"]) - pixels).mean() < 1.5
    document = pygltflib.GLTF2().load(str(files["clip.1.glb"]))
    assert document is not None
    clock = document.accessors[document.animations[0].samplers[0].input]
    assert clock.count == FRAMES and clock.max[0] == pytest.approx((FRAMES - 1) / RATE)  # who was hidden is filled in


def test_all_move_before_one_camera(clip: Path, tmp_path: Path) -> None:
    """Crops' cameras alternate between two focal lengths: in the file nobody jumps to and fro."""
    found = np.load(run(clip, tmp_path, Knows(), formats=("npz",))["clip.0.npz"])
    assert found["mocap_framerate"] == RATE and len(found["poses"]) == FRAMES
    steps = np.diff(found["trans"], axis=0)  # x right, y away from the camera, z up
    assert np.abs(steps[:, 1]).max() < 0.25 and np.abs(steps[:, 2]).max() < 0.05
    assert (steps[:, 0] > 0).all()
    arm = found["poses"].reshape(FRAMES, 52, 3)[:, 16, 2]
    np.testing.assert_allclose(arm, 0.1 * np.arange(FRAMES), atol=1e-4)


def test_smoothing_takes_the_noise_and_leaves_the_motion(clip: Path, tmp_path: Path) -> None:
    arms = []
    for name, smooth in (("rough", 0.0), ("smooth", 0.1)):
        files = run(clip, tmp_path / name, Knows(noise=0.1), smooth=smooth, formats=("npz",))
        arms.append(np.load(files["clip.0.npz"])["poses"].reshape(FRAMES, 52, 3)[:, 16, 2])
    rough, smooth = (np.abs(np.diff(arm, 2)).mean() for arm in arms)
    assert smooth < 0.5 * rough
    assert np.abs(arms[1][2:-2] - 0.1 * np.arange(FRAMES)[2:-2]).max() < 0.15


def test_the_overlay_is_a_film_of_the_same_length_with_people_on_it(clip: Path, tmp_path: Path) -> None:
    path = run(clip, tmp_path, Knows(), stride=2)["clip.overlay.mp4"]
    frames = [image for _, image in decoded(path, lambda _: True)]
    assert len(frames) == FRAMES // 2 and frame_rate(path) == RATE / 2
    for at, image in enumerate(frames):
        assert image.shape == (SIZE[1], SIZE[0], 3)
        pelvis = seen(walker(at, -0.6), LENS).joints2d[0].round().astype(int)
        near = image[pelvis[1] - 4 : pelvis[1] + 5, pelvis[0] - 4 : pelvis[0] + 5].astype(int)
        assert np.abs(near - 90).max() > 60


class Glimpse(TwoWalkers):
    """One who walks, and somebody else in two frames."""

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        at, self.asked = self.asked, self.asked + 1
        boxes = [self._box(at, -0.6), *([[120.0, 5.0, 150.0, 30.0]] if at in HIDDEN else [])]
        return [Detections(np.array(boxes), np.full(len(boxes), 0.9))]


def test_who_is_seen_for_a_moment_is_in_the_figures_alone(clip: Path, tmp_path: Path) -> None:
    written = predict_film(Knows(), open_film(clip), tmp_path, detector=Glimpse(), formats=("json", "npz"))
    assert [path.name for path in written] == ["clip.overlay.mp4", "clip.json", "clip.0.npz"]
    tracks = json.loads(written[1].read_text())["tracks"]
    assert [len(track["frames"]) for track in tracks] == [FRAMES, len(HIDDEN)]


def test_who_cannot_be_estimated_is_told(clip: Path, tmp_path: Path) -> None:
    files = run(clip, tmp_path, Knows(fails=True))
    assert set(files) == {"clip.overlay.mp4", "clip.json"}
    (first, *_) = json.loads(files["clip.json"].read_text())["tracks"]
    assert first["frames"][0]["error"] == "nothing to see"


def test_without_a_detector_every_frame_is_one_person(clip: Path, tmp_path: Path) -> None:
    predict_film(Knows(), open_film(clip), tmp_path, formats=("json",))
    (track,) = json.loads((tmp_path / "clip.json").read_text())["tracks"]
    assert len(track["frames"]) == FRAMES and track["frames"][0]["box"] == [0, 0, SIZE[0] - 1, SIZE[1] - 1]


def test_mistakes_are_sentences(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="can't be written as obj; choose json, bvh, glb, npz"):
        run(clip, tmp_path, Knows(), formats=("obj",))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no film")
    with pytest.raises(UserError, match=r"bad\.mp4' can't be decoded"):
        open_film(bad)
    with pytest.raises(UserError, match=r"film .* does not exist"):
        open_film(tmp_path / "none.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"posesyn\[video\]"):
        open_film(clip)
