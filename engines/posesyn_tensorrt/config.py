"""Options of the engine ``tensorrt``, and the packages that it needs."""

import attrs
from attrs import field, frozen

from posesyn_core import option
from posesyn_core.components import EngineConfig, Need

LIBRARIES = Need(
    "TensorRT",
    "pip install 'posesyn[onnx,tensorrt]' --extra-index-url https://pypi.nvidia.com, with an NVIDIA GPU and its driver",
    modules=("tensorrt", "onnx", "onnxscript"),
)


def _is_positive(_config: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value}")


@frozen
class TensorRTConfig(EngineConfig):
    """Options of the engine ``tensorrt``. It is tuned for the largest batch."""

    device: str = option("cuda", "torch device: cuda, cuda:1")
    contexts: int = field(
        default=1,
        validator=_is_positive,
        metadata={"doc": "how many calls from different threads run at once; each needs memory of its own"},
    )
    graphs: int = option(
        4, "for how many batch sizes, in the order in which they recur, a CUDA graph is captured; 0 = none"
    )
