"""2D pose estimators in ONNX: tiny graphs that answer with places that the test knows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.components import KeypointEstimator, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.registry import Registry
from posesyn_core.values import Sample
from posesyn_pose2d.config import Pose2dConfig
from posesyn_pose2d.estimator import OnnxKeypoints, decode_heatmaps, decode_simcc
from tests.onnx_graphs import keypoint_graph


def sample(red: tuple[int, int], green: tuple[int, int], box: tuple[float, ...] = (20, 10, 110, 150)) -> Sample:
    image = np.full((160, 140, 3), 30, np.uint8)
    for channel, (x, y) in enumerate((red, green)):
        image[y - 2 : y + 3, x - 2 : x + 3, channel] = 255
    return Sample("s", encode_png(image), box, "coco17", np.zeros((17, 2)), np.zeros(17))


@pytest.mark.parametrize(("kind", "tolerance"), [("simcc", 4.5), ("heatmaps", 12)])
def test_joints_come_back_in_image_pixels(tmp_path: Path, kind: str, tolerance: float) -> None:
    name = {"simcc": "rtmpose", "heatmaps": "vitpose"}[kind]
    options = {"model": str(keypoint_graph(tmp_path / "m.onnx", kind)), "batch": 2}
    detector: KeypointEstimator = Registry.discover().create(Kind.KEYPOINTS, name, options, "test")
    people = [sample((60, 40), (80, 120)), sample((40, 130), (100, 30)), sample((70, 70), (30, 90), (0, 0, 139, 120))]
    found = detector.detect(people)
    truth = [((60, 40), (80, 120)), ((40, 130), (100, 30)), ((70, 70), (30, 90))]
    for keypoints, places in zip(found, truth, strict=True):
        np.testing.assert_allclose(keypoints.points[:2], places, atol=tolerance)
        assert (keypoints.confidence[:2] == 1).all()
    np.testing.assert_array_equal(found[2].points, detector.detect(people[2:])[0].points)  # whatever the batch


def test_a_graph_of_fixed_batch_is_padded(tmp_path: Path) -> None:
    config = Pose2dConfig(model=str(keypoint_graph(tmp_path / "m.onnx", "simcc", batch=4)))
    (found,) = OnnxKeypoints(config, "simcc").detect([sample((60, 40), (80, 120))])
    np.testing.assert_allclose(found.points[0], (60, 40), atol=4.5)


def test_a_box_outside_the_picture_rejects_the_sample(tmp_path: Path) -> None:
    detector = OnnxKeypoints(Pose2dConfig(model=str(keypoint_graph(tmp_path / "m.onnx", "simcc"))), "simcc")
    with pytest.raises(SampleError, match="box"):
        detector.detect([sample((60, 40), (80, 120), (500, 500, 600, 600))])


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labeller\.model"):
        OnnxKeypoints(Pose2dConfig(), "simcc")
    with pytest.raises(UserError, match="nowhere"):
        OnnxKeypoints(Pose2dConfig(model="nowhere.onnx"), "simcc")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(UserError, match="can't be run"):
        OnnxKeypoints(Pose2dConfig(model=str(tmp_path / "text.onnx")), "simcc")
    heatmaps = str(keypoint_graph(tmp_path / "h.onnx", "heatmaps"))
    with pytest.raises(UserError, match="not what simcc are"):
        OnnxKeypoints(Pose2dConfig(model=heatmaps), "simcc")
    with pytest.raises(UserError, match="predicts 17 joints, but mpii16 has 16"):
        OnnxKeypoints(Pose2dConfig(model=heatmaps, joint_set="mpii16"), "heatmaps")


def test_crops_are_the_networks_own(tmp_path: Path) -> None:
    """The box's centre in the middle; the height or the width fills the crop but for the margin."""
    simcc = OnnxKeypoints(Pose2dConfig(model=str(keypoint_graph(tmp_path / "a.onnx", "simcc"))), "simcc")
    udp = OnnxKeypoints(Pose2dConfig(model=str(keypoint_graph(tmp_path / "b.onnx", "heatmaps"))), "heatmaps")
    box = np.array([10, 20, 50, 120], np.float32)
    for detector, extent in ((simcc, np.array([48.0, 64.0])), (udp, np.array([47.0, 63.0]))):
        matrix = detector.crop_map(box)
        np.testing.assert_allclose(matrix[:, :2] @ [30, 70] + matrix[:, 2], extent / 2)
        assert matrix[0, 0] == pytest.approx(extent[0] / (1.25 * 100 * 48 / 64))


@given(st.floats(4, 7), st.floats(5, 10))
def test_heatmaps_are_read_below_a_cell(x: float, y: float) -> None:
    rows, columns = np.mgrid[:16, :12]
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)).astype(np.float32)
    points, confidence = decode_heatmaps(blob[None, None])
    np.testing.assert_allclose(points[0, 0], (x, y), atol=0.15)
    assert 0.9 < confidence[0, 0] <= 1


def test_simcc_has_two_bins_a_pixel_and_the_smaller_peak() -> None:
    x, y = np.zeros((1, 1, 20), np.float32), np.zeros((1, 1, 30), np.float32)
    x[0, 0, 7], y[0, 0, 24] = 0.9, 0.4
    points, confidence = decode_simcc(x, y)
    assert points.tolist() == [[[3.5, 12.0]]] and confidence.tolist() == [[pytest.approx(0.4)]]
