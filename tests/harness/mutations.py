"""How input is mutated: bytes of any file, and the structure of those that can be taken apart and put together."""

import io
import json
import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator

ODD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "\ud800", "a\0b", "../../etc/passwd", "/etc/passwd", [], {}, [[]], [None]),
    *(0, -1, 1, 10**400, -(10**400), 2**63, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), float("-inf")),
)
NUMBERS = (0, -1, 1, 127, 255, 2**15, 2**31 - 1, 2**32 - 1)


def mutated(data: bytes, suffix: str, random: Random) -> tuple[str, bytes]:
    """What was done, and the result; half of the time to the structure, where the file has one that is known."""
    structured = STRUCTURED.get(suffix)
    if structured is not None and random.random() < 0.5:
        try:
            return f"structure of {suffix}", structured(data, random)
        except Exception as error:  # put together wrongly by the harness itself: take bytes instead
            return f"bytes ({type(error).__name__})", of_bytes(data, random)
    return "bytes", of_bytes(data, random)


def of_bytes(data: bytes, random: Random) -> bytes:
    """One to four changes of bits, bytes, words and runs, near the beginning more often than elsewhere."""
    content = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        if not content:
            return b""
        size = len(content)
        at = int(random.integers(min(size, 512))) if random.random() < 0.4 else int(random.integers(size))
        run = int(random.integers(1, 1 + min(size - at, 1 << int(random.integers(1, 10)))))
        match int(random.integers(8)):
            case 0 | 1:
                content[at] ^= 1 << int(random.integers(8))
            case 2:
                content[at : at + run] = random.integers(0, 256, run, np.uint8).tobytes()
            case 3:
                number = NUMBERS[int(random.integers(len(NUMBERS)))] % 2**32
                content[at : at + 4] = number.to_bytes(4, ("little", "big")[int(random.integers(2))])
            case 4:
                del content[at : at + run]
            case 5:
                content[at:at] = content[at : at + run]
            case 6:
                del content[at:]
            case 7:
                content[at : at + run] = bytes([(0, 255, 65)[int(random.integers(3))]]) * run
    return bytes(content)


def _odd(random: Random) -> Any:
    return ODD[int(random.integers(len(ODD)))]


def of_tree(value: Any, random: Random) -> Any:
    """One place somewhere in nested lists and dicts made odd: replaced, left out, doubled, or exchanged."""
    places: list[tuple[Any, Any]] = []

    def visit(part: Any, depth: int) -> None:
        if depth > 12 or len(places) > 20_000:
            return
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, item in list(items):
            places.append((part, key))
            visit(item, depth + 1)

    visit(value, 0)
    if not places or random.random() < 0.02:
        return _odd(random)
    for _ in range(int(random.integers(1, 4))):
        part, key = places[int(random.integers(len(places)))]
        if (isinstance(part, list) and key >= len(part)) or (isinstance(part, dict) and key not in part):
            continue
        match int(random.integers(6)):
            case 0 | 1 | 2:
                part[key] = odd_like(part[key], random)
            case 3:
                del part[key]
            case 4 if isinstance(part, list):
                part.insert(key, part[key])
            case _:
                other, there = places[int(random.integers(len(places)))]
                if (isinstance(other, dict) and there in other) or (isinstance(other, list) and there < len(other)):
                    part[key] = other[there] if other is not part[key] else None
    return value


def odd_like(value: Any, random: Random) -> Any:
    """Something that should not stand where ``value`` does; an array stays one now and then."""
    if isinstance(value, np.ndarray) and random.random() < 0.7:
        return of_array(value, random)
    return _odd(random)


def of_array(array: np.ndarray, random: Random) -> np.ndarray:
    """An array with odd numbers, another shape, or another type."""
    result = array.copy()
    match int(random.integers(6)):
        case 0 | 1 if result.size and result.dtype.kind == "f":
            flat = result.reshape(-1)
            flat[random.integers(0, flat.size, 3)] = (np.nan, np.inf, 1e30, 0)[int(random.integers(4))]
        case 2 if result.ndim:
            return result[: int(random.integers(len(result) + 1))]
        case 3:
            return result.reshape(-1) if random.random() < 0.5 else result[None]
        case 4:
            kind = ("float32", "int64", "bool", "U4", "uint8", "complex64")[int(random.integers(6))]
            return result.astype(kind) if result.dtype.kind in "biuf" else result
        case _:
            return np.zeros((0, *result.shape[1:]), result.dtype if result.dtype.kind != "O" else float)
    return result


def _json(data: bytes, random: Random) -> bytes:
    return json.dumps(of_tree(json.loads(data), random)).encode()


def _pickle(data: bytes, random: Random) -> bytes:
    protocol = int(random.integers(2, 6))
    return pickle.dumps(of_tree(pickle.loads(data), random), protocol)


def _npz(data: bytes, random: Random) -> bytes:
    with np.load(io.BytesIO(data), allow_pickle=True) as file:  # the harness' own
        arrays = dict(file)
    name = list(arrays)[int(random.integers(len(arrays)))]
    if arrays[name].dtype == object and random.random() < 0.9:
        arrays[name] = np.array(of_tree(arrays[name].item(), random), object)
    elif random.random() < 0.2:
        del arrays[name]
    elif random.random() < 0.1:
        arrays[name] = np.array([_odd(random), None], object)
    else:
        arrays[name] = of_array(arrays[name], random)
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def _mat(data: bytes, random: Random) -> bytes:
    import scipy.io

    if data[:4] == b"\x89HDF" or b"HDF" in data[512:520]:
        return _hdf5(data, random)
    variables = {key: value for key, value in scipy.io.loadmat(io.BytesIO(data)).items() if not key.startswith("__")}
    name = list(variables)[int(random.integers(len(variables)))]
    array = variables[name]
    if array.dtype == object and array.size:
        at = int(random.integers(array.size))
        array.reshape(-1)[at] = of_array(np.asarray(array.reshape(-1)[at]), random)
    elif random.random() < 0.2:
        del variables[name]
    else:
        variables[name] = of_array(array, random)
    target = io.BytesIO()
    scipy.io.savemat(target, variables)
    return target.getvalue()


def _hdf5(data: bytes, random: Random) -> bytes:
    import h5py

    with h5py.File(io.BytesIO(data)) as file:
        arrays = {key: file[key][()] for key in file}
    name = list(arrays)[int(random.integers(len(arrays)))]
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for key, array in arrays.items():
            if key != name:
                file[key] = array
        match int(random.integers(5)):
            case 0:
                file[name] = h5py.ExternalLink("/etc/passwd", "/x")
            case 1:
                file[name] = h5py.SoftLink("/nowhere")
            case 2:
                file.create_group(name)
            case _:
                file[name] = of_array(arrays[name], random)
    return target.getvalue()


def _toml(data: bytes, random: Random) -> bytes:
    import tomli_w

    return tomli_w.dumps(of_tree(tomllib.loads(data.decode()), random)).encode()


def _onnx(data: bytes, random: Random) -> bytes:
    """One to three fields anywhere in the graph made odd: sizes, names of values, operations, weights, places."""
    import onnx

    model = onnx.load_from_string(data)
    for _ in range(int(random.integers(1, 4))):
        graph = model.graph
        node = graph.node[int(random.integers(len(graph.node)))]
        constant = graph.initializer[int(random.integers(len(graph.initializer)))]
        values = [*graph.input, *graph.output]
        sizes = values[int(random.integers(len(values)))].type.tensor_type.shape.dim
        size = (0, -1, 1, 2, 7, 100_000, 2**31, 2**40)[int(random.integers(8))]
        match int(random.integers(8)):
            case 0 | 1 if sizes:
                sizes[int(random.integers(len(sizes)))].dim_value = size
            case 2:
                node.op_type = ("Reshape", "Add", "Nothing", "Loop", "", "Expand")[int(random.integers(6))]
            case 3 if node.input:
                node.input[int(random.integers(len(node.input)))] = ("input", "nowhere", "")[int(random.integers(3))]
            case 4 if constant.raw_data:
                constant.raw_data = of_bytes(constant.raw_data, random)
            case 5 if constant.dims:
                constant.dims[int(random.integers(len(constant.dims)))] = size
            case 6:
                constant.data_location = onnx.TensorProto.EXTERNAL
                constant.external_data.add(key="location", value=("/etc/passwd", "../../x")[int(random.integers(2))])
            case _:
                model.opset_import[0].version, model.ir_version = int(random.integers(40)), int(random.integers(20))
    return model.SerializeToString()


STRUCTURED: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": _json,
    ".pkl": _pickle,
    ".npz": _npz,
    ".mat": _mat,
    ".h5": _hdf5,
    ".toml": _toml,
    ".onnx": _onnx,
}


def mutate_file(path: Path, random: Random) -> str:
    """Mutate a file in place; return what was done."""
    how, data = mutated(path.read_bytes(), path.suffix, random)
    path.write_bytes(data)
    return how
