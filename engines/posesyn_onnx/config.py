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
    threads: int = option(0, "threads of an operator on the CPU; 0 = as many as torch's", least=0)
