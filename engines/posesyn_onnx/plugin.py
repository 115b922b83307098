"""What this plugin brings; torch and ONNX Runtime are imported when the engine is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Need
from posesyn_core.hookspecs import hookimpl
from posesyn_onnx.config import OnnxConfig

if TYPE_CHECKING:
    from posesyn_onnx.engine import OnnxEngine

LICENCE = Licence(
    code="ONNX Runtime (MIT), onnx (Apache-2.0)",
    weights="those of the network that it runs",
    data="as the network has it",
)
PACKAGES = Need(
    "ONNX Runtime",
    "pip install 'posesyn[onnx]', or 'posesyn[onnx-gpu]' for an NVIDIA GPU",
    modules=("onnx", "onnxscript", "onnxruntime"),
)


def make_onnx(config: OnnxConfig) -> "OnnxEngine":
    """The engine; imports torch and ONNX Runtime."""
    from posesyn_onnx.engine import OnnxEngine

    return OnnxEngine(config)


@hookimpl
def register_engines() -> list[Component]:
    return [
        Component(
            Kind.ENGINE, "onnx", "ONNX Runtime, on any provider", make_onnx, OnnxConfig, (PACKAGES,), licence=LICENCE
        )
    ]
