"""Options of the engine ``onnx``."""

from typing import Literal

from attrs import field, frozen

from posesyn_core import option
from posesyn_core.components import EngineConfig


def _not_negative(_config: object, attribute: object, value: int) -> None:
    if value < 0:
        raise ValueError(f"threads must not be negative, but it is {value}")


@frozen
class OnnxConfig(EngineConfig):
    """Options of the engine ``onnx``."""

    provider: Literal["auto", "tensorrt", "cuda", "openvino", "coreml", "cpu"] = option(
        "auto", "ONNX Runtime's execution provider; auto = the first that is installed and fits the device"
    )
    threads: int = field(
        default=0,
        validator=_not_negative,
        metadata={"doc": "threads of an operator on the CPU; 0 = as many as torch's"},
    )
