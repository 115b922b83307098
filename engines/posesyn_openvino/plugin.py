"""What this plugin brings; torch and OpenVINO are imported when the engine is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Need
from posesyn_core.hookspecs import hookimpl
from posesyn_openvino.config import OpenVinoConfig

if TYPE_CHECKING:
    from posesyn_openvino.engine import OpenVinoEngine

LICENCE = Licence(
    code="OpenVINO, onnx (Apache-2.0)",
    weights="those of the network that it runs",
    data="as the network has it",
)
PACKAGES = Need("OpenVINO", "pip install 'posesyn[openvino]'", modules=("onnx", "onnxscript", "openvino"))


def make_openvino(config: OpenVinoConfig) -> "OpenVinoEngine":
    """The engine; imports torch and OpenVINO."""
    from posesyn_openvino.engine import OpenVinoEngine

    return OpenVinoEngine(config)


@hookimpl
def register_engines() -> list[Component]:
    return [
        Component(
            Kind.ENGINE,
            "openvino",
            "OpenVINO, on processors; bf16 where they have it",
            make_openvino,
            OpenVinoConfig,
            (PACKAGES,),
            licence=LICENCE,
        )
    ]
