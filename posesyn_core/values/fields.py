"""How the values that flow between stages hold arrays: float32, read-only, of a shape that is checked.

:mod:`posesyn_core.values` says what they are of.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import field
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]
Shape = tuple[int | str, ...]


def array(shape: Shape, doc: str, *, optional: bool = False) -> Any:
    """An attrs field for a float32 array of ``shape``; letters in the shape stand for any size.

    Integers are checked exactly; a mismatch raises ValueError naming the field. ``doc`` gives unit and frame.
    """
    metadata = {"shape": shape, "doc": doc}
    if optional:
        return field(default=None, converter=_to_array, validator=_check_shape(shape), metadata=metadata, eq=False)
    return field(converter=_to_array, validator=_check_shape(shape), metadata=metadata, eq=False)


def _to_array(value: Any) -> FloatArray | None:
    if value is None:
        return None
    result = np.array(value, dtype=np.float32)  # always a copy: the caller's array stays writable
    result.setflags(write=False)
    return result


def _check_shape(shape: Shape) -> Callable[[Any, Any, Any], None]:
    def check(_instance: Any, attribute: Any, value: FloatArray | None) -> None:
        if value is None:
            return
        agrees = len(shape) == value.ndim and all(
            isinstance(want, str) or want == got for want, got in zip(shape, value.shape, strict=True)
        )
        if not agrees:
            raise ValueError(f"{attribute.name} must have shape {shape}, not {value.shape}")

    return check


def same_joints(joints2d: FloatArray, **others: FloatArray | None) -> None:
    """ValueError naming the array that has not as many joints as ``joints2d``."""
    for name, given in others.items():
        if given is not None and len(given) != len(joints2d):
            wanted = (len(joints2d), *given.shape[1:])
            raise ValueError(f"{name} must have shape {wanted}, of one joint set with joints2d, not {given.shape}")
