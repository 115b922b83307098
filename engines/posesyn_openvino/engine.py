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
from posesyn_core.engines.cache import EngineCache, EngineKey
from posesyn_core.engines.quantisation import graph_of
from posesyn_core.errors import UserError
from posesyn_openvino.config import OpenVinoConfig
from posesyn_openvino.trial import DEVICE, compiled, core, survives


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
        graph = graph_of(module, self.config.precision, self.cache)
        least = self.config.batch[0]
        example = {name: tensor[:1] for name, tensor in module.example.items()}
        example = {name: tensor.repeat(least, *[1] * (tensor.ndim - 1)) for name, tensor in example.items()}
        self._try(module.name, graph, {name: tensor.numpy(force=True) for name, tensor in example.items()})
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

        call(example)
        return call

    def _try(self, name: str, graph: Path, inputs: Mapping[str, np.ndarray]) -> None:
        """UserError if OpenVINO crashes on the graph; that it doesn't is noted in the cache, and not tried again."""
        key = EngineKey(
            *(name, graph.parent.name, "openvino", openvino.get_version(), processor(), ""),
            *(self.config.precision, self.config.batch),
        )

        def build(path: Path) -> None:
            survives(name, graph, inputs, self.config.batch)
            path.write_text("survived\n", encoding="utf-8")

        self.cache.get(key, build)


def check_device(device: str) -> None:
    """UserError unless ``device`` is the processor."""
    if device != "cpu":
        raise UserError(
            f"the engine 'openvino' computes on the processor, not on device {device!r}: set its device = \"cpu\", or "
            "take the engine 'onnx' or 'tensorrt'"
        )


@cache
def processor() -> str:
    """Its name, as OpenVINO says it."""
    return str(core().get_property(DEVICE, "FULL_DEVICE_NAME")).strip()


@cache
def capabilities() -> tuple[str, ...]:
    """What this processor computes in, in OpenVINO's words."""
    return tuple(core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))


def check_precision(precision: str, able: tuple[str, ...]) -> None:
    """UserError if the processor is not ``able`` to compute in ``precision``: by way of float32 it would be slower."""
    if precision != "fp32" and precision.upper() not in able:
        raise UserError(
            f"this processor has no units for {precision} (it has: {', '.join(_precisions(able))}): set the engine's "
            'precision = "fp32"'
        )


def _precisions(able: tuple[str, ...]) -> list[str]:
    return [name.lower() for name in ("FP32", "BF16", "FP16", "INT8") if name in able]


@lru_cache(maxsize=8)
def _compiled(graph: Path, batch: tuple[int, int], threads: int) -> openvino.CompiledModel:
    """The process's compiled network of a graph (the path names its content); those used last are kept."""
    try:
        return compiled(graph, batch, threads)
    except RuntimeError as error:
        reason = next(line for line in reversed(str(error).strip().splitlines()) if line.strip())
        raise UserError(f"OpenVINO can't run this network: {reason}; take another precision or engine") from error
