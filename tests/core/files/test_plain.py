"""Plain data as bytes: what goes in comes out, and no bytes do anything but give data or a ValueError."""

import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from posesyn_core.files.plain import MOST_STRUCTURE, from_bytes, to_bytes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20)
TYPES = arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc" and dtype.itemsize <= 16)
ARRAYS = arrays.arrays(TYPES, arrays.array_shapes(min_dims=0, min_side=0))
TREES = st.recursive(
    SCALARS | ARRAYS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        alike = isinstance(other, np.ndarray) and (one.dtype, one.shape) == (other.dtype, other.shape)
        if one.dtype == object:
            return alike and all(map(same, one.ravel(), other.ravel()))
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(map(same, one.values(), other.values()))
    return type(one) is type(other) and (one == other or one != one)


@given(TREES)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert same(value, from_bytes(to_bytes(value)))


def test_arrays_of_arrays_and_of_text() -> None:
    cells = np.empty((2, 1), object)
    cells[:, 0] = [np.arange(3.0), np.array(["a", "bc"])]
    assert same(cells, from_bytes(to_bytes(cells)))
    found = from_bytes(to_bytes({"a": (1, np.float32(2))}))
    assert found == {"a": [1, 2.0]}
    found = from_bytes(to_bytes(np.zeros(3)))
    found[0] = 1  # and can be written to


@pytest.mark.parametrize(
    "value", [{1: 2}, {2}, Path(), object(), np.zeros(2, "f4,f4"), np.array([object()]), np.zeros(2, "M8[s]")]
)
def test_nothing_else_goes_in(value: Any) -> None:
    with pytest.raises(TypeError, match="it holds"):
        to_bytes(value)


def made(structure: Any, parts: bytes = b"") -> bytes:
    text = json.dumps(structure).encode()
    return len(text).to_bytes(8, "little") + text + parts


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\1", made(1)[:-1], made(1, b"x"), (1 << 62).to_bytes(8, "little"), pickle.dumps([1, 2]),
        made({"array": ["|O8", [1]]}, bytes(8)), made({"array": ["|V8", [1]]}, bytes(8)),
        made({"array": ["<f8", [1 << 60]]}, bytes(8)), made({"array": ["<f8", [-1]]}, bytes(8)),
        made({"array": ["<f8", [2]]}, bytes(8)), made({"array": ["<f8", ["1"]]}, bytes(8)),
        made({"array": ["<f77", [1]]}, bytes(80)), made({"array": ["<f8", [0] * 40]}), made({"array": ["<f8", 1.5]}),
        made({"bytes": -1}), made({"bytes": 1 << 62}), made({"bytes": "x"}), made({"objects": [[1 << 40], []]}),
        made({"posix.system": "true"}), made({}), made({"array": 1}), made({"a": 1, "b": 2}),
        b"\x20\x4e\0\0\0\0\0\0" + b"[" * 20_000, made([0])[:8] + b"{,}",
    ],
)  # fmt: skip
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        from_bytes(data)


def test_a_structure_is_bounded() -> None:
    with pytest.raises(ValueError, match="a structure of"):
        from_bytes((MOST_STRUCTURE + 1).to_bytes(8, "little") + b" " * (MOST_STRUCTURE + 1))


@settings(max_examples=500)
@given(st.data())
def test_damaged_bytes_give_data_or_a_fault(data: st.DataObject) -> None:
    whole = bytearray(to_bytes({"a": [1, "x", np.arange(6.0).reshape(2, 3)], "b": np.array(["y"]), "c": b"raw"}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        to_bytes(from_bytes(bytes(whole)))
