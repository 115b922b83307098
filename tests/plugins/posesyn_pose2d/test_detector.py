"""Person detectors in ONNX: a tiny graph that finds what is red."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core.components import Kind, PersonDetector
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry
from posesyn_core.values import Image
from tests.onnx_graphs import SIDE, detector_graph, keypoint_graph

LIMITS = {"rtmdet": 1.5, "yolox": 200.0}
"""Of the red channel, which RTMDet's input has normalised: 255 becomes 2.2."""


def detector(name: str, path: Path, **options: Any) -> PersonDetector:
    made: PersonDetector = Registry.discover().create(Kind.DETECTOR, name, {"model": str(path), **options}, "test")
    return made


def picture(box: tuple[int, int, int, int], width: int, height: int) -> Image:
    """Grey with a red rectangle (first and last pixel), and a blue one that is not meant."""
    image = np.full((height, width, 3), 90, np.uint8)
    x0, y0, x1, y1 = box
    image[: height // 4, : width // 4] = (0, 0, 255)
    image[y0 : y1 + 1, x0 : x1 + 1] = (255, 0, 0)
    return image


@pytest.mark.parametrize("name", LIMITS)
def test_boxes_come_back_in_the_pixels_of_the_picture(tmp_path: Path, name: str) -> None:
    found = detector(name, detector_graph(tmp_path / "d.onnx", LIMITS[name]))
    wide = picture((120, 40, 239, 159), 4 * SIDE, 2 * SIDE)  # shrunk to a quarter
    small = picture((10, 20, 29, 39), 48, 48)  # enlarged twice
    nobody = np.full((60, 80, 3), 90, np.uint8)
    first, second, third = found.find_people([wide, small, nobody])
    np.testing.assert_allclose(first.boxes, [[119.5, 39.5, 239.5, 159.5]], atol=4)
    np.testing.assert_allclose(second.boxes, [[9.5, 19.5, 29.5, 39.5]], atol=1)
    np.testing.assert_allclose(first.scores, [0.9])
    assert third.boxes.shape == (0, 4)


def test_whatever_the_batch_and_the_size(tmp_path: Path) -> None:
    pictures = [picture((10, 20, 29, 39), 48, 48), picture((40, 8, 59, 60), 90, 70), picture((2, 2, 20, 40), 48, 48)]
    one = detector("yolox", detector_graph(tmp_path / "1.onnx", 200)).find_people(pictures)
    fixed = detector("yolox", detector_graph(tmp_path / "2.onnx", 200, batch=2)).find_people(pictures)
    path = detector_graph(tmp_path / "open.onnx", 200, batch="batch", side="side")
    free = detector("yolox", path, size=SIDE, batch=3).find_people(pictures)
    for a, b, c in zip(one, fixed, free, strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.boxes, c.boxes)


def test_the_unsure_are_left_out(tmp_path: Path) -> None:
    strict = detector("yolox", detector_graph(tmp_path / "d.onnx", 200), min_score=0.95)
    assert len(strict.find_people([picture((10, 20, 29, 39), 48, 48)])[0].boxes) == 0


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set its option 'model'"):
        detector("rtmdet", Path(), model="")
    with pytest.raises(UserError, match=r"person detector .*gone\.onnx.* does not exist"):
        detector("rtmdet", tmp_path / "gone.onnx")
    with pytest.raises(UserError, match=r"puts out .* not boxes \(B, N, 5\) and labels"):
        detector("rtmdet", keypoint_graph(tmp_path / "pose.onnx", "simcc"))
