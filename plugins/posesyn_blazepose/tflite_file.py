"""What a .tflite file holds: its convolutions in the order in which its graph runs them."""

from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
"""TensorFlow Lite's types of the numbers that we read."""


@frozen(eq=False)
class Convolved:
    """One convolution: ``weight`` (outputs, inputs per group, height, width) and ``bias`` (outputs,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def read_convolutions(path: Path) -> list[Convolved]:
    """The convolutions of a .tflite file; UserError if it is none."""
    try:
        import tflite
    except ImportError as error:
        raise UserError("reading .tflite files needs the package 'tflite': pip install tflite") from error
    data = existing_file(path, "TensorFlow Lite file").read_bytes()
    if data[4:8] != b"TFL3":
        raise UserError(f"{str(path)!r} is not a TensorFlow Lite file")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    operators = [(_code(model, graph.Operators(k)), graph.Operators(k)) for k in range(graph.OperatorsLength())]
    code = tflite.BuiltinOperator
    origin = {  # the stored tensor behind one that is unpacked when the graph runs
        op.Outputs(0): op.Inputs(0) for kind, op in operators if kind in (code.DEQUANTIZE, code.DENSIFY)
    }
    found = []
    for kind, op in operators:
        if kind not in (code.CONV_2D, code.DEPTHWISE_CONV_2D):
            continue
        weight, bias = (_tensor(model, graph, _stored(op.Inputs(k), origin)) for k in (1, 2))
        # (outputs, height, width, inputs), and of depthwise ones (1, height, width, channels)
        order = (0, 3, 1, 2) if kind == code.CONV_2D else (3, 0, 1, 2)
        found.append(Convolved(np.ascontiguousarray(weight.transpose(order)), bias))
    return found


def _code(model: Any, op: Any) -> int:
    code = model.OperatorCodes(op.OpcodeIndex())
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())


def _stored(tensor: int, origin: dict[int, int]) -> int:
    while tensor in origin:
        tensor = origin[tensor]
    return tensor


def _tensor(model: Any, graph: Any, index: int) -> NDArray[np.float32]:
    tensor = graph.Tensors(index)
    values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(DTYPES[tensor.Type()]).astype(np.float32)
    shape = tuple(tensor.ShapeAsNumpy())
    sparsity = tensor.Sparsity()
    return values.reshape(shape) if sparsity is None else _dense(values, shape, sparsity)


def _dense(values: NDArray[np.float32], shape: tuple[int, ...], sparsity: Any) -> NDArray[np.float32]:
    """A tensor of which only the entries other than 0 are stored: for every row of its last axis, where they stand.

    (The one sparse layout of MediaPipe's files: all axes but the last dense, in their own order.)
    """
    last = sparsity.DimMetadata(len(shape) - 1)
    starts = _integers(last.ArraySegments(), last.ArraySegmentsType())
    columns = _integers(last.ArrayIndices(), last.ArrayIndicesType())
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    dense = np.zeros((len(starts) - 1, shape[-1]), np.float32)
    dense[rows, columns] = values[: len(columns)]
    return dense.reshape(shape)


def _integers(table: Any, kind: int) -> NDArray[np.int64]:
    import tflite

    vector = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy()).astype(np.int64)
