"""The filter ``posegen_rejection``: Eq. 13 of PoseGen, f(w) = w if w < d, else 0."""

from collections.abc import Sequence

import numpy as np
import torch

from posesyn_core.geometry.joints import estimated
from posesyn_core.geometry.skeletons import SMPL24, convert
from posesyn_core.values import LabelledFrame, PoseEstimate, Verdict
from posesyn_posegen.config import RejectionConfig
from posesyn_posegen.model import FEEDBACK_JOINTS, rescaled_error

MM = 1000.0


class Rejection:
    """Keeps a frame if the estimator's error on it is below d: pictures of hard poses may belie their labels.

    The error is the released loss's: the mean distance over 14 joints (fewer where estimator or label knows fewer)
    relative to the root, the estimate scaled to the label's size. The paper asks in every step of the training, with
    the estimator as it is by then; here it is asked once, before it.
    """

    def __init__(self, config: RejectionConfig) -> None:
        self.config = config

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame; where the root or half of the 14 joints are unknown, it is dropped."""
        return [self._verdict(self._error(f, e)) for f, e in zip(frames, estimates, strict=True)]

    def _error(self, frame: LabelledFrame, estimate: PoseEstimate) -> float:
        """mm; NaN where too little is known."""
        predicted, known = (each[0] for each in estimated([estimate], SMPL24.name, 3, np.float64))
        labels = frame.labels3d().astype(np.float64)
        truth, labelled = convert(labels[:, :3], labels[:, 3] > 0, frame.joint_set, SMPL24.name)
        both = known & labelled
        places = [joint for joint in FEEDBACK_JOINTS if both[joint]]
        if not both[0] or 2 * len(places) < len(FEEDBACK_JOINTS):
            return float("nan")
        pair = [torch.from_numpy((joints - joints[:1])[places])[None] for joints in (predicted, truth)]
        if self.config.rescale:
            return MM * float(rescaled_error(*pair))
        return MM * float(torch.linalg.vector_norm(pair[0] - pair[1], dim=-1).mean())

    def _verdict(self, error: float) -> Verdict:
        if not np.isfinite(error):
            return Verdict(False, error, "the 3D error is not finite: the label or the estimate is missing or broken")
        if error >= self.config.threshold:
            return Verdict(False, error, f"3D error {error:.1f} mm is not below d = {self.config.threshold:g} mm")
        return Verdict(True, error)
