"""Every evaluation that the packs record, through the core's metrics and the protocols of ``posesyn evaluate``.

The project's bound: 1e-3 mm. Recorded single-precision results are up to some 1e-4 mm off themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posesyn_core.body.model import load_body
from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import H36M17, SMPL24
from posesyn_core.method import metrics
from posesyn_core.training.protocols import H36M_14, METRICS, MM, compare_joints, compared_regressed
from posesyn_core.values import EvaluationProtocol
from tests.packs import Arrays, arrays

LIMIT_MM = 1e-3
ON_MESHES = EvaluationProtocol(("mpjpe", "pa_mpjpe"), H36M_14, ("pelvis",), regressed=True)
"""3DPW's, of SPIN and its successors: Human3.6M's joints taken from both meshes, 14 of them, relative to the pelvis."""


@pytest.fixture(scope="module")
def packs(shared: Path) -> Path:
    return shared / "parity"


def agree(found: Mapping[str, NDArray], recorded: Mapping[str, NDArray]) -> None:
    assert found.keys() == recorded.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, recorded[name], rtol=0, atol=LIMIT_MM, err_msg=name)


def regressed(matrix: NDArray, vertices: NDArray) -> NDArray:
    """(N, 17, 3) mm."""
    return MM * np.einsum("jv,nvk->njk", matrix.astype(np.float64), vertices.astype(np.float64))


def measured(predicted: NDArray, truth: NDArray, protocol: EvaluationProtocol) -> dict[str, NDArray]:
    """The protocol's metrics of Human3.6M's 17 joints (N, 17, 3) in mm, as ``posesyn evaluate`` takes them."""
    compared = compared_regressed(predicted, truth, protocol)
    return {name: METRICS[name](compared) for name in protocol.metrics}


def test_spin_on_3dpw(packs: Path) -> None:
    io = arrays(packs / "spin/io.npz")
    ours, theirs = (regressed(io["in/eval_J_regressor"], io[f"in/eval_{side}_vertices"]) for side in ("pred", "gt"))
    recorded = {"mpjpe": MM * io["out/eval_3dpw_mpjpe_m"], "pa_mpjpe": MM * io["out/eval_3dpw_recon_m"]}
    agree(measured(ours, theirs, ON_MESHES), recorded)


@pytest.mark.parametrize(("data", "kept"), [("h36m", 14), ("mpi-inf-3dhp", 17)])
def test_spin_on_joints(packs: Path, data: str, kept: int) -> None:
    """The truth is joints in SPIN's order, relative to its own root already; the estimate's root is its pelvis."""
    io, config = arrays(packs / "spin/io.npz"), json.loads((packs / "spin/config.json").read_text())
    joints = regressed(io["in/eval_J_regressor"], io["in/eval_pred_vertices"])
    ours = (joints - joints[:, :1])[:, config[f"H36M_TO_J{kept}"]]
    theirs = MM * io["in/eval_gt_pose_3d"][:, config[f"J24_TO_J{kept}"], :3].astype(np.float64)
    found = {"mpjpe": metrics.mpjpe(ours, theirs), "pa_mpjpe": metrics.pa_mpjpe(ours, theirs)}
    agree(found, {"mpjpe": MM * io[f"out/eval_{data}_mpjpe_m"], "pa_mpjpe": MM * io[f"out/eval_{data}_recon_m"]})
    assert align(ours, theirs) == pytest.approx(MM * io[f"out/eval_{data}_aligned"], abs=2 * LIMIT_MM)


@pytest.mark.parametrize("case", ["eval", "eval_near"])
def test_crowdnet_on_3dpw(packs: Path, case: str) -> None:
    io, data = arrays(packs / "crowdnet/io.npz"), arrays(packs / "crowdnet/data_io.npz")
    pred, truth = io["smpl_mesh_cam"], np.stack([data[f"PW3D.{k}.targets.smpl_mesh_cam"] for k in (0, 1)])
    if case == "eval_near":
        pred, truth = (np.stack([io[f"eval_near.{k}.{side}_mesh"] for k in (0, 1)]) for side in ("pred", "gt"))
    found = measured(*(regressed(data["body.J_regressor_h36m"], mesh) for mesh in (pred, truth)), ON_MESHES)
    pelvis = data["body.joint_regressor_30"][0].astype(np.float64)
    ours, theirs = MM * pred.astype(np.float64), MM * truth.astype(np.float64)
    found["mpvpe"] = metrics.pve(ours, theirs, pelvis @ ours, pelvis @ theirs)
    agree(found, {name: io[f"{case}.{name}"] for name in ("mpjpe", "pa_mpjpe", "mpvpe")})


def test_hmr2(packs: Path) -> None:
    """Its 14 joints after joint 39, the pelvis, was subtracted; PCK joint by joint over the people who have it."""
    io = arrays(packs / "hmr2/io_geometry.npz")
    chosen = [*range(25, 38), 43]
    ours, theirs = (MM * io[f"eval_{side}_keypoints_3d"][..., :3].astype(np.float64) for side in ("pred", "gt"))
    ours, theirs = ((joints - joints[:, 39:40])[:, chosen] for joints in (ours, theirs))
    found = {"mode_mpjpe_mm": metrics.mpjpe(ours, theirs), "mode_re_mm": metrics.pa_mpjpe(ours, theirs)}
    agree(found, {name: io[f"eval_{name}"] for name in found})
    agree(found, {name: io[f"eval_{name}_f64"] for name in found})
    unit = (io["eval_box_size"] / (200 * io["eval_scale"]).max(-1))[:, None, None].astype(np.float64)
    labels, seen = io["eval_gt_keypoints_2d"], io["eval_gt_keypoints_2d"][..., 2] > 0.5
    by_joint = [np.swapaxes(unit * points[..., :2], 0, 1) for points in (io["eval_pred_keypoints_2d"], labels)]
    recorded = json.loads(str(io["eval_metrics_f64_json"]))
    for threshold in (0.05, 0.1):
        shares = metrics.pck(*by_joint, threshold=threshold, valid=seen.T) / 100
        expected = {f"kp{at}_pck_{threshold}": share for at, share in enumerate(shares) if np.isfinite(share)}
        expected[f"kpAvg_pck_{threshold}"] = np.nanmean(shares)
        assert expected == pytest.approx({n: v for n, v in recorded.items() if n.endswith(f"pck_{threshold}")})
    for name, key in (("mode_mpjpe", "mode_mpjpe_mm"), ("mode_re", "mode_re_mm")):
        assert recorded[name] == pytest.approx(found[key].mean(), abs=LIMIT_MM)


def test_hmr2_of_given_joints(packs: Path) -> None:
    """Mirrored and unrelated poses among them."""
    io = arrays(packs / "hmr2/io_geometry.npz")
    ours, theirs = (MM * io[name].astype(np.float64) for name in ("sim_S1", "sim_S2"))
    found = {"sim_mpjpe_mm": metrics.mpjpe(ours, theirs), "sim_pa_mpjpe_mm": metrics.pa_mpjpe(ours, theirs)}
    agree(found, {name: io[f"{name}_f64"] for name in found})


@pytest.fixture(scope="module")
def hybrik(packs: Path) -> Arrays:
    return arrays(packs / "hybrik/io_data.npz")


UNIT = 2.2
"""Metres to one of HybrIK's outputs."""


@pytest.mark.parametrize("convention", ["h36m", "pw3d"])
def test_hybrik_on_17_joints(hybrik: Arrays, convention: str) -> None:
    """On Human3.6M the similarity is fitted to all 17 joints before 14 are counted, on 3DPW to the 14."""
    ours, theirs = MM * UNIT * hybrik["metric.pred_xyz_17"], MM * hybrik["metric.gt_h17_m"]
    found = measured(ours, theirs, ON_MESHES)
    if convention == "h36m":
        everything = compared_regressed(ours, theirs, EvaluationProtocol(root=("pelvis",), regressed=True))
        counted = [H36M17.joints.index(joint) for joint in H36M_14]
        aligned = align(everything.predicted, everything.truth)[:, counted]
        found["pa_mpjpe"] = metrics.mpjpe(aligned, everything.truth[:, counted])
    recorded = hybrik[f"metric.{convention}.evaluate_xyz_17"]
    agree({name: values.mean() for name, values in found.items()}, {"mpjpe": recorded[1], "pa_mpjpe": recorded[0]})
    assert hybrik[f"metric.{convention}.evaluate_xyz_17.returned"] == pytest.approx(found["pa_mpjpe"].mean(), abs=1e-3)


@pytest.mark.parametrize("convention", ["h36m", "pw3d"])
def test_hybrik_on_smpls_joints(hybrik: Arrays, convention: str) -> None:
    ours, theirs = MM * UNIT * hybrik["metric.pred_xyz_24_struct"], MM * hybrik["metric.gt_smpl24_m"]
    known = np.ones(ours.shape[:2], bool)
    protocol = EvaluationProtocol(joints=SMPL24.joints, root=("pelvis",))
    compared = compare_joints(ours, theirs, known, "smpl24", protocol, shared=())
    recorded = hybrik[f"metric.{convention}.evaluate_xyz_24"]
    found = {name: METRICS[name](compared).mean() for name in ("mpjpe", "pa_mpjpe")}
    agree(found, {"mpjpe": recorded[1], "pa_mpjpe": recorded[0]})
    assert hybrik[f"metric.{convention}.evaluate_xyz_24.returned"] == pytest.approx(found["mpjpe"], abs=LIMIT_MM)


def test_hybrik_per_vertex(packs: Path, hybrik: Arrays) -> None:
    """Two posed bodies, each relative to the pelvis that Human3.6M's regressor takes from it."""
    body = load_body(packs / "hybrik/toy_smpl.npz")
    pelvis = arrays(packs / "hybrik/toy_smpl.npz")["J_regressor_h36m"][0].astype(np.float64)
    meshes = []
    for which in "ab":
        rotations = axis_angle_to_matrix(torch.from_numpy(hybrik[f"metric.pve.pose_{which}"]).unflatten(1, (24, 3)))
        betas = torch.from_numpy(hybrik[f"metric.pve.betas_{which}"])
        meshes.append(MM * body.pose(rotations, betas).vertices.double().numpy())
    error = metrics.pve(*meshes, *(pelvis @ mesh for mesh in meshes)).mean()
    assert error == pytest.approx(float(hybrik["metric.pve_mm"]), abs=LIMIT_MM)
