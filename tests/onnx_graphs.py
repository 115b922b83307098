"""Tiny ONNX networks in the official output formats, whose answers a test can know."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CROP_WIDTH, CROP_HEIGHT, JOINTS = 48, 64, 17
SIDE = 96
"""Of the detectors' input."""


def keypoint_graph(
    path: Path, kind: str, joints: int = JOINTS, batch: "int | str" = "batch", mix: NDArray[np.float32] | None = None
) -> Path:
    """A 2D pose estimator: each joint is the brightest pixel of the crop's channels mixed by ``mix`` (joints, 3).

    Without ``mix`` the first joint is the brightest red pixel, the second the brightest green one, the rest nothing.
    SimCC: the largest value of each column and row, every bin twice; heatmaps: the mixture itself, pooled 4 x 4.
    """
    mix = np.eye(joints, 3, dtype=np.float32) if mix is None else mix.astype(np.float32)
    pick = numpy_helper.from_array(mix[:, :, None, None], "pick")
    crops = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, CROP_HEIGHT, CROP_WIDTH])
    nodes = [helper.make_node("Conv", ["input", "pick"], ["maps"])]
    if kind == "simcc":
        outputs = []
        for name, size in (("x", CROP_WIDTH), ("y", CROP_HEIGHT)):
            nodes.append(helper.make_node("ReduceMax", ["maps", f"{name}_axis"], [f"{name}_max"], keepdims=0))
            nodes.append(helper.make_node("Unsqueeze", [f"{name}_max", "last"], [f"{name}_1"]))
            nodes.append(helper.make_node("Concat", [f"{name}_1", f"{name}_1"], [f"{name}_2"], axis=-1))
            nodes.append(helper.make_node("Reshape", [f"{name}_2", f"{name}_shape"], [f"simcc_{name}"]))
            outputs.append(helper.make_tensor_value_info(f"simcc_{name}", TensorProto.FLOAT, [batch, joints, 2 * size]))
        constants = [
            pick,
            numpy_helper.from_array(np.array([2]), "x_axis"),
            numpy_helper.from_array(np.array([3]), "y_axis"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([0, joints, 2 * CROP_WIDTH]), "x_shape"),
            numpy_helper.from_array(np.array([0, joints, 2 * CROP_HEIGHT]), "y_shape"),
        ]
    else:
        nodes.append(helper.make_node("MaxPool", ["maps"], ["heatmaps"], kernel_shape=[4, 4], strides=[4, 4]))
        shape = [batch, joints, CROP_HEIGHT // 4, CROP_WIDTH // 4]
        outputs = [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, shape)]
        constants = [pick]
    return _save(path, nodes, [crops], outputs, constants)


def detector_graph(path: Path, brighter_than: float, batch: "int | str" = 1, side: "int | str" = SIDE) -> Path:
    """A person detector: the box about all pixels whose last channel is ``brighter_than``, with the score 0.9.

    Three rows a picture, as MMDeploy's graphs put them out: that person, a dog (label 1) in the same place, and a row
    of zeros; where no pixel is bright enough, the person has the score 0.
    """
    pictures = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, side, side])
    constants = [
        numpy_helper.from_array(np.array(2), "channel"),
        numpy_helper.from_array(np.float32(brighter_than), "limit"),
        numpy_helper.from_array(np.float32(1), "one"),
        numpy_helper.from_array(np.float32([[[0.9], [0.8], [0.0]]]), "scores_of_rows"),
        numpy_helper.from_array(np.float32([[[1.0], [1.0], [0.0]]]), "filled"),
        numpy_helper.from_array(np.array([[0, 1, 0]]), "labels_of_rows"),
        numpy_helper.from_array(np.array([1, 2]), "places"),
        numpy_helper.from_array(np.array([1]), "first"),
        numpy_helper.from_array(np.array([2]), "second"),
        numpy_helper.from_array(np.array([-1]), "last"),
    ]
    nodes = [
        helper.make_node("Gather", ["input", "channel"], ["red"], axis=1),
        helper.make_node("Greater", ["red", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.FLOAT),
    ]
    for name, axis in (("x", "first"), ("y", "second")):  # (B, side): whether a column or a row has a bright pixel
        nodes += [
            helper.make_node("ReduceMax", ["mask", axis], [f"{name}_any"], keepdims=0),
            helper.make_node("ArgMax", [f"{name}_any"], [f"{name}0_at"], axis=1, keepdims=1),
            helper.make_node("ArgMax", [f"{name}_any"], [f"{name}1_at"], axis=1, keepdims=1, select_last_index=1),
            helper.make_node("Cast", [f"{name}0_at"], [f"{name}0"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"{name}1_at"], [f"{name}1_last"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"{name}1_last", "one"], [f"{name}1"]),
        ]
    nodes += [
        helper.make_node("Concat", ["x0", "y0", "x1", "y1"], ["box"], axis=1),
        helper.make_node("Unsqueeze", ["box", "first"], ["box_row"]),
        helper.make_node("Mul", ["box_row", "filled"], ["boxes"]),
        helper.make_node("ReduceMax", ["mask", "places"], ["any"], keepdims=0),
        helper.make_node("Unsqueeze", ["any", "first"], ["any_1"]),
        helper.make_node("Unsqueeze", ["any_1", "last"], ["any_2"]),
        helper.make_node("Mul", ["any_2", "scores_of_rows"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["dets"], axis=2),
        helper.make_node("Cast", ["any_1"], ["any_whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["any_whole", "any_whole"], ["zero"]),
        helper.make_node("Add", ["zero", "labels_of_rows"], ["labels"]),
    ]
    outputs = [
        helper.make_tensor_value_info("dets", TensorProto.FLOAT, [batch, 3, 5]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [batch, 3]),
    ]
    return _save(path, nodes, [pictures], outputs, constants)


def _save(path: Path, nodes: list, inputs: list, outputs: list, constants: list) -> Path:
    made = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path
