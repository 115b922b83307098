"""Top-down 2D pose estimators in ONNX: person box -> crop -> network -> joints.

RTMPose (Jiang et al., arXiv:2303.07399) puts out a distribution over x and one over y for each joint (SimCC, two bins a
pixel); ViTPose (Xu et al., NeurIPS 2022) a heatmap at a quarter of the crop's size. Crops as in MMPose: the box with
its centre kept, widened to the network's aspect ratio, times 1.25. RTMPose's crops map corners of pixels (the classic
affine map), ViTPose's centres of pixels (UDP, Huang et al., CVPR 2020).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.crops import apply_affine, invert_affine
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import Keypoints, Sample
from posesyn_pose2d.config import Pose2dConfig
from posesyn_pose2d.session import open_session, picture_input, run

MARGIN = 1.25
SIMCC_BINS = 2
"""Bins of a SimCC distribution for each pixel of the crop."""
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
BLUR = 11
"""Side in cells of the Gaussian that smooths a heatmap before the peak is refined (DARK, Zhang et al., CVPR 2020)."""

Floats = NDArray[np.float32]


class OnnxKeypoints:
    """Runs the ONNX file; fits ``KeypointEstimator``."""

    def __init__(self, config: Pose2dConfig, kind: Literal["simcc", "heatmaps"]) -> None:
        """UserError if the file is missing, no ONNX graph, or does not put out what ``kind`` says."""
        if not config.model:
            raise UserError("a 2D pose estimator needs its ONNX file: set labeller.model")
        self.session, path = open_session(config.model, config.threads, "2D pose estimator")
        self.joint_set, self.kind = config.joint_set, kind
        given = picture_input(self.session, path)
        if given.height is None or given.width is None:
            raise UserError(f"{str(path)!r} leaves the crop's size open; export it with a fixed height and width")
        self.input, self.width, self.height = given.name, given.width, given.height
        self.batch = given.batch or config.batch
        self._check_outputs(path)

    def _check_outputs(self, path: Path) -> None:
        outputs = [output.shape for output in self.session.get_outputs()]
        count = len(joint_set(self.joint_set))
        wanted = 2 if self.kind == "simcc" else 1
        ranks = 3 if self.kind == "simcc" else 4
        if len(outputs) != wanted or any(len(shape) != ranks for shape in outputs):
            shapes = " and ".join(map(str, outputs))
            raise UserError(f"{str(path)!r} puts out {shapes}: not what {self.kind} are; take the other of the two")
        if any(isinstance(shape[1], int) and shape[1] != count for shape in outputs):
            raise UserError(f"{str(path)!r} predicts {outputs[0][1]} joints, but {self.joint_set} has {count}")

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        """The joints of the person in each box. SampleError for a bad image or box."""
        crops, maps = zip(*(self._crop(sample) for sample in samples), strict=True)
        found: list[Keypoints] = []
        for at in range(0, len(crops), self.batch):
            points, confidence = self._infer(np.stack(crops[at : at + self.batch]))
            in_image = apply_affine(invert_affine(np.stack(maps[at : at + self.batch])), points)
            found += [Keypoints(p, c) for p, c in zip(in_image, confidence, strict=True)]
        return found

    def _crop(self, sample: Sample) -> tuple[Floats, NDArray[np.float64]]:
        """Network input (3, height, width) and the map (2, 3) from the image to the crop."""
        image = load_image(sample.image)
        check_box(sample.box, image.shape[1], image.shape[0])
        matrix = self.crop_map(sample.box)
        pixels = cv2.warpAffine(image, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)
        return ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1).astype(np.float32), matrix

    def crop_map(self, box: Floats) -> NDArray[np.float64]:
        """(2, 3) from the image to the crop, as the networks were trained with."""
        centre = (box[:2] + box[2:]).astype(np.float64) / 2
        wide, high = MARGIN * (box[2:] - box[:2]).astype(np.float64)
        wide = max(wide, high * self.width / self.height)
        size = np.array([self.width, self.height], np.float64)
        extent = size if self.kind == "simcc" else size - 1
        scale = extent[0] / wide
        return np.column_stack([np.eye(2) * scale, extent / 2 - scale * centre])

    def _infer(self, crops: Floats) -> tuple[Floats, Floats]:
        """Joints (B, J, 2) in pixels of the crop, and confidence (B, J)."""
        count = len(crops)
        padded = np.concatenate([crops, np.zeros((self.batch - count, *crops.shape[1:]), np.float32)])
        outputs: list[Floats] = [output[:count] for output in run(self.session, self.input, padded)]
        if self.kind == "simcc":
            return decode_simcc(*outputs)
        points, confidence = decode_heatmaps(outputs[0])
        rows, columns = outputs[0].shape[2:]
        cell = np.array([(self.width - 1) / (columns - 1), (self.height - 1) / (rows - 1)], np.float32)
        return (points * cell).astype(np.float32), confidence


def decode_simcc(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Distributions (B, J, 2 width) and (B, J, 2 height) -> joints (B, J, 2) in crop pixels and confidence (B, J).

    The confidence is the smaller of the two peaks, as in RTMPose; a peak that is not positive means 0.
    """
    points = np.stack([x.argmax(-1), y.argmax(-1)], axis=-1) / SIMCC_BINS
    return points.astype(np.float32), np.clip(np.minimum(x.max(-1), y.max(-1)), 0, 1)


def decode_heatmaps(maps: Floats) -> tuple[Floats, Floats]:
    """Heatmaps (B, J, H, W) -> joints (B, J, 2) in cells, refined below a cell, and confidence (B, J).

    The refinement is DARK's: one Newton step on the logarithm of the smoothed map.
    """
    batch, joints, height, width = maps.shape
    flat = maps.reshape(batch * joints, height, width)
    confidence = np.clip(flat.reshape(len(flat), -1).max(-1), 0, 1)
    smooth = np.stack([cv2.GaussianBlur(one, (BLUR, BLUR), 0) for one in flat])
    log = np.log(np.clip(smooth, 1e-3, 50))
    y, x = np.divmod(flat.reshape(len(flat), -1).argmax(-1), width)
    padded, at = np.pad(log, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.arange(len(flat))

    def near(dy: int, dx: int) -> Floats:
        return padded[at, y + 1 + dy, x + 1 + dx]

    slope = np.stack([near(0, 1) - near(0, -1), near(1, 0) - near(-1, 0)], axis=-1) / 2
    xx = near(0, 1) - 2 * near(0, 0) + near(0, -1)
    yy = near(1, 0) - 2 * near(0, 0) + near(-1, 0)
    xy = (near(1, 1) - near(-1, 1) - near(1, -1) + near(-1, -1)) / 4
    curvature = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
    curvature += np.finfo(np.float32).eps * np.eye(2, dtype=np.float32)
    step = np.linalg.solve(curvature, slope[..., None])[..., 0]
    points = np.stack([x, y], -1) - np.clip(step, -1, 1)
    return points.reshape(batch, joints, 2).astype(np.float32), confidence.reshape(batch, joints)
