"""Person detectors in ONNX: picture -> letterbox -> network with its own suppression of doubles -> boxes.

The files are those that MMDeploy makes of MMDetection's detectors, and that RTMPose is published with: one input
(B, 3, height, width), the outputs ``dets`` (B, N, 5), x0, y0, x1, y1 in pixels of the input and the score, and
``labels`` (B, N), in which 0 is COCO's "person" (or the only class). Rows of score 0 fill up.

The picture is shrunk or enlarged to fit the input, keeping its shape, into the top left corner of a grey one, its
channels in the order blue, green, red. RTMDet (Lyu et al., arXiv:2212.07784) is given them less ImageNet's mean, over
its deviation; YOLOX (Ge et al., arXiv:2107.08430) as they are.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.values import Detections, Image
from posesyn_pose2d.config import DetectorConfig
from posesyn_pose2d.session import open_session, picture_input, run

GREY = 114
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
"""Of blue, green and red."""
PERSON = 0

Floats = NDArray[np.float32]


def _names(shape: Sequence[int | str | None]) -> list[str]:
    """The names of the dimensions that an ONNX file leaves open."""
    return [size for size in shape if isinstance(size, str)]


class OnnxDetector:
    """Runs the ONNX file; fits ``PersonDetector``."""

    def __init__(self, config: DetectorConfig, kind: Literal["rtmdet", "yolox"]) -> None:
        """UserError if the file is missing, no ONNX graph, or does not put out boxes and labels."""
        if not config.model:
            raise UserError("a person detector needs its ONNX file: set its option 'model'")
        self.config, self.kind = config, kind
        self.session, path = open_session(config.model, config.threads, "person detector")
        shapes = [output.shape for output in self.session.get_outputs()]
        if [len(shape) for shape in shapes] != [3, 2] or shapes[0][2] not in (5, None, *_names(shapes[0])):
            found = " and ".join(map(str, shapes)) or "nothing"
            raise UserError(
                f"{str(path)!r} puts out {found}, not boxes (B, N, 5) and labels (B, N); export it with MMDeploy"
            )
        given = picture_input(self.session, path)
        self.input, self.batch = given.name, given.batch or config.batch
        self.height, self.width = given.height or config.size, given.width or config.size

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        """The people in each picture, surest first."""
        found: list[Detections] = []
        for at in range(0, len(images), self.batch):
            found += self._find(images[at : at + self.batch])
        return found

    def _find(self, images: Sequence[Image]) -> list[Detections]:
        inputs = np.zeros((self.batch, 3, self.height, self.width), np.float32)
        scales = []
        for at, image in enumerate(images):
            inputs[at], scale = self._letterbox(image)
            scales.append(scale)
        boxes, labels = run(self.session, self.input, inputs)
        return [
            self._people(boxes[at], labels[at], scale, image)
            for at, (scale, image) in enumerate(zip(scales, images, strict=True))
        ]

    def _letterbox(self, image: Image) -> tuple[Floats, Floats]:
        """The network's input (3, height, width), and the pixels (2,) in it for a pixel across and down the image."""
        height, width = image.shape[:2]
        ratio = min(self.height / height, self.width / width)
        size = max(1, int(width * ratio + 0.5)), max(1, int(height * ratio + 0.5))
        canvas = np.full((self.height, self.width, 3), GREY, np.float32)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)[..., ::-1]
        if self.kind == "rtmdet":
            canvas = (canvas - MEAN) / DEVIATION
        return canvas.transpose(2, 0, 1), np.array([size[0] / width, size[1] / height], np.float32)

    def _people(self, rows: Floats, labels: NDArray[np.integer], scale: Floats, image: Image) -> Detections:
        """Boxes in pixels of the image, cut off at its edges."""
        wanted = (labels == PERSON) & (rows[:, 4] >= self.config.min_score) & (rows[:, 4] > 0)
        rows = rows[wanted][np.argsort(-rows[wanted, 4], kind="stable")]
        last = np.array([image.shape[1] - 1, image.shape[0] - 1] * 2, np.float32)
        # Detectors count from pixel corners, boxes here from pixel centres.
        boxes = np.clip(rows[:, :4] / np.tile(scale, 2) - 0.5, 0, last).astype(np.float32)
        seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return Detections(boxes[seen], rows[seen, 4])
