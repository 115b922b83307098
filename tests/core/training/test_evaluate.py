"""Evaluation: errors of known size, rejected samples, the files that it writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core.body.model import Body, load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry import skeletons
from posesyn_core.training.evaluate import evaluate, load_regressor
from posesyn_core.training.protocols import H36M_14
from posesyn_core.values import Camera, EvaluationProtocol, PoseEstimate, Sample, SmplParams


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def samples(body: Body) -> list[Sample]:
    """Five bodies with their truth; nobody looks at the pictures."""
    random = np.random.default_rng(0)
    made = []
    for number in range(5):
        smpl = SmplParams(random.standard_normal(3), 0.2 * random.standard_normal((23, 3)), np.zeros(10), np.zeros(3))
        joints = relative_joints(body, smpl)
        nowhere = np.zeros((24, 2))
        made.append(
            Sample(f"s/{number}", b"", [0, 0, 9, 9], "smpl24", nowhere, np.ones(24), joints3d=joints, smpl=smpl)
        )
    return made


def relative_joints(body: Body, smpl: SmplParams) -> np.ndarray:
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas)
    joints = body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()
    return joints - joints[:1]


@frozen
class Oracle:
    """Knows the truth, and returns it 10 % too large; refuses some samples, and knows some bodies' joints only."""

    refuses: tuple[str, ...] = ()
    without_smpl: tuple[str, ...] = ()

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        for sample in samples:
            if sample.id in self.refuses:
                raise SampleError("too dark")
        camera = Camera([1, 1], [0, 0])
        return [
            PoseEstimate(
                1.1 * sample.joints3d,
                np.zeros((24, 2)),
                camera,
                None if sample.id in self.without_smpl else sample.smpl,
            )
            for sample in samples
        ]


def test_errors_are_those_of_the_first_22_joints_in_millimetres(samples: list[Sample]) -> None:
    result = evaluate(Oracle(), samples, batch_size=2, workers=1)
    expected = [100 * np.linalg.norm(sample.joints3d[:22], axis=-1).mean() for sample in samples]
    np.testing.assert_allclose(result.values["mpjpe"], expected, rtol=1e-5)
    np.testing.assert_allclose(result.values["pa_mpjpe"], 0, atol=1e-3)
    summary = result.summary()
    assert (summary["samples"], summary["rejected"]) == (5, 0)
    assert summary["mpjpe"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert "pve" not in summary


def test_a_rejected_sample_is_counted_with_its_reason(samples: list[Sample]) -> None:
    result = evaluate(Oracle(refuses=("s/3",)), samples, batch_size=5, workers=1)
    assert result.ids == ("s/0", "s/1", "s/2", "s/4")
    assert result.rejected == {"s/3": "too dark"}


def test_vertex_errors_need_a_body_and_parameters_on_both_sides(samples: list[Sample], body: Body) -> None:
    taller = [evolve(s, smpl=evolve(s.smpl, transl=np.ones(3))) for s in samples]  # a translation is no error
    result = evaluate(Oracle(without_smpl=("s/1",)), taller, batch_size=2, workers=1, body=body)
    np.testing.assert_array_equal(np.isnan(result.values["pve"]), [False, True, False, False, False])
    np.testing.assert_allclose(result.values["pve"][[0, 2, 3, 4]], 0, atol=1e-3)
    assert result.summary()["pve"] == pytest.approx(0, abs=1e-3)


def test_errors_per_sample_are_written(samples: list[Sample], tmp_path: Path) -> None:
    result = evaluate(Oracle(), samples, batch_size=3, workers=1)
    result.write(tmp_path / "errors.parquet")
    table = pq.read_table(tmp_path / "errors.parquet")
    assert table["id"].to_pylist() == [sample.id for sample in samples]
    np.testing.assert_array_equal(table["mpjpe"].to_numpy(), result.values["mpjpe"])


def test_nothing_to_evaluate_is_an_empty_result() -> None:
    assert evaluate(Oracle(), [], batch_size=3, workers=1).summary() == {"samples": 0, "rejected": 0}


def test_protocols_choose_joints_root_and_metrics(samples: list[Sample]) -> None:
    protocol = EvaluationProtocol(
        ("mpjpe", "n_mpjpe", "pck", "auc"), joints=("left_wrist", "right_wrist"), root=("neck",)
    )
    result = evaluate(Oracle(), samples, batch_size=5, workers=1, protocol=protocol)
    wrists = [sample.joints3d[[20, 21]] - sample.joints3d[12] for sample in samples]
    expected = [100 * np.linalg.norm(pair, axis=-1).mean() for pair in wrists]
    np.testing.assert_allclose(result.values["mpjpe"], expected, rtol=1e-4)
    np.testing.assert_allclose(result.values["n_mpjpe"], 0, atol=1e-3)
    assert set(result.values) == {"mpjpe", "n_mpjpe", "pck", "auc"}
    np.testing.assert_allclose(result.values["pck"], 100.0)


def test_truth_in_another_joint_set_is_compared_where_both_have_joints(samples: list[Sample]) -> None:
    def in_h36m(sample: Sample) -> Sample:
        points, known = skeletons.convert(sample.joints3d, None, "smpl24", "h36m17")
        points[~known] = np.nan
        nowhere = np.zeros((17, 2))
        return evolve(
            sample, joint_set="h36m17", keypoints2d=nowhere, confidence=np.ones(17), joints3d=None,
            keypoints3d=points + 3,
        )  # fmt: skip

    result = evaluate(Oracle2(samples), [in_h36m(sample) for sample in samples], batch_size=5, workers=1)
    limbs = [name for name in skeletons.H36M17.joints if name in skeletons.SMPL24.joints and name != "pelvis"]
    limbs = [name for name in limbs if "hip" in name or name.split("_")[0] in ("left", "right")]
    expected = []
    for sample in samples:
        points, _ = skeletons.convert(sample.joints3d, None, "smpl24", "h36m17")
        at = [skeletons.H36M17.joints.index(name) for name in limbs]
        expected.append(100 * np.linalg.norm(points[[0, *at]] - points[0], axis=-1).mean())
    np.testing.assert_allclose(result.values["mpjpe"], expected, rtol=1e-4)


@frozen
class Oracle2:
    """Knows the SMPL truth of samples whose own truth is in another joint set, and returns it 10 % too large."""

    known: Sequence[Sample]

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        by_id = {sample.id: sample for sample in self.known}
        return Oracle().predict([by_id[sample.id] for sample in samples])


def test_joints_regressed_from_the_mesh(samples: list[Sample], body: Body, tmp_path: Path) -> None:
    vertices = len(body.v_template)
    matrix = np.zeros((17, vertices), np.float32)
    matrix[np.arange(17), np.arange(17) * 300] = 1  # "joints" that are vertices
    np.save(tmp_path / "J.npy", matrix)
    regressor = load_regressor(tmp_path / "J.npy", body)
    protocol = EvaluationProtocol(("mpjpe",), regressed=True)
    exact = evaluate(Oracle(), samples, batch_size=5, workers=1, body=body, regressor=regressor, protocol=protocol)
    np.testing.assert_allclose(exact.values["mpjpe"], 0, atol=1e-2)  # same mesh, though the joints are 10 % off
    np.save(tmp_path / "wrong.npy", matrix[:, :100])
    with pytest.raises(UserError, match="set body to your SMPL file"):
        load_regressor(tmp_path / "wrong.npy", body)


@frozen
class Lifter:
    """An estimator without bodies that takes joints of ``joint_set`` from the true mesh by ``regressor``."""

    known: Sequence[Sample]
    body: Body
    regressor: np.ndarray
    joint_set: str

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> PoseEstimate:
        assert sample.smpl is not None
        smpl = (sample.smpl.global_orient, sample.smpl.body_pose, sample.smpl.betas)
        vertices = self.body(*(torch.from_numpy(np.array(part))[None] for part in smpl)).vertices[0].numpy()
        joints, known = skeletons.convert(self.regressor @ vertices, None, "h36m17", self.joint_set)
        joints = np.where(known[:, None], joints + 1, np.nan)  # where the root is does not matter
        return PoseEstimate(joints, joints[:, :2], Camera([1, 1], [0, 0]), joint_set=self.joint_set)


@pytest.mark.parametrize(("joints", "exact"), [("h36m17", True), ("h36m16", True), ("coco17", False)])
def test_estimators_of_human36ms_joints_need_no_mesh(
    samples: list[Sample], body: Body, joints: str, exact: bool
) -> None:
    """Others are compared with the truth's own joints, in those that both have."""
    regressor = np.zeros((17, len(body.v_template)), np.float32)
    regressor[np.arange(17), np.arange(17) * 300] = 1
    protocol = EvaluationProtocol(("mpjpe", "pa_mpjpe", "pve"), H36M_14, ("pelvis",), regressed=True)
    lifter = Lifter(samples, body, regressor, joints)
    found = evaluate(*(lifter, samples), batch_size=5, workers=1, body=body, regressor=regressor, protocol=protocol)
    assert not found.rejected
    assert (found.values["mpjpe"] < 0.01).all() == exact
    assert np.isfinite(found.values["mpjpe"]).all()
    assert "pve" not in found.values


def test_without_the_regressor_smpls_own_joints_are_compared(samples: list[Sample]) -> None:
    protocol = EvaluationProtocol(("mpjpe",), H36M_14, ("pelvis",), regressed=True)
    result = evaluate(Oracle(), samples, batch_size=5, workers=1, protocol=protocol)
    assert np.array_equal(result.values["mpjpe"], evaluate(Oracle(), samples, batch_size=5, workers=1).values["mpjpe"])


def test_truth_of_a_gender_is_posed_with_the_body_of_that_gender(samples: list[Sample], body: Body) -> None:
    """An estimator that says what the truth says, of another body: wrong by the difference of the two bodies."""
    female = load_body(gender="female")
    female.v_template.mul_(1.1)
    women = [evolve(sample, smpl=evolve(sample.smpl, gender="female")) for sample in samples[:2]]
    given = [*women, *samples[2:]]
    found = evaluate(Oracle(), given, batch_size=5, workers=1, body=body, truth_bodies={"female": female})
    assert (found.values["pve"][:2] > 20).all()
    assert found.values["pve"][2:] == pytest.approx(0, abs=1e-3)
    unknown = evaluate(Oracle(), given, batch_size=5, workers=1, body=body)
    assert np.isnan(unknown.values["pve"]).tolist() == [True, True, False, False, False]


def test_pckh_needs_a_head_size(samples: list[Sample]) -> None:
    with_head = [evolve(samples[0], head_size=2.0), evolve(samples[1], joints3d=samples[1].joints3d)]
    result = evaluate(Oracle(), with_head, batch_size=2, workers=1)
    assert result.values["pckh"][0] == 100.0 and np.isnan(result.values["pckh"][1])


def test_nmje_counts_those_who_were_missed(samples: list[Sample]) -> None:
    result = evaluate(
        Oracle(refuses=("s/3",)), samples, batch_size=5, workers=1, protocol=EvaluationProtocol(("mpjpe", "nmje"))
    )
    f1 = 2 * 0.8 / 1.8
    np.testing.assert_allclose(result.values["nmje"], result.values["mpjpe"] / f1)


def test_parts_are_measured_as_one(samples: list[Sample], body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parts' size; metrics that only some parts have are NaN in the others."""
    mixed = [evolve(sample, head_size=40.0) if at >= 3 else sample for at, sample in enumerate(samples)]
    mixed[0] = evolve(mixed[0], smpl=None)
    whole = evaluate(Oracle(refuses=("s/2",)), mixed, batch_size=2, workers=1, body=body)
    monkeypatch.setattr("posesyn_core.training.evaluate.PART", 2)
    parts = evaluate(Oracle(refuses=("s/2",)), mixed, batch_size=2, workers=1, body=body)
    assert parts.ids == whole.ids and parts.rejected == whole.rejected
    assert parts.values.keys() == whole.values.keys() >= {"mpjpe", "pve", "pckh"}
    for name, values in whole.values.items():
        np.testing.assert_allclose(parts.values[name], values, rtol=1e-6)
    assert parts.summary() == whole.summary()
    errors = dict(zip(whole.ids, whole.values["mpjpe"], strict=True))
    assert [error for error, _, _ in parts.worst] == pytest.approx(sorted(errors.values(), reverse=True))
    assert [s.id for _, s, _ in parts.worst] == [s.id for _, s, _ in whole.worst]


def test_only_the_worst_cases_are_kept(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posesyn_core.training.evaluate.PART", 1)
    monkeypatch.setattr("posesyn_core.training.evaluate.WORST", 2)
    found = evaluate(Oracle(), samples, batch_size=2, workers=1)
    assert len(found.worst) == 2 and len(found.ids) == len(samples)
    assert found.worst[0][1].id == found.ids[int(np.argmax(found.values["mpjpe"]))]
