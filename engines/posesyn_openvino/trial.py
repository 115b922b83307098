"""OpenVINO itself, and whether a process survives what it makes of a graph: asked in one apart, once for each graph.

It has ended processes with a segmentation fault on graphs that are valid; a run must not end so.

    python -m posesyn_openvino.trial GRAPH INPUTS BATCH
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import openvino

from posesyn_core.errors import UserError

DEVICE = "CPU"
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that keep torch's oneDNN from instructions that the processor has. OpenVINO's reads them, too,
but OpenVINO chooses its kernels by the processor, and crashes where oneDNN then has none."""


@cache
def core() -> openvino.Core:
    """The process's own; its oneDNN, which looks at the environment once, has seen no :data:`LIMITS`."""
    limits = {name: os.environ.pop(name) for name in LIMITS if name in os.environ}
    try:
        made = openvino.Core()
        made.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    finally:
        os.environ |= limits
    return made


def survives(name: str, graph: Path, inputs: Mapping[str, np.ndarray], batch: tuple[int, int]) -> None:
    """UserError if a process that runs ``graph`` on ``inputs`` is ended by a signal; ``name`` is the network's."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "inputs.npz"
        np.savez(given, **inputs)  # type: ignore[arg-type]
        command = [sys.executable, "-m", "posesyn_openvino.trial", str(graph), str(given), json.dumps(batch)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    if ended < 0:
        raise UserError(
            f"OpenVINO crashes on the network {name!r} ({signal.Signals(-ended).name}): take the engine 'onnx', or "
            "another precision"
        )


def compiled(graph: Path, batch: tuple[int, int], threads: int) -> openvino.CompiledModel:
    """The graph made ready for the processor, for batches of one size if ``batch`` says so. RuntimeError if it isn't
    taken."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # the graph says itself what is computed in less
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    network = core().read_model(str(graph))
    if batch[0] == batch[1]:
        network.reshape({port.any_name: [batch[0], *list(port.partial_shape)[1:]] for port in network.inputs})
    return core().compile_model(network, DEVICE, settings)


def main(graph: str, inputs: str, batch: str) -> None:
    """Run the graph once; errors that are no crash are for who asks next."""
    least, most = json.loads(batch)
    with np.load(inputs, allow_pickle=False) as given:
        try:
            compiled(Path(graph), (least, most), os.cpu_count() or 1).create_infer_request().infer(dict(given))
        except RuntimeError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
