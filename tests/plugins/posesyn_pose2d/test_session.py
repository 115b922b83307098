"""What ONNX files say to take, and how they fail."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from posesyn_core.errors import SampleError, UserError
from posesyn_pose2d.session import Pictures, open_session, picture_input, run
from tests import onnx_graphs


def test_what_a_network_takes(tmp_path: Path) -> None:
    session, path = open_session(str(onnx_graphs.keypoint_graph(tmp_path / "a.onnx", "simcc")), 1, "network")
    assert picture_input(session, path) == Pictures("input", None, onnx_graphs.CROP_HEIGHT, onnx_graphs.CROP_WIDTH)


@pytest.mark.parametrize("sizes", [(1, 3, 64), (1, 4, 64, 48), (1, 3, 1 << 31, 48), (100_000, 3, 64, 48)])
def test_networks_of_something_else_are_refused(sizes: tuple[int, ...], tmp_path: Path) -> None:
    given = onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, sizes)
    out = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, sizes)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["a"], ["b"])], "g", [given], [out])
    versions = {"opset_imports": [onnx.helper.make_opsetid("", 18)], "ir_version": 10}
    onnx.save(onnx.helper.make_model(graph, **versions), tmp_path / "a.onnx")
    session, path = open_session(str(tmp_path / "a.onnx"), 1, "network")
    with pytest.raises(UserError, match="not pictures"):
        picture_input(session, path)


def test_a_network_that_fails_costs_the_pictures(tmp_path: Path) -> None:
    session, _ = open_session(str(onnx_graphs.keypoint_graph(tmp_path / "a.onnx", "simcc")), 1, "network")
    with pytest.raises(SampleError, match="the network can't be run"):
        run(session, "input", np.zeros((1, 3, 7, 7), np.float32))
