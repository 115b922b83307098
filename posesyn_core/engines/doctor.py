"""What this machine has, and what each component lacks: the facts behind ``posesyn doctor``.

Nothing heavy is imported that is not there, and torch only where it may see a GPU: its own version file tells the rest.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from posesyn_core.components import Kind
from posesyn_core.engines.cache import EngineCache, cache_root
from posesyn_core.engines.devices import GIB, Finding, gpu, read_line, torch_build
from posesyn_core.engines.readiness import Lack, lacking, state_of
from posesyn_core.files.presence import hub_cache
from posesyn_core.registry import Registered, Registry

CORE = Path(__file__).parents[1]
VIDEO_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4")


def examine(registry: Registry) -> dict[str, list[Finding]]:
    """All findings by section: "machine", "libraries", "files", "components"."""
    return {
        "machine": [_system(), _memory(), gpu(), _compiler()],
        "libraries": [_torch(), _onnx_runtime(), _openvino(), _tensorrt(), _images(), _video()],
        "files": [*_bodies(), _weights(registry), _downloads(), _cache()],
        "components": [*_components(registry), *_failures(registry)],
    }


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {cores} CPU cores"
    return Finding("system", True, f"{text}, posesyn {importlib.metadata.version('posesyn')}")


def _memory() -> Finding:
    """Of the machine, or of the container if that gets less (Linux's control groups)."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system that doesn't tell
        return Finding("memory", True, "unknown on this system")
    limit = read_line(Path("/sys/fs/cgroup/memory.max"))
    total = min(total, int(limit)) if limit.isdigit() else total
    return Finding("memory", True, f"{total / GIB:.1f} GiB, {min(free, total) / GIB:.1f} GiB unused")


def _compiler() -> Finding:
    name = next((name for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name and shutil.which(name)), None)
    if name is None:
        return Finding("C++ compiler", False, "engine compile needs one on the CPU: install g++ (apt install g++)")
    return Finding("C++ compiler", True, f"{name}, for engine compile")


def _torch() -> Finding:
    build = torch_build()
    if not build:
        return Finding("torch", False, "pip install torch")
    backend = f"CUDA {build['cuda']}" if build.get("cuda") else f"ROCm {build['hip']}" if build.get("hip") else "CPU"
    return Finding("torch", True, f"{build['__version__']} for {backend}")


def _onnx_runtime() -> Finding:
    library = _import("onnxruntime")
    if isinstance(library, str):
        return Finding("ONNX Runtime", False, f"{library}: pip install 'posesyn[onnx]' (on a GPU: onnxruntime-gpu)")
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in library.get_available_providers())
    return Finding("ONNX Runtime", True, f"{library.__version__} with {providers}")


def _openvino() -> Finding:
    """With what this processor computes in."""
    library = _import("openvino")
    if isinstance(library, str):
        return Finding("OpenVINO", False, f"{library}: pip install 'posesyn[openvino]'")
    able = library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = ", ".join(name.lower() for name in ("FP32", "BF16", "FP16", "INT8") if name in able)
    return Finding(
        "OpenVINO", True, f"{library.__version__.partition('-')[0]}; this processor computes in {precisions}"
    )


def _tensorrt() -> Finding:
    library = _import("tensorrt")
    if isinstance(library, str):
        return Finding("TensorRT", False, f"{library}: pip install 'posesyn[tensorrt]' (NVIDIA GPU needed)")
    return Finding("TensorRT", True, str(library.__version__))


def _images() -> Finding:
    """Tried, not asked for: a tiny picture in each format is written and read."""
    import PIL.Image

    from posesyn_core.files.images import FORMATS, decode_image

    reads = []
    for name in FORMATS:
        file = io.BytesIO()
        with contextlib.suppress(Exception):  # whatever a library without that codec raises
            PIL.Image.new("RGB", (8, 8)).save(file, name)
            decode_image(file.getvalue())
            reads.append(name)
    lacks = [name for name in FORMATS if name not in reads]
    text = f"reads {', '.join(reads)}" + (f"; lacks {', '.join(lacks)}: update pillow and opencv" if lacks else "")
    return Finding("images", not lacks, text)


def _video() -> Finding:
    library = _import("av")
    if isinstance(library, str):
        return Finding("video", False, f"{library}: pip install 'posesyn[video]'")
    known = [name for name in VIDEO_CODECS if name in library.codecs_available]
    return Finding("video", True, f"PyAV {library.__version__} with {', '.join(known)}")


def _bodies() -> list[Finding]:
    shipped = ", ".join(_sized(file) for file in (CORE / "body").glob("*.npz"))
    remedy = "register at https://smpl.is.tue.mpg.de and name the file with the recipe's key 'body'"
    return [
        Finding("free body", bool(shipped), shipped or "its file is gone; install posesyn again"),
        Finding("SMPL body", False, f"licensed, so never bundled; weights trained on it need it: {remedy}"),
    ]


def _weights(registry: Registry) -> Finding:
    """Weight files that came inside the plugins' packages."""
    files = sorted(file for folder in _plugin_folders(registry) for file in folder.rglob("*.safetensors"))
    text = ", ".join(f"{file.relative_to(file.parents[2])} ({_sized(file)})" for file in files)
    return Finding("weights", bool(files), text or "no plugin brings any")


def _plugin_folders(registry: Registry) -> set[Path]:
    modules = (module for _, module in registry.manager.list_name_plugin() if isinstance(module, ModuleType))
    files = (Path(module.__file__) for module in modules if module.__file__)
    return {file.parent for file in files if file.parent != CORE}


def _downloads() -> Finding:
    """Models in the cache that transformers and diffusers share."""
    folder = hub_cache()
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*"))
    return Finding("downloads", bool(models), ", ".join(models) or f"no models of the Hugging Face hub in {folder}")


def _cache() -> Finding:
    root = cache_root()
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    engines = len(EngineCache().entries())
    return Finding("cache", True, f"{root}: {size / GIB:.2f} GiB, {engines} engines; {free / GIB:.1f} GiB free there")


def _components(registry: Registry) -> Iterator[Finding]:
    """Of each kind: the ready ones, those that lack a library, each with the remedy, and those that lack files."""
    for kind in Kind:
        found = [(registered, lacking(registry, registered)) for registered in registry.of_kind(kind)]
        if ready := [registered.component.name for registered, lacks in found if not lacks]:
            yield Finding(kind, True, ", ".join(ready))
        yield from (_lacking(registered, lacks) for registered, lacks in found if registered.missing)
        files: dict[str, list[str]] = {}
        for registered, lacks in found:
            if lacks and not registered.missing:
                files.setdefault(state_of(lacks), []).append(registered.component.name)
        for state, names in files.items():
            yield Finding(kind, False, f"{state}: {', '.join(names)} (see `posesyn plugins show NAME`)")


def _lacking(registered: Registered, lacks: Sequence[Lack]) -> Finding:
    needs = "; ".join(f"{lack.what}: {lack.remedy}" for lack in lacks)
    return Finding(registered.component.kind, False, f"{registered.component.name} needs {needs}")


def _failures(registry: Registry) -> Iterator[Finding]:
    yield from (Finding("plugin", False, f"{name}: {reason}") for name, reason in registry.failures.items())


def _import(name: str) -> Any:
    """The library, or why it can't be used; one that is absent is not even tried."""
    if importlib.util.find_spec(name) is None:
        return "not installed"
    try:
        return importlib.import_module(name)
    except Exception as error:  # a library that is there and broken may raise anything
        return f"does not load ({type(error).__name__}: {error})"


def _sized(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
