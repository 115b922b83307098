"""From a torch module to a warm ONNX Runtime session: exported once per machine, opened once per process."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from attrs import field, frozen
from torch import Tensor

from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.engines.batches import check_batch
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import OnnxVersion
from posesyn_core.engines.quantisation import graph_of
from posesyn_core.errors import UserError
from posesyn_onnx.config import OnnxConfig

PROVIDERS: Mapping[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""ONNX Runtime's names, the fastest first."""

SUITED: Mapping[str, tuple[str, ...]] = {
    "cuda": ("tensorrt", "cuda"),
    "cpu": ("openvino", "cpu"),
    "mps": ("coreml", "cpu"),
}
"""Which providers compute on a torch device."""


@frozen
class OnnxEngine:
    """Exports a network to ONNX, or takes the graph from the cache, and runs it in ONNX Runtime."""

    config: OnnxConfig
    cache: EngineCache = field(factory=EngineCache)

    def load(self, module: ExportableModule) -> NetworkCall:
        """A function on named tensors that runs ``module``, already called once; may be called from several threads.

        UserError for a provider that is not installed or does not take the graph, for a network that can't be
        exported, and, when called, for a batch outside the config's range.
        """
        provider = choose_provider(self.config.provider, self.config.device, onnxruntime.get_available_providers())
        threads = self.config.threads or torch.get_num_threads()
        version = OnnxVersion(self.config.opset, self.config.ir)
        graph = graph_of(module, self.config.precision, self.cache, version)
        session = _session(graph, provider, _index(self.config.device), threads)
        run = _bound(session, self.config.device) if provider in SUITED["cuda"] else _unbound(session)

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            check_batch(module, tensors, self.config.batch)
            return run(tensors)

        example = {name: tensor[:1] for name, tensor in module.example.items()}
        run({name: tensor.repeat(self.config.batch[0], *[1] * (tensor.ndim - 1)) for name, tensor in example.items()})
        return call


def choose_provider(wanted: str, device: str, available: list[str]) -> str:
    """The key of :data:`PROVIDERS` to use; ``available`` are ONNX Runtime's names of those installed.

    UserError if the wanted one is not installed, or none computes on ``device``.
    """
    kind = device.split(":")[0]
    installed = [name for name, provider in PROVIDERS.items() if provider in available]
    if wanted != "auto":
        if wanted not in installed:
            raise UserError(
                f"ONNX Runtime has no provider {wanted!r} here (it has: {', '.join(installed)}); install the build "
                'that has it (onnxruntime-gpu, onnxruntime-openvino), or set the engine\'s provider = "auto"'
            )
        return wanted
    suited = [name for name in SUITED.get(kind, ()) if name in installed]
    if not suited:
        raise UserError(
            f"ONNX Runtime has no provider for device {device!r} here (it has: {', '.join(installed)}); "
            "install onnxruntime-gpu, or choose device cpu"
        )
    return suited[0]


@lru_cache(maxsize=8)
def _session(graph: Path, provider: str, device: int, threads: int) -> onnxruntime.InferenceSession:
    """The process's session of a graph (the path names its content); those used last stay open."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # idle threads leave the cores to those that read and decode
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    settings: dict[str, Any] = {"device_id": device} if provider in SUITED["cuda"] else {}
    if provider == "cuda":
        settings |= {"use_tf32": 0}  # float32 means float32, as with the other engines
    if provider == "tensorrt":
        settings |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(_plans(graph))}
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=[(PROVIDERS[provider], settings)])
    except Exception as error:  # ONNX Runtime's errors have no common type but this one
        reason = str(error).splitlines()[0]
        raise UserError(
            f"ONNX Runtime's provider {provider!r} can't run this network: {reason}; take another precision or engine"
        ) from error


def _plans(graph: Path) -> Path:
    """Where TensorRT's provider keeps its plans: beside the cache's entries, whose files are counted and hashed."""
    return graph.parent.parent / "onnxruntime-tensorrt" / graph.parent.name


def _index(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def _unbound(session: onnxruntime.InferenceSession) -> NetworkCall:
    """Through numpy, which shares its memory with CPU tensors."""
    names = [output.name for output in session.get_outputs()]

    def run(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        home = next(iter(tensors.values())).device
        given = {name: tensor.numpy(force=True) for name, tensor in tensors.items()}
        arrays: list[np.ndarray] = session.run(names, given)
        return {name: torch.from_numpy(array).to(home) for name, array in zip(names, arrays, strict=True)}

    return run


def _bound(session: onnxruntime.InferenceSession, device: str) -> NetworkCall:
    """On the GPU's own memory: inputs and outputs are torch tensors that ONNX Runtime reads and writes in place."""
    target = torch.device("cuda", _index(device))
    types = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64, "tensor(bool)": torch.bool}
    outputs = [(output.name, types[output.type], output.shape[1:]) for output in session.get_outputs()]

    def run(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        home, size = next(iter(tensors.values())).device, len(next(iter(tensors.values())))
        given = {name: tensor.to(target).contiguous() for name, tensor in tensors.items()}
        made = {name: torch.empty(size, *shape, dtype=dtype, device=target) for name, dtype, shape in outputs}
        binding = session.io_binding()
        for bind, bound in ((binding.bind_input, given), (binding.bind_output, made)):
            for name, tensor in bound.items():
                element = torch.empty(0, dtype=tensor.dtype).numpy().dtype
                bind(name, "cuda", target.index, element, tuple(tensor.shape), tensor.data_ptr())
        torch.cuda.current_stream(target).synchronize()  # ONNX Runtime works on a stream of its own
        session.run_with_iobinding(binding)
        return {name: tensor.to(home) for name, tensor in made.items()}

    return run
