"""ONNX files on the CPU: opened alike for all networks of this plugin."""

from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.reading import reason_of
from posesyn_core.files.sniffing import head_of, not_data

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
