"""An ONNX graph becomes a plan.

The network is strongly typed: its precision is the graph's own, which TensorRT 10 and 11 read alike (11 knows no
other way). Sources: NVIDIA's TensorRT developer guide, chapters on strong typing, dynamic shapes and timing caches.
"""

from collections import deque
from pathlib import Path
from typing import Any

import tensorrt as trt

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic


class Messages(trt.ILogger):
    """Keeps TensorRT's latest errors, so that a failure can be told in a sentence instead of on the terminal."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)  # pybind11 wants its own constructor called by name
        self.errors: deque[str] = deque(maxlen=8)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(msg.strip())

    def last(self) -> str:
        """The latest error in one line."""
        return " ".join(self.errors[-1].split()) if self.errors else "TensorRT gives no reason"


MESSAGES = Messages()
"""One for the process: TensorRT keeps the first logger it sees."""


def build_plan(graph: Path, plan: Path, name: str, batch: tuple[int, int], timing: Path) -> None:
    """Write the plan of the ONNX file ``graph`` for the current GPU and batches in the range ``batch``.

    What was measured of kernels before is read from the file ``timing`` and kept there. UserError naming the operators
    that TensorRT can't take, or its own reason for a failed build.
    """
    builder = trt.Builder(MESSAGES)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(graph, network, name)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32: TF32's 10 bits of mantissa move joints
    config.add_optimization_profile(_profile(builder, network, batch))
    _use_timings(config, timing)
    # Any: the memory that it returns has the buffer protocol, which its stubs do not tell.
    serialized: Any = builder.build_serialized_network(network, config)
    if serialized is None:
        raise UserError(f"TensorRT can't build {name!r}: {MESSAGES.last()}; take engine 'onnx' or 'compile'")
    plan.write_bytes(serialized)
    timings: Any = config.get_timing_cache().serialize()
    write_atomic(timing, bytes(timings))


def _parse(graph: Path, network: trt.INetworkDefinition, name: str) -> None:
    """Fill ``network``; by the file's path, so that the parser finds external weights."""
    parser = trt.OnnxParser(network, MESSAGES)
    if parser.parse_from_file(str(graph)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = dict.fromkeys(f"{error.node_operator()} ({' '.join(error.desc().split())})" for error in errors)
    raise UserError(f"TensorRT can't take {name!r}: {'; '.join(reasons)}; take engine 'onnx' or 'compile'")


def _profile(builder: trt.Builder, network: trt.INetworkDefinition, batch: tuple[int, int]) -> trt.IOptimizationProfile:
    """Axis 0 of every input in the range, tuned for its upper end: that is what long runs use."""
    smallest, largest = batch
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = [int(size) for size in tensor.shape[1:]]
        least, most = trt.Dims([smallest, *rest]), trt.Dims([largest, *rest])
        profile.set_shape(tensor.name, least, most, most)
    return profile


def _use_timings(config: trt.IBuilderConfig, timing: Path) -> None:
    """Give the builder what was measured before; a file that TensorRT refuses counts as none."""
    known = timing.read_bytes() if timing.is_file() else b""
    for data in (known, b""):
        timings = config.create_timing_cache(data)
        if timings is not None and config.set_timing_cache(timings, ignore_mismatch=False):
            return
