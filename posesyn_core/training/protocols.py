"""How a data set's official evaluation compares estimates with the truth.

A reader whose data set has a protocol of its own carries it as the attribute ``protocol``; others get the default.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from posesyn_core.geometry import skeletons
from posesyn_core.geometry.joints import estimated, places_of
from posesyn_core.geometry.skeletons import H36M17, shared_root
from posesyn_core.method import metrics
from posesyn_core.values import EvaluationProtocol, PoseEstimate, Sample

MM = 1000.0
BODY_JOINTS = skeletons.HUMANML22.joints
"""SMPL's joints but the hands: those that motions and estimators share; the hands depend on the body model."""

Floats = NDArray[np.float64]


H36M_14 = (
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "thorax", "head"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
)
"""The 14 of Human3.6M's 17 joints that evaluations on 3DPW and Human3.6M compare (SPIN, HMR, 4DHumans)."""


@frozen(eq=False)
class Compared:
    """Joints to measure, relative to the root: mm (N, J, 3), and which of them count (N, J)."""

    predicted: Floats
    truth: Floats
    valid: NDArray[np.bool_]


METRICS: Mapping[str, Callable[[Compared], Floats]] = {
    "mpjpe": lambda c: metrics.mpjpe(c.predicted, c.truth, valid=c.valid),
    "pa_mpjpe": lambda c: metrics.pa_mpjpe(c.predicted, c.truth, c.valid),
    "n_mpjpe": lambda c: metrics.n_mpjpe(c.predicted, c.truth, valid=c.valid),
    "pck": lambda c: metrics.pck(c.predicted, c.truth, valid=c.valid),
    "auc": lambda c: metrics.auc(c.predicted, c.truth, valid=c.valid),
}
"""Metrics of 3D joints; the first three in mm, PCK (150 mm) and AUC in percent."""


def compared_3d(samples: Sequence[Sample], estimates: Sequence[PoseEstimate], protocol: EvaluationProtocol) -> Compared:
    """The joints of samples that all have ``joints3d``, or all ``keypoints3d`` of one joint set; so the estimates."""
    if all(sample.joints3d is not None for sample in samples):
        if protocol.regressed:  # its joints are Human3.6M's, which take the regressor
            protocol = evolve(protocol, joints=(), root=())
        name, truth = "smpl24", np.array([sample.joints3d for sample in samples], np.float64)
    else:
        name, truth = samples[0].joint_set, np.array([sample.keypoints3d for sample in samples], np.float64)
    predicted, known = estimated(estimates, name, 3, np.float64)
    return compare_joints(MM * predicted, MM * truth, known, name, protocol, shared_root(estimates[0].joint_set, name))


def predicts_regressed(name: str, protocol: EvaluationProtocol) -> bool:
    """Does an estimator of this joint set predict those of Human3.6M that a ``regressed`` protocol counts?"""
    has = (skeletons.conversion(name, H36M17.name) != 0).any(1)
    counted = [H36M17.joints.index(joint) for joint in (*protocol.root, *(protocol.joints or H36M17.joints))]
    return bool(has[counted].all())


def compared_regressed(
    predicted: NDArray[np.floating],
    truth: Floats,
    protocol: EvaluationProtocol,
    known: NDArray[np.bool_] | None = None,
) -> Compared:
    """Joints (N, 17, 3) in mm that Human3.6M's regressor took from the meshes of truth and estimate.

    An estimator that predicts those joints itself needs no mesh; then ``known`` (N, 17) says which it knows.
    """
    known = np.ones(predicted.shape[:2], bool) if known is None else known
    return compare_joints(predicted, truth, known, H36M17.name, protocol, H36M17.root)


def compare_joints(
    predicted: NDArray[np.floating],
    truth: Floats,
    known: NDArray[np.bool_],
    name: str,
    protocol: EvaluationProtocol,
    shared: Sequence[int],
) -> Compared:
    """The joints of set ``name`` that the protocol counts, relative to its root, or where the prediction has none, to
    the ``shared`` one.

    ``known`` (N, J) says which the prediction has; a joint whose truth is not finite does not count, and without its
    root none of a sample's does.
    """
    joint_set = skeletons.joint_set(name)
    root = [joint_set.joints.index(joint) for joint in protocol.root]
    if not root or not known[:, root].any():
        root = list(shared)
    known = known & np.isfinite(truth).all(-1)
    known &= known[:, root].all(1, keepdims=True)
    everything = [joint for joint in joint_set.joints if name != "smpl24" or joint in BODY_JOINTS]
    places = [joint_set.joints.index(joint) for joint in protocol.joints or everything]
    moved = predicted - predicted[:, root].mean(1, keepdims=True)
    fixed = np.where(known[..., None], truth - truth[:, root].mean(1, keepdims=True), 0)
    return Compared(moved[:, places], fixed[:, places], known[:, places])


def pckh(samples: Sequence[Sample], estimates: Sequence[PoseEstimate], alpha: float) -> Floats:
    """(N,) PCKh in percent over the labelled joints that the estimate has too; NaN without a head size."""
    errors = np.full(len(samples), np.nan)
    alike = places_of((s.joint_set, e.joint_set) for s, e in zip(samples, estimates, strict=True))
    for (name, _), places in alike.items():
        at = [i for i in places if samples[i].head_size is not None]
        if at:
            predicted, derivable = estimated([estimates[i] for i in at], name, 2)
            truth = np.stack([samples[i].keypoints2d for i in at])
            labelled = np.stack([samples[i].confidence for i in at]) > 0
            heads = np.array([samples[i].head_size for i in at], np.float64)
            errors[at] = metrics.pckh(predicted, truth, heads, alpha, labelled & derivable)
    return errors
