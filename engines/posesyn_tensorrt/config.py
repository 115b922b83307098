"""Options of the engine ``tensorrt``, and the packages that it needs."""

from attrs import frozen

from posesyn_core import option
from posesyn_core.components import Need
from posesyn_core.contracts.engines import EngineConfig

LIBRARIES = Need(
    "TensorRT",
    "pip install 'posesyn[onnx,tensorrt]' --extra-index-url https://pypi.nvidia.com, with an NVIDIA GPU and its driver",
    modules=("tensorrt", "onnx", "onnxscript"),
)


@frozen
class TensorRTConfig(EngineConfig):
    """Options of the engine ``tensorrt``. It is tuned for the largest batch."""

    device: str = option("cuda", "torch device: cuda, cuda:1")
    contexts: int = option(
        1, "how many calls from different threads run at once; each needs memory of its own", least=1, most=1_024
    )
    graphs: int = option(
        4,
        "for how many batch sizes, in the order in which they recur, a CUDA graph is captured; 0 = none",
        least=0,
        most=65_536,
    )
