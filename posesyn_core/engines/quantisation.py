"""A network in int8: its float32 graph, quantised after training by what rendered people make of it.

ONNX Runtime's quantiser marks what is rounded by pairs of QuantizeLinear and DequantizeLinear, which every engine reads
as it is. Convolutions and products with weights alone are rounded, each channel by its own scale; the parts that
a network wants in float32 stay so. Whether the result is exact enough is for
:mod:`posesyn_core.inference.verification` to say, on other people.
"""

import ast
import importlib.metadata
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posesyn_core.contracts.engines import INT8, ExportableModule
from posesyn_core.engines.cache import EngineCache, EngineKey
from posesyn_core.engines.export import EXTERNAL_DATA_BYTES, OnnxVersion, check_onnx, exported, fingerprint
from posesyn_core.errors import UserError

SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this key, torch's exporter says which parts of the network a node comes from."""
NETWORK = "network."
"""Begins these parts' names: the float32 borders are around the network."""
NEWEST = OnnxVersion()
ROUNDED = ("Conv", "Gemm", "MatMul")


def graph_of(module: ExportableModule, precision: str, cache: EngineCache, onnx: OnnxVersion = NEWEST) -> Path:
    """The ONNX file of ``module`` from the cache, in any precision; errors as in :func:`quantised` and
    :func:`~posesyn_core.engines.export.exported`."""
    return quantised(module, cache, onnx) if precision == INT8 else exported(module, precision, cache, onnx)


def quantised(module: ExportableModule, cache: EngineCache, onnx: OnnxVersion = NEWEST) -> Path:
    """The ONNX file of ``module`` in int8.

    UserError if ONNX Runtime is missing, the network says no inputs to be calibrated by, is too large for one file, or
    nothing in it can be rounded.
    """
    if module.calibration is None:
        raise UserError(f"the network {module.name!r} has no pictures to be calibrated by: int8 is for estimators")
    try:
        version = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError("quantising to int8 needs the package onnxruntime: pip install 'posesyn[onnx]'") from error
    version = f"{importlib.metadata.version('posesyn')}, torch {torch.__version__}, quantised by {version}"
    version += f", opset {onnx.opset}, IR {onnx.ir}" if onnx != NEWEST else ""
    key = EngineKey(module.name, fingerprint(module), "onnx", version, "any", "", INT8, (1, 2**31))

    def build(path: Path) -> None:
        _quantise(module, exported(module, "fp32", cache, onnx), path)

    return cache.get(key, build)


def _quantise(module: ExportableModule, graph: Path, path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if graph.stat().st_size > EXTERNAL_DATA_BYTES or len(list(graph.parent.iterdir())) > 2:  # beside its manifest
        raise UserError(f"the network {module.name!r} is too large to be quantised: take bf16")
    nodes = _to_round(onnx.load(str(graph)), module.keep_fp32)
    if not nodes:
        raise UserError(f"the network {module.name!r} has no layer that int8 could make faster")
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # its advice to preprocess the graph, which the exporter has done
    try:
        quantize_static(
            str(graph),
            str(path),
            _Inputs(module),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nodes,
            op_types_to_quantize=list(ROUNDED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.getLogger().setLevel(level)
    check_onnx(path)


def _to_round(model: Any, kept: Sequence[str]) -> list[str]:
    """The nodes that multiply by weights, outside the parts that are ``kept`` in float32."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in ROUNDED and node.input[1] in weights and not _within(node, kept)
    ]


def _within(node: Any, parts: Sequence[str]) -> bool:
    said = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    scopes = [scope.removeprefix(NETWORK) for scope in ast.literal_eval(said)]
    return any(scope == part or scope.startswith(f"{part}.") for scope in scopes for part in parts)


class _Inputs:
    """What the network is calibrated by, one after another, as ONNX Runtime asks for it."""

    def __init__(self, module: ExportableModule) -> None:
        assert module.calibration is not None
        self.inputs: Iterator[Mapping[str, torch.Tensor]] = iter(module.calibration())

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs; None after the last."""
        given = next(self.inputs, None)
        return None if given is None else {name: tensor.numpy(force=True) for name, tensor in given.items()}
