"""What can be turned: numbers that are the bodies and skeletons they stand for."""

import base64
from pathlib import Path

import numpy as np
import torch

from posesyn_core.body.model import load_body
from posesyn_core.pipeline.cases import SHOWN, read_cases, write_cases
from posesyn_core.pipeline.run import Run
from posesyn_core.report.scenes import UNKNOWN, Layer, packed, packed_faces, worst_scenes
from posesyn_core.values import Camera, PoseEstimate, Sample, SmplParams

BODY = load_body()


def unpacked(layer: Layer) -> np.ndarray:
    return np.frombuffer(base64.b64decode(layer["points"]), "<i2").reshape(-1, 3) / 1000


def body(turn: float, gender: str = "neutral") -> SmplParams:
    return SmplParams([np.pi, 0, 0], np.full((23, 3), turn), np.zeros(10), (0, 0, 5), gender)


def joints(smpl: SmplParams) -> np.ndarray:
    parts = (smpl.global_orient, smpl.body_pose, smpl.betas)
    found = BODY.joints(*(torch.from_numpy(np.array(part))[None] for part in parts))[0].numpy()
    return found - found[:1]


def pair(number: int, gender: str = "neutral") -> tuple[Sample, PoseEstimate]:
    true, seen = body(0.01 * number, gender), body(0.0)
    camera = Camera([500, 500], [50, 50])
    sample = Sample(f"s{number}", b"", [0, 0, 9, 9], "smpl24", np.zeros((24, 2)), np.ones(24), camera,
                    joints3d=joints(true), smpl=true)  # fmt: skip
    return sample, PoseEstimate(joints(seen), np.zeros((24, 2)), camera, seen)


def test_points_are_millimetres_and_unknown_ones_are_marked() -> None:
    found = np.frombuffer(base64.b64decode(packed(np.array([[0.0015, -1.25, 3], [np.nan, 100, 0]]))), "<i2")
    assert found.tolist() == [2, -1250, 3000, UNKNOWN, UNKNOWN, 0]


def test_triangles_are_those_of_the_body() -> None:
    found = np.frombuffer(base64.b64decode(packed_faces(BODY)), "<u2").reshape(-1, 3)
    np.testing.assert_array_equal(found, BODY.faces.numpy())


def test_the_worst_cases_are_bodies_pelvis_on_pelvis(complete_run: Run, tmp_path: Path) -> None:
    pairs = [pair(number) for number in range(SHOWN + 2)]
    errors = np.array([float(number) for number in range(SHOWN + 2)])
    errors[3] = np.nan
    path = complete_run.folder / "evaluate" / "posesyn" / "world-worst.npz"
    write_cases(path, [sample for sample, _ in pairs], [estimate for _, estimate in pairs], errors)
    try:
        found = worst_scenes(complete_run, "posesyn", BODY)
        assert [case.id for case, _ in found] == ["s7", "s6", "s5", "s4", "s2", "s1"]
        (case, scene) = found[0]
        truth, estimate = scene["layers"]
        assert (truth["name"], truth["kind"], estimate["name"]) == ("truth", "mesh", "estimate")
        assert case.true_body is not None
        posed = BODY(*(torch.from_numpy(np.array(part))[None] for part in
                       (case.true_body.global_orient, case.true_body.body_pose, case.true_body.betas)))  # fmt: skip
        expected = (posed.vertices - posed.joints3d[:, :1])[0].numpy() * [1, -1, -1]
        np.testing.assert_allclose(unpacked(truth), expected, atol=1e-3)
        assert unpacked(truth)[:, 1].max() > 0.5  # upright
        skeletons = worst_scenes(complete_run, "posesyn", None)[0][1]["layers"]
        assert [layer["kind"] for layer in skeletons] == ["skeleton", "skeleton"]
    finally:
        path.unlink()


def test_bodies_of_a_gender_are_shown_by_their_joints(tmp_path: Path) -> None:
    sample, estimate = pair(1, "female")
    write_cases(tmp_path / "a.npz", [sample], [estimate], np.array([9.0]))
    (case,) = read_cases(tmp_path / "a.npz")
    assert case.true_body is None and case.body is not None
    np.testing.assert_allclose(case.true_joints, sample.joints3d)
