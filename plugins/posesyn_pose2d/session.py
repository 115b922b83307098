"""ONNX files on the CPU: opened alike for all networks of this plugin."""

from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file

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
        raise UserError(f"{str(path)!r} can't be run: {str(error).splitlines()[0]}") from error
