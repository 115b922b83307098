"""ONNX files on the CPU: opened alike for all networks of this plugin."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.reading import reading, reason_of
from posesyn_core.files.sniffing import head_of, not_data

LARGEST = 4096
"""Pixels of a side, or pictures at once: a network that says to take more is damaged."""

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(model: str, threads: int, what: str) -> "tuple[InferenceSession, Path]":
    """The network in the file ``model``, and its path.

    ``threads`` 0 = ONNX Runtime's own choice. UserError naming ``what`` if the file is missing or no ONNX graph.
    """
    import onnxruntime

    path = existing_file(Path(model).expanduser(), what)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), path
    except Exception as error:  # ONNX Runtime's errors have no common type but this one
        known = not_data(head_of(path)) or _foreign(error)
        raise UserError(f"{what} {shown(path)} can't be run: {known or reason_of(error)}") from error


@frozen
class Pictures:
    """The input of a network: its name, and (batch, height, width) in pixels, None where the file leaves them open."""

    name: str
    batch: int | None
    height: int | None
    width: int | None


def picture_input(session: "InferenceSession", path: Path) -> Pictures:
    """The only input of the network, colour pictures (B, 3, height, width). UserError if it has others."""
    with reading(path, "network"):  # names that are no text
        shapes = {given.name: given.shape for given in session.get_inputs()}
    sizes: list[Any] = next(iter(shapes.values()), [])
    numbers = [size if isinstance(size, int) else None for size in sizes]
    possible = len(shapes) == 1 and len(sizes) == 4 and numbers[1] in (3, None)
    if not possible or any(size is not None and not 0 < size <= LARGEST for size in numbers):
        found = " and ".join(map(str, shapes.values())) or "nothing"
        raise UserError(f"{shown(path)} takes {found}, not pictures (B, 3, height, width): is it the right file?")
    batch, _, height, width = numbers
    return Pictures(next(iter(shapes)), batch, height, width)


def run(session: "InferenceSession", name: str, pictures: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What the network puts out for the pictures. SampleError if it fails on them."""
    try:
        return session.run(None, {name: pictures})
    except Exception as error:  # as above
        raise SampleError(f"the network can't be run: {reason_of(error)}") from error


def _foreign(error: Exception) -> str:
    """What ONNX Runtime means by its words for a file that is no graph, or one of a later version; "" for others."""
    text = str(error)
    if "INVALID_PROTOBUF" in text or "Protobuf parsing failed" in text:
        return "it is no ONNX graph, or one that ends early: is it the right file, and complete?"
    if "IR version" in text or "opset" in text.lower():
        return (
            f"{text.splitlines()[0].partition(' : ')[2] or text[:200]}; update onnxruntime, or export it for this one"
        )
    return ""
