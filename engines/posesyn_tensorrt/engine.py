"""From a torch module to a plan in the cache: what has to be settled before TensorRT itself is called.

Graph and plan are two entries of the cache: the graph's key is the module's fingerprint, the plan's key the graph's
content with the library's version and the GPU, because a plan runs on the kind of GPU that it was built for alone.
"""

import importlib
from pathlib import Path

import torch
from attrs import field, frozen

from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.engines.cache import EngineCache, EngineKey, file_digest
from posesyn_core.engines.export import exported
from posesyn_core.errors import UserError
from posesyn_core.progress import tell
from posesyn_tensorrt.config import LIBRARIES, TensorRTConfig


@frozen
class Gpu:
    """The device that a plan is built for."""

    device: torch.device
    name: str
    capability: str
    """CUDA compute capability, such as "9.0"."""


@frozen
class TensorRTEngine:
    """Builds a plan of a network, or takes it from the cache, and runs it."""

    config: TensorRTConfig
    cache: EngineCache = field(factory=EngineCache)

    def load(self, module: ExportableModule) -> NetworkCall:
        """A function on named tensors that runs ``module`` on the GPU; may be called from several threads.

        Given CPU tensors it returns CPU tensors; given tensors on the GPU it works on torch's current stream and
        returns them there, without waiting. The first use of a network on a kind of GPU builds its plan, which takes
        minutes. UserError without TensorRT or GPU, for a network that TensorRT can't take, and, when called, for a
        batch outside the range that the plan was built for.
        """
        version = require_library()
        gpu = require_gpu(self.config.device)
        from posesyn_tensorrt.execute import Program

        plan = self.plan(module, version, gpu)
        return Program(plan.read_bytes(), module, self.config, gpu.device)

    def plan(self, module: ExportableModule, version: str, gpu: Gpu) -> Path:
        """The serialized plan of ``module`` for this GPU, built if the cache has none that is intact."""
        graph = exported(module, self.config.precision, self.cache)
        key = plan_key(module.name, graph, self.config, version, gpu)

        def build(path: Path) -> None:
            from posesyn_tensorrt.build import build_plan

            tell(f"TensorRT builds {module.name!r} for {gpu.name}: this takes minutes, once")
            with torch.cuda.device(gpu.device):
                build_plan(graph, path, module.name, self.config.batch, self.timing_cache(version, gpu))

        return self.cache.get(key, build)

    def timing_cache(self, version: str, gpu: Gpu) -> Path:
        """Where TensorRT keeps what it measured of kernels on this kind of GPU, to build the next plan sooner."""
        name = f"tensorrt-{version}-{gpu.name}-{gpu.capability}.timing"
        return self.cache.folder / "timing" / name.replace(" ", "-").replace("/", "-")


def plan_key(name: str, graph: Path, config: TensorRTConfig, version: str, gpu: Gpu) -> EngineKey:
    """What a plan of the ONNX file ``graph`` (with its external weights beside it) depends on."""
    files = sorted(path for path in graph.parent.glob(f"{graph.name}*") if path.is_file())
    return EngineKey(
        name, file_digest(files), "tensorrt", version, gpu.name, gpu.capability, config.precision, config.batch
    )


def require_library() -> str:
    """TensorRT's version; UserError if it is not installed or its libraries do not load."""
    try:
        version: str = importlib.import_module("tensorrt").__version__
    except (ImportError, OSError) as error:
        raise UserError(f"the engine 'tensorrt' can't load TensorRT ({error}): {LIBRARIES.remedy}") from error
    return version


def require_gpu(device: str) -> Gpu:
    """The GPU named ``device``; UserError if torch sees none there."""
    chosen = torch.device(device)
    if chosen.type != "cuda":
        raise UserError(f"the engine 'tensorrt' runs on NVIDIA GPUs, not on device {device!r}; set device = \"cuda\"")
    if not torch.cuda.is_available():
        raise UserError(
            "the engine 'tensorrt' needs an NVIDIA GPU and a CUDA build of torch, and torch finds none; "
            "take engine 'onnx' or 'compile' on this machine"
        )
    count, index = torch.cuda.device_count(), torch.cuda.current_device() if chosen.index is None else chosen.index
    if index >= count:
        raise UserError(f"there is no device {device!r}: this machine has {count} GPUs, cuda:0 to cuda:{count - 1}")
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(torch.device("cuda", index), torch.cuda.get_device_name(index), f"{major}.{minor}")
