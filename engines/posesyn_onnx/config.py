"""Options of the engine ``onnx``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option
from posesyn_core.contracts.engines import EngineConfig


@frozen
class OnnxConfig(EngineConfig):
    """Options of the engine ``onnx``."""

    provider: Literal["auto", "tensorrt", "cuda", "openvino", "coreml", "cpu"] = option(
        "auto", "ONNX Runtime's execution provider; auto = the first that is installed and fits the device"
    )
    opset: int = option(
        0, "version of ONNX's operators in the graph, for older runtimes; 0 = the exporter's own", least=0, most=1_000
    )
    ir: int = option(
        0,
        "version of the graph's file; ONNX Runtime of 2023 refuses 10 and more; 0 = the exporter's",
        least=0,
        most=1_000,
    )
    threads: int = option(0, "threads of an operator on the CPU; 0 = as many as torch's", least=0, most=1_024)
