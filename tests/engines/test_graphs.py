"""Every graph that the bundled components export: what the engines compute, and whether TensorRT could read it."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from posesyn_core.components import Kind
from posesyn_core.contracts.engines import Engine, ExportableModule
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import exported
from posesyn_core.inference.verification import subject
from posesyn_core.registry import Registry

SMALL: Mapping[str, Mapping[str, Any]] = {
    **{name: {"weights": "random"} for name in ("spin", "hmr2", "hybrik", "crowdnet", "blazepose")},
    "starter": {},
    "t2mgpt": {},
    "champ": {"weights": "random", "width": 64, "height": 64, "context_frames": 4, "context_overlap": 2},
    **{name: {"weights": "random"} for name in ("semgcn", "simplebaseline", "stgcn", "videopose")},
}
"""Components with networks, by the options that make them small."""
SLOW = {"starter", "champ", "crowdnet", "hmr2", "hybrik", "blazepose", "t2mgpt"}
PARAMETERS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SMALL]


@cache
def registry() -> Registry:
    return Registry.discover()


@cache
def networks(name: str) -> tuple[ExportableModule, ...]:
    options = dict(SMALL[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return subject(registry(), name, options).networks


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """Those that take graphs over, with one cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSESYN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {name: registry().create(Kind.ENGINE, name, {}, "test") for name in ("onnx", "openvino")}


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_engine_computes_what_torch_does(name: str, engines: dict[str, Engine]) -> None:
    for module in networks(name):
        inputs = {given: torch.cat([tensor, tensor.flip(0)[:1]]) for given, tensor in module.example.items()}
        with torch.inference_mode():
            expected = module.module(**inputs)
        for label, engine in engines.items():
            found = engine.load(module)(inputs)
            assert found.keys() == expected.keys()
            for output, tensor in expected.items():
                where = f"{output} of {module.name} on {label}"
                assert found[output].shape == tensor.shape, where
                if tensor.is_floating_point():
                    allowed = 1e-3 * max(1.0, float(tensor.abs().max()))
                    assert float((found[output] - tensor).abs().max()) < allowed, where
                else:
                    assert torch.equal(found[output], tensor), where


WORDS = {
    **{TensorProto.FLOAT: "FP32", TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16"},
    **{TensorProto.INT32: "INT32", TensorProto.INT64: "INT64", TensorProto.UINT8: "UINT8", TensorProto.BOOL: "BOOL"},
}
"""TensorRT's words for types of elements."""
CONSTANT = re.compile(
    r"`(\w+)`(?: input| dimension of input)? must be (?:an initializer|a constant tensor|a build-time)"
)
STATIC = re.compile(r"`input` must have static dimensions")


@pytest.mark.parametrize("name", PARAMETERS)
def test_tensorrt_could_read_it(name: str, engines: dict[str, Engine], shared: Path) -> None:
    """By the list of operators that TensorRT's parser documents, with its restrictions."""
    table = json.loads((shared / "typestubs/onnx_operators_tensorrt10.json").read_text())
    for module in networks(name):
        path = exported(module, "fp32", EngineCache())
        faults = sorted(set(faults_of(onnx.load(str(path), load_external_data=False), table)))
        assert not faults, f"{module.name}: {'; '.join(faults)}"


def faults_of(model: onnx.ModelProto, table: Mapping[str, Any]) -> Iterator[str]:
    """What of a graph is against the ``table``."""
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    values = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.input, *graph.output)}
    types = {name: value.elem_type for name, value in values.items()}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    fixed = {tensor.name for tensor in graph.initializer}
    fixed |= {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    for node in graph.node:
        known = table.get(node.op_type)
        if known is None or not known["supported"]:
            yield f"{node.op_type} is unknown"
            continue
        of = node.input[1 if node.op_type == "Where" else 0] if node.input else node.output[0]
        of = node.output[0] if node.op_type == "ConstantOfShape" else of
        word = WORDS.get(types.get(of, TensorProto.FLOAT), f"type {types.get(of)}")
        if word not in known["types"]:
            yield f"{node.op_type} of {word}"
        names = [given.name for given in onnx.defs.get_schema(node.op_type).inputs]
        for wanted in CONSTANT.findall(known["restrictions"]):
            at = names.index(wanted) if wanted in names else len(node.input)
            if at < len(node.input) and node.input[at] and node.input[at] not in fixed:
                yield f"{wanted} of {node.op_type} is computed"
        static = all(side.HasField("dim_value") for side in values[of].shape.dim) if of in values else True
        if STATIC.search(known["restrictions"]) and not static:
            yield f"{node.op_type} of a free size"
        yield from _odd(node, values)


def _odd(node: onnx.NodeProto, values: Mapping[str, Any]) -> Iterator[str]:
    """Restrictions of single operators."""
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type in ("MaxPool", "AveragePool") and any(side != 1 for side in attributes.get("dilations", ())):
        yield f"{node.op_type} with dilations"
    if node.op_type in ("MaxPool", "LayerNormalization") and any(node.output[1:]):
        yield f"{node.op_type} with further outputs"
    if node.op_type == "GridSample" and len(values[node.input[0]].shape.dim) != 4:
        yield "GridSample of no picture"
    if node.op_type == "Resize" and attributes.get("mode", b"nearest") not in (b"nearest", b"linear"):
        yield f"Resize by {attributes['mode']!r}"


def test_faults_are_found() -> None:
    """A free EyeLike, an unknown operator, a computed axis."""
    shape = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    axis = onnx.helper.make_tensor_value_info("axis", TensorProto.INT64, [1])
    out = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [
        onnx.helper.make_node("EyeLike", ["x"], ["eye"]),
        onnx.helper.make_node("ReduceSum", ["eye", "axis"], ["sum"]),
        onnx.helper.make_node("Det", ["eye"], ["y"]),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [shape, axis], [out]))
    table = {
        "EyeLike": {"supported": True, "types": "FP32", "restrictions": "`input` must have static dimensions"},
        "ReduceSum": {"supported": True, "types": "FP32", "restrictions": "`axes` must be an initializer"},
        "Det": {"supported": False, "types": "", "restrictions": ""},
    }
    assert set(faults_of(model, table)) == {
        "EyeLike of a free size", "axes of ReduceSum is computed", "Det is unknown"
    }  # fmt: skip


def test_every_component_with_networks_is_tested() -> None:
    """Told by their classes: an estimator in three parts, or what lets its networks be taken over."""
    without = {"reprojection", "none", "file", "anerf", "posegen", "wan_animate", "wan_vace"}
    for kind in (Kind.ESTIMATOR, Kind.MOTION, Kind.ANIMATOR):
        for registered in registry().of_kind(kind):
            name = registered.component.name
            assert name in SMALL or name in without, f"add {name!r} to the table"
