"""What this plugin brings; torch and TensorRT are imported when the engine is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.hookspecs import hookimpl
from posesyn_tensorrt.config import LIBRARIES, TensorRTConfig

if TYPE_CHECKING:
    from posesyn_tensorrt.engine import TensorRTEngine

LICENCE = Licence(
    code="TensorRT's interface (NVIDIA's own licence: check yourself)",
    weights="those of the network that it runs",
    data="as the network has it",
)


def make_tensorrt(config: TensorRTConfig) -> "TensorRTEngine":
    """The engine; imports torch, and TensorRT only when a network is loaded."""
    from posesyn_tensorrt.engine import TensorRTEngine

    return TensorRTEngine(config)


@hookimpl
def register_engines() -> list[Component]:
    return [
        Component(
            Kind.ENGINE,
            "tensorrt",
            "TensorRT 10 or 11, native, on an NVIDIA GPU",
            make_tensorrt,
            TensorRTConfig,
            (LIBRARIES,),
            licence=LICENCE,
        )
    ]
