"""A plan runs: torch's tensors are TensorRT's buffers, torch's current stream is where it works.

A batch size that recurs is captured in a CUDA graph, which spares launching its kernels one by one. TensorRT forbids
to use a context whose work was captured for anything else, so every graph has a context of its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import LifoQueue
from threading import Lock

import tensorrt as trt
import torch
from attrs import Factory, define
from torch import Tensor

from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.batches import check_batch
from posesyn_core.errors import UserError
from posesyn_tensorrt.build import MESSAGES
from posesyn_tensorrt.config import TensorRTConfig

_DTYPES: Mapping[trt.DataType, torch.dtype] = {
    trt.DataType.FLOAT: torch.float32,
    trt.DataType.HALF: torch.float16,
    trt.DataType.BF16: torch.bfloat16,
    trt.DataType.INT64: torch.int64,
    trt.DataType.INT32: torch.int32,
    trt.DataType.INT8: torch.int8,
    trt.DataType.UINT8: torch.uint8,
    trt.DataType.BOOL: torch.bool,
}

_CAPTURES = Lock()
"""One capture at a time: each begins by waiting for the whole GPU, which another's capture does not allow."""


class Bound:
    """A context with the tensors it reads and writes; ``inputs`` must have the engine's dtypes and lie on its GPU."""

    def __init__(self, engine: trt.ICudaEngine, context: trt.IExecutionContext, inputs: Mapping[str, Tensor]) -> None:
        self.context, self.inputs = context, inputs
        for name, tensor in inputs.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise RuntimeError(f"TensorRT refuses the shape {tuple(tensor.shape)} of {name!r}: {MESSAGES.last()}")
        device = next(iter(inputs.values())).device
        self.outputs = {
            name: torch.empty(tuple(context.get_tensor_shape(name)[:]), dtype=_dtype(engine, name), device=device)
            for name in _names(engine, trt.TensorIOMode.OUTPUT)
        }
        for name, tensor in {**inputs, **self.outputs}.items():
            context.set_tensor_address(name, tensor.data_ptr())

    def enqueue(self) -> None:
        """Put the work on torch's current stream."""
        if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(f"TensorRT failed to run: {MESSAGES.last()}")


class Graph:
    """A bound context whose work is captured once and replayed at every call."""

    def __init__(self, engine: trt.ICudaEngine, example: Mapping[str, Tensor]) -> None:
        inputs = {name: tensor.clone() for name, tensor in example.items()}
        self.bound = Bound(engine, engine.create_execution_context(), inputs)
        self.bound.enqueue()  # does what a new shape leaves to the first run; it may not happen during the capture
        self.graph = torch.cuda.CUDAGraph()
        with _CAPTURES, torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.bound.enqueue()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, tensor in inputs.items():
            self.bound.inputs[name].copy_(tensor)
        self.graph.replay()
        return {name: tensor.clone() for name, tensor in self.bound.outputs.items()}


@define
class Slot:
    """What one call at a time uses: a context for any batch, and graphs of those batches that recur."""

    context: trt.IExecutionContext
    stream: torch.cuda.Stream
    done: torch.cuda.Event
    """The end of the slot's latest work, on whichever stream that was."""
    seen: Counter[int] = Factory(Counter)
    graphs: dict[int, Graph] = Factory(dict)


class Program:
    """The network as a function on named tensors, for any number of threads; as many run at once as it has slots."""

    def __init__(self, plan: bytes, module: ExportableModule, config: TensorRTConfig, device: torch.device) -> None:
        self.module, self.config, self.device = module, config, device
        with torch.cuda.device(device):
            self._runtime = trt.Runtime(MESSAGES)  # must live as long as its engine
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise UserError(
                    f"TensorRT can't read its plan of {module.name!r} ({MESSAGES.last()}); "
                    "run `posesyn engine clear` and start again"
                )
            self._inputs = {n: _dtype(self._engine, n) for n in _names(self._engine, trt.TensorIOMode.INPUT)}
            self._free: LifoQueue[Slot] = LifoQueue()
            for _ in range(config.contexts):
                context = self._engine.create_execution_context()
                self._free.put(Slot(context, torch.cuda.Stream(device), torch.cuda.Event()))

    def __call__(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Outputs by name, where the inputs lie: on the CPU complete, on the GPU in the order of the current stream."""
        check_batch(self.module, tensors, self.config.batch)
        with torch.inference_mode(), torch.cuda.device(self.device), self._slot() as slot:
            if all(tensor.is_cuda for tensor in tensors.values()):
                return self._run(slot, tensors)
            with torch.cuda.stream(slot.stream):  # of its own, so that calls from several threads overlap
                return {name: tensor.cpu() for name, tensor in self._run(slot, tensors).items()}

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    def _run(self, slot: Slot, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stream = torch.cuda.current_stream()
        stream.wait_event(slot.done)  # the slot's buffers may still be in use on the stream of the call before
        inputs = {n: tensors[n].to(self.device, dtype).contiguous() for n, dtype in self._inputs.items()}
        graph = self._graph(slot, inputs)
        if graph is not None:
            outputs = graph(inputs)
        else:
            bound = Bound(self._engine, slot.context, inputs)
            bound.enqueue()
            outputs = bound.outputs
        slot.done.record(stream)
        return outputs

    def _graph(self, slot: Slot, inputs: Mapping[str, Tensor]) -> Graph | None:
        """The batch size's graph, captured at its second use while the slot may have more of them."""
        batch = len(next(iter(inputs.values())))
        slot.seen[batch] += 1
        if batch not in slot.graphs and slot.seen[batch] > 1 and len(slot.graphs) < self.config.graphs:
            slot.graphs[batch] = Graph(self._engine, inputs)
        return slot.graphs.get(batch)


def _names(engine: trt.ICudaEngine, mode: trt.TensorIOMode) -> list[str]:
    names = (engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
    return [name for name in names if engine.get_tensor_mode(name) == mode]


def _dtype(engine: trt.ICudaEngine, name: str) -> torch.dtype:
    return _DTYPES[engine.get_tensor_dtype(name)]
