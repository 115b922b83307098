"""What this plugin brings. Only the options stand here; torch and ONNX Runtime are imported when the engine is made."""

from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from posesyn_core.components import Component, Kind, Need, option
from posesyn_core.engines.engine import EngineConfig
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_onnx.engine import OnnxEngine

PACKAGES = Need(
    "ONNX Runtime",
    "pip install 'posesyn[onnx]'; for a GPU, onnxruntime-gpu in place of onnxruntime",
    modules=("onnx", "onnxscript", "onnxruntime"),
)


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


def make_onnx(config: OnnxConfig) -> "OnnxEngine":
    """The engine; imports torch and ONNX Runtime."""
    from posesyn_onnx.engine import OnnxEngine

    return OnnxEngine(config)


@hookimpl
def register_engines() -> list[Component]:
    return [Component(Kind.ENGINE, "onnx", "ONNX Runtime, on any provider", make_onnx, OnnxConfig, (PACKAGES,))]
