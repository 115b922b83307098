"""Options of the engine ``openvino``."""

from attrs import frozen

from posesyn_core import option
from posesyn_core.contracts.engines import EngineConfig


@frozen
class OpenVinoConfig(EngineConfig):
    """Options of the engine ``openvino``. It computes on the processor: the device is "cpu"."""

    threads: int = option(0, "threads of a call; 0 = as many as torch's", least=0, most=1_024)
