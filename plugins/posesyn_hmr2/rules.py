"""Which labels the official loader believes, and which people it leaves out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import evolve
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.reading import read_npy
from posesyn_hmr2.people import Person

LEAST_CONFIDENCE = 0.3
LARGEST_BETA = 3.0
FEWEST_KEYPOINTS = 5
LARGEST_REPROJECTION_LOSS = 31_000.0

THRESHOLDS = (
    *(5e-5, 5e-5, 2e-3, 5e-6, 5e-6, 1e-2, 5e-6, 5e-6, 2.5e-2, 0.0, 0.0),
    *(2e-4, 4.5e-4, 4.5e-4, 5e-4, 2e-4, 2e-4, 4e-5, 4e-5, 1e-3, 1e-3),
)
"""A pose passes if the density of each of SMPL's joints 1..21 is above these."""
_SMOOTHING = 2.0


class PosePrior:
    """How usual a pose is: densities of axis-angles of motion capture (AMASS), joint by joint."""

    def __init__(self, histogram: ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> None:
        """``histogram`` (21, n, n, n) counts the axis-angles of SMPL's joints 1..21 in n bins over -pi..pi each.

        As published, it is divided by the counts of all joints together and smoothed over the joints as well.
        """
        counts = np.asarray(histogram, np.float64)
        self.bins = counts.shape[1]
        density = counts / counts.sum() / (2 * np.pi / self.bins) ** 3
        self.density = gaussian_filter(density, _SMOOTHING, mode="constant")
        self.thresholds = np.asarray(thresholds)

    def densities(self, body_pose: ArrayLike) -> NDArray[np.float64]:
        """(..., 21) of poses (..., 23, 3): axis-angles of SMPL's joints 1..23, of which the hands do not count."""
        pose = np.asarray(body_pose, np.float64)[..., :21, :]
        wrapped = Rotation.from_rotvec(pose.reshape(-1, 3)).as_rotvec().reshape(pose.shape)
        at = np.floor((wrapped + np.pi) / (2 * np.pi) * (self.bins - 1e-6)).astype(int)
        return self.density[(np.arange(pose.shape[-2]), *np.moveaxis(at, -1, 0))]

    def usual(self, body_pose: ArrayLike) -> NDArray[np.bool_]:
        """(...) whether poses (..., 23, 3) are believed."""
        return np.all(self.densities(body_pose) > self.thresholds, axis=-1)


def load_prior(path: Path) -> PosePrior:
    """The prior of ``amass_poses_hist100_SMPL+H_G.npy``; UserError if the file holds no such histogram."""
    histogram = read_npy(path, "pose histogram", "a plain array (21, n, n, n)")
    if histogram.ndim != 4 or len(histogram) != len(THRESHOLDS) or len(set(histogram.shape[1:])) != 1:
        raise UserError(f"pose histogram {str(path)!r} has shape {histogram.shape}, not (21, n, n, n)")
    return PosePrior(histogram)


def believed(person: Person, prior: PosePrior | None = None) -> Person:
    """The person with the labels that the official loader would use. SampleError if it would leave the person out.

    Keypoints of little confidence count as absent. Pose and shape are believed only together, and not with betas
    beyond 3 or an unusual pose. Where the shape is not known it is regularised towards 0, but for frames of ours that
    say so of a true pose: they train the pose alone. (The official loader also knows nine corrupt images of AI
    Challenger by name; here what can't be decoded is rejected.)
    """
    keypoints = person.keypoints_2d.copy()
    keypoints[keypoints[:, 2] < LEAST_CONFIDENCE, 2] = 0
    if np.count_nonzero(keypoints[:, 2]) < FEWEST_KEYPOINTS:
        raise SampleError(f"fewer than {FEWEST_KEYPOINTS} keypoints are labelled")
    if person.reprojection_loss >= LARGEST_REPROJECTION_LOSS:
        raise SampleError(f"the body was fitted badly (reprojection loss {person.reprojection_loss:g})")
    posed = person.has_body_pose and (prior is None or bool(prior.usual(person.body_pose[3:].reshape(23, 3))))
    shaped = person.has_betas and bool((np.abs(person.betas) <= LARGEST_BETA).all())
    return evolve(
        person,
        keypoints_2d=keypoints,
        has_body_pose=posed and (shaped or person.pose_alone),
        betas=person.betas if posed and shaped else np.zeros_like(person.betas),
        has_betas=not person.pose_alone,
    )
