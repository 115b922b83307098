"""The GPUs of this machine, and whether torch can compute on a device.

torch is imported only where it may see a GPU: its own version file tells the rest.
"""

import importlib.util
import runpy
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

GIB = 2**30


@frozen
class Finding:
    """One thing looked for: what was found of it, or how to get it."""

    subject: str
    found: bool
    detail: str


def gpu() -> Finding:
    """The GPUs that torch can use, or why it can't."""
    build = torch_build()
    cards = [line.split(":", 1)[1].strip() for line in _driver_lines() if line.startswith("Model:")]
    seen = bool(cards) or shutil.which("nvidia-smi") is not None
    if build.get("hip") or sys.platform == "darwin" or (build.get("cuda") and seen):
        return _gpu_of_torch()
    if seen:
        names = ", ".join(cards) or "an NVIDIA GPU"
        return Finding("GPU", False, f"{names}, but torch is built for the CPU: install torch for CUDA (pytorch.org)")
    return Finding("GPU", False, "none found; everything runs on the CPU, slowly where networks are large")


def _driver_lines() -> Iterator[str]:
    for card in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        yield from read_line(card).splitlines()


def _gpu_of_torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        names = [f"{d.name} ({d.total_memory / GIB:.0f} GiB, compute {d.major}.{d.minor})" for d in devices]
        return Finding("GPU", True, ", ".join(names))
    if torch.backends.mps.is_available():
        return Finding("GPU", True, "Apple's, as device mps")
    return Finding("GPU", False, "torch sees none, though a driver is there: check it with nvidia-smi")


def device_fault(device: str) -> str:
    """Why torch can't compute on a device of that name here; "" if it can. Torch is loaded only if it may see a GPU."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return ""
    if kind not in ("cuda", "mps"):
        return "torch devices are called cpu, cuda, cuda:1 or mps"
    found = gpu()
    if not found.found:
        return f"no GPU to compute on ({found.detail})"
    import torch

    index = device.partition(":")[2]
    count = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    return "" if int(index or 0) < count else f"torch sees {count} devices of the kind {kind}"


def torch_build() -> Mapping[str, Any]:
    """What torch's version file says of its build: "__version__", "cuda", "hip"; importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    return runpy.run_path(str(Path(spec.origin).with_name("version.py")))


def read_line(path: Path) -> str:
    """What a small file of the system says; "" if it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
