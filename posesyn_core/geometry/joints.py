"""Estimates and labels in whatever joint set they come, converted to the one that they are compared in.

Only joints that both sides have count. Joints are compared relative to the root that both have
(:func:`posesyn_core.geometry.skeletons.shared_root`).
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.geometry.skeletons import convert, hips, joint_set
from posesyn_core.values import LabelledFrame, PoseEstimate, Sample

Key = TypeVar("Key", bound=Hashable)
Converted = tuple[NDArray[np.floating], NDArray[np.bool_]]
"""Joints (N, J, D) and which of them are known (N, J); those that are not are 0."""


def places_of(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """Where each key stands: values that are alike, to be computed together."""
    places: dict[Key, list[int]] = defaultdict(list)
    for at, key in enumerate(keys):
        places[key].append(at)
    return dict(places)


def known_joints(estimate: PoseEstimate, dimensions: int) -> NDArray[np.bool_]:
    """(J,) which joints an estimate knows in 2 or 3 ``dimensions``."""
    finite = np.asarray(np.isfinite(estimate.joints2d if dimensions == 2 else estimate.joints3d).all(-1))
    return finite if estimate.confidence is None else finite & (estimate.confidence > 0)


def estimated(estimates: Sequence[PoseEstimate], target: str, dimensions: int, dtype: type = np.float32) -> Converted:
    """The 2D (pixels) or 3D joints (metres) of estimates that are all of one joint set, in ``target``.

    Midpoints are computed in ``dtype``.
    """
    (source,) = {estimate.joint_set for estimate in estimates}
    points: NDArray[np.floating] = np.array([e.joints2d if dimensions == 2 else e.joints3d for e in estimates], dtype)
    finite = np.asarray(np.isfinite(points).all(-1))
    if any(estimate.confidence is not None for estimate in estimates):
        finite &= np.stack([known_joints(estimate, dimensions) for estimate in estimates])
    return convert(points, finite, source, target)


def check_estimate(estimate: PoseEstimate) -> None:
    """SampleError for joints that are not those of the set, are infinite, or of which none is known in 2D and in 3D.

    UserError for a joint set that nobody registered.
    """
    expected = len(joint_set(estimate.joint_set))
    if len(estimate.joints3d) != expected:
        raise SampleError(
            f"the estimator returned {len(estimate.joints3d)} joints, but {estimate.joint_set!r} has {expected}"
        )
    joints = estimate.joints2d, estimate.joints3d
    if any(np.isinf(each).any() for each in joints) or not all(known_joints(estimate, d).any() for d in (2, 3)):
        raise SampleError("the estimator returned numbers that are not finite")


def labelled_frame(sample: Sample) -> LabelledFrame:
    """A data set's sample as a training frame, with all the joints of its own set.

    A sample with the true joints of SMPL is of SMPL's set, its keypoints converted. Measured 3D joints without a root
    can't be compared with anything and are left out.
    """
    known = sample.confidence > 0
    name, points, joints3d, confidence3d = sample.joint_set, sample.keypoints2d, sample.joints3d, None
    if joints3d is not None and name != "smpl24":
        points, known = convert(points, known, name, "smpl24")
        name = "smpl24"
    elif joints3d is None and sample.keypoints3d is not None:
        solid = np.asarray(np.isfinite(sample.keypoints3d).all(-1))
        root = _root(solid, name)
        if root:
            centre = sample.keypoints3d[root].mean(0)
            joints3d, confidence3d = np.where(solid[:, None], sample.keypoints3d - centre, 0), solid.astype(np.float32)
    return LabelledFrame(
        id=sample.id,
        image=sample.image,
        box=sample.box,
        joints2d=np.where(known[:, None], points, 0),
        confidence=known.astype(np.float32),
        camera=sample.camera,
        joints3d=joints3d,
        confidence3d=confidence3d,
        smpl=sample.smpl,
        source="real",
        joint_set=name,
        neighbours=sample.neighbours,
    )


def frame_in(frame: LabelledFrame, target: str) -> LabelledFrame:
    """The frame in another joint set: what can't be had there is unknown; 3D joints are relative to its root, or
    where that is unknown, to the middle of the hips."""
    source = frame.joint_set
    if source == target:
        return frame
    joints2d, labelled = convert(frame.joints2d, frame.confidence > 0, source, target)
    joints3d = confidence3d = None
    if frame.joints3d is not None:
        solid = frame.labels3d()
        points, known = convert(solid[:, :3], solid[:, 3] > 0, source, target)
        root = _root(known, target)
        if root:
            joints3d = np.where(known[:, None], points - points[root].mean(0), 0)
            confidence3d = known.astype(np.float32)
    return evolve(
        frame,
        joints2d=joints2d,
        confidence=labelled.astype(np.float32),
        joints3d=joints3d,
        confidence3d=confidence3d,
        joint_set=target,
    )


def _root(known: NDArray[np.bool_], name: str) -> list[int]:
    """The joints of the set's root if they are ``known`` (J,), else the hips if those are, else none."""
    candidates = joint_set(name).root, hips(name)
    return next((list(root) for root in candidates if root and known[list(root)].all()), [])
