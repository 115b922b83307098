"""Networks as ONNX files: what stands in them, and networks that ONNX can't express."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines import export
from posesyn_core.engines.export import OnnxVersion, export_onnx


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, image: Tensor, place: Tensor) -> dict[str, Tensor]:
        pooled = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return {"joints": self.head(pooled), "next": place + 1, "ones": torch.ones(len(image), 1)}


def module(network: nn.Module | None = None) -> ExportableModule:
    torch.manual_seed(0)
    example = {"image": torch.randn(2, 3, 8, 8), "place": torch.tensor([1, 2])}
    return ExportableModule("net", network or Net(), example, ("head",))


def run(path: Path, inputs: dict[str, Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path))
    outputs: list[np.ndarray] = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return outputs


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_graph_says_what_it_is_and_computes_any_batch(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module()
    if precision == "fp16":  # as if its weights were large: they lie in a file beside the graph
        monkeypatch.setattr(export, "EXTERNAL_DATA_BYTES", 100)
    path = export_onnx(original, tmp_path / "net.onnx", precision)
    assert (
        sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"][: 1 + (precision == "fp16")]
    )
    graph = onnx.load(path)
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    assert properties["posesyn.model"] == "net" and properties["posesyn.precision"] == precision
    assert properties["posesyn.inputs"] == "image,place" and properties["posesyn.version"]
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in graph.graph.input] == ["batch", "batch"]
    kinds = Counter(onnx.TensorProto.DataType.Name(value.data_type) for value in graph.graph.initializer)
    half = {"fp32": set(), "fp16": {"FLOAT16"}, "bf16": {"BFLOAT16"}}[precision]
    assert half <= set(kinds) and kinds["FLOAT"] >= 2  # at least the head, weight and bias, is in float32
    if precision == "bf16":
        return  # no provider for the CPU computes it
    inputs = {"image": torch.randn(5, 3, 8, 8), "place": torch.arange(5)}
    with torch.inference_mode():
        expected = original.module.eval()(**inputs)
    for found, (name, tensor) in zip(run(path, inputs), expected.items(), strict=True):
        np.testing.assert_allclose(found, tensor, atol=1e-5 if precision == "fp32" else 1e-2, err_msg=name)


class Eigen(nn.Module):
    def forward(self, image: Tensor, place: Tensor) -> dict[str, Tensor]:
        return {"values": torch.linalg.eigvals(image[:, 0]).real + place[:, None]}


class Branch(nn.Module):
    def forward(self, image: Tensor, place: Tensor) -> dict[str, Tensor]:
        return {"out": image if image.sum() > 0 else -image, "place": place}


@pytest.mark.parametrize(
    ("network", "reason"), [(Eigen(), "linalg_eig"), (Branch(), "Data-dependent branching")], ids=["operator", "branch"]
)
def test_what_onnx_can_not_express_is_named(network: nn.Module, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"'net' can't be exported to ONNX: .*{reason}.*engine 'torch' or 'compile'"):
        export_onnx(module(network), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "graph", [value], [onnx.helper.make_empty_tensor_value_info("y")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "broken.onnx")
    with pytest.raises(UserError, match=r"'broken\.onnx' is not valid"):
        export.check_onnx(tmp_path / "broken.onnx")


def test_versions_for_older_runtimes(tmp_path: Path) -> None:
    original = module()
    expected = run(export_onnx(original, tmp_path / "own.onnx"), original.example)
    path = export_onnx(original, tmp_path / "old.onnx", onnx=OnnxVersion(opset=18, ir=8))
    graph = onnx.load(str(path))
    assert (graph.ir_version, {entry.version for entry in graph.opset_import if entry.domain == ""}) == (8, {18})
    for found, wanted in zip(run(path, original.example), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(UserError, match="can't be exported"):
        export_onnx(original, tmp_path / "never.onnx", onnx=OnnxVersion(opset=3))


class Bytes(nn.Module):
    """A network of bytes whose numbers take their count from its input."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"mean": image.float().mean((2, 3)) + torch.ones(1, 1).expand(len(image), 3)}


def test_sizes_of_bytes_are_those_of_their_numbers(tmp_path: Path) -> None:
    image = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    path = export_onnx(ExportableModule("bytes", Bytes(), {"image": image}), tmp_path / "bytes.onnx")
    assert {node.op_type for node in onnx.load(path).graph.node if "image" in node.input} == {"Cast"}
    np.testing.assert_allclose(run(path, {"image": image})[0], Bytes()(image)["mean"])
