"""What this plugin brings. Only the options stand here; torch and TensorRT are imported when the engine is made."""

from typing import TYPE_CHECKING, Literal

import attrs
from attrs import field, frozen

from posesyn_core.components import Component, Kind, Need, option
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_tensorrt.engine import TensorRTEngine

LIBRARIES = Need(
    "TensorRT",
    "pip install 'posesyn[onnx,tensorrt]' --extra-index-url https://pypi.nvidia.com, with an NVIDIA GPU and its driver",
    modules=("tensorrt", "onnx", "onnxscript"),
)


def _is_range(_config: object, _attribute: "attrs.Attribute[tuple[int, int]]", value: tuple[int, int]) -> None:
    if not 1 <= value[0] <= value[1]:
        raise ValueError(f"batch must be [smallest, largest] with 1 <= smallest <= largest, not {list(value)}")


def _is_positive(_config: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value}")


@frozen
class TensorRTConfig:
    """Options of the engine ``tensorrt``."""

    precision: Literal["fp32", "fp16", "bf16"] = option(
        "fp32", "in which the network computes; parts that need it stay in fp32"
    )
    batch: tuple[int, int] = field(
        default=(1, 64),
        validator=_is_range,
        metadata={"doc": "smallest and largest batch that the engine is built for; tuned for the largest"},
    )
    device: str = option("cuda", "torch device: cuda, cuda:1")
    contexts: int = field(
        default=1,
        validator=_is_positive,
        metadata={"doc": "how many calls from different threads run at once; each needs memory of its own"},
    )
    graphs: int = option(
        4, "for how many batch sizes, in the order in which they recur, a CUDA graph is captured; 0 = none"
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
        )
    ]
