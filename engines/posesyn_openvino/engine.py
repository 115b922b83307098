"""From a torch module to a network that OpenVINO has compiled for this processor: exported once per machine.

The graphs are those of all engines. Half precision is what they say it is: the graph's casts stand, and the parts that
its network wants kept in float32 are computed so. OpenVINO's own hint would halve them, too.
"""

import threading
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import onnx
import openvino
import torch
from attrs import field, frozen
from torch import Tensor

from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.engines.batches import check_batch
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import exported
from posesyn_core.errors import UserError
from posesyn_openvino.config import OpenVinoConfig

DEVICE = "CPU"


@frozen
class OpenVinoEngine:
    """Exports a network to ONNX, or takes the graph from the cache, and runs it in OpenVINO."""

    config: OpenVinoConfig
    cache: EngineCache = field(factory=EngineCache)

    def load(self, module: ExportableModule) -> NetworkCall:
        """A function on named tensors that runs ``module``, already called once; may be called from several threads.

        UserError for another device than the CPU, for a precision that this processor has no units for, for a network
        that can't be exported or that OpenVINO does not take, and, when called, for a batch outside the config's range.
        """
        check_device(self.config.device)
        check_precision(self.config.precision, capabilities())
        graph = exported(module, self.config.precision, self.cache)
        network = _compiled(graph, self.config.batch, self.config.threads or torch.get_num_threads())
        names = [output.name for output in onnx.load(str(graph), load_external_data=False).graph.output]
        own = threading.local()

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            check_batch(module, tensors, self.config.batch)
            if not hasattr(own, "request"):  # a request is one thread's
                own.request = network.create_infer_request()
            home = next(iter(tensors.values())).device
            given = {name: np.ascontiguousarray(tensor.numpy(force=True)) for name, tensor in tensors.items()}
            results = own.request.infer(given)
            # the request writes to the same place in every call
            return {name: torch.from_numpy(np.array(results[at])).to(home) for at, name in enumerate(names)}

        example = {name: tensor[:1] for name, tensor in module.example.items()}
        least = self.config.batch[0]
        call({name: tensor.repeat(least, *[1] * (tensor.ndim - 1)) for name, tensor in example.items()})
        return call


def check_device(device: str) -> None:
    """UserError unless ``device`` is the processor."""
    if device != "cpu":
        raise UserError(
            f"the engine 'openvino' computes on the processor, not on device {device!r}: set its device = \"cpu\", or "
            "take the engine 'onnx' or 'tensorrt'"
        )


@cache
def capabilities() -> tuple[str, ...]:
    """What this processor computes in, in OpenVINO's words."""
    return tuple(openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))


def check_precision(precision: str, able: tuple[str, ...]) -> None:
    """UserError if the processor is not ``able`` to compute in ``precision``: by way of float32 it would be slower."""
    if precision != "fp32" and precision.upper() not in able:
        raise UserError(
            f"this processor has no units for {precision} (it has: {', '.join(_precisions(able))}): set the engine's "
            'precision = "fp32"'
        )


def _precisions(able: tuple[str, ...]) -> list[str]:
    return [name.lower() for name in ("FP32", "BF16", "FP16") if name in able]


@lru_cache(maxsize=8)
def _compiled(graph: Path, batch: tuple[int, int], threads: int) -> openvino.CompiledModel:
    """The process's compiled network of a graph (the path names its content); those used last are kept."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # the graph says itself what is computed in less
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    try:
        network = core.read_model(str(graph))
        if batch[0] == batch[1]:
            network.reshape({port.any_name: [batch[0], *list(port.partial_shape)[1:]] for port in network.inputs})
        return core.compile_model(network, DEVICE, settings)
    except RuntimeError as error:
        reason = next(line for line in reversed(str(error).strip().splitlines()) if line.strip())
        raise UserError(f"OpenVINO can't run this network: {reason}; take another precision or engine") from error
