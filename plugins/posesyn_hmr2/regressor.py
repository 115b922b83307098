"""The regressor of the 19 extra joints, as a file of its own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import read_npy, reading
from posesyn_core.files.unpickle import load_pickle
from posesyn_hmr2.joints import NAMES, OPENPOSE


def read_regressor(file: str) -> Tensor:
    """(19, V) of ``SMPL_to_J19.pkl`` (read without running what a pickle may ask for) or a .npy file.

    UserError if the file is missing or holds no such matrix.
    """
    path, expected = Path(file).expanduser(), "an array of numbers (19, 6890)"
    with reading(existing_file(path, "joint regressor"), "joint regressor", expected):
        content = load_pickle(path) if path.suffix == ".pkl" else read_npy(path, "joint regressor", expected)
        matrix = np.asarray(content.toarray() if hasattr(content, "toarray") else content, np.float32)
    if matrix.ndim != 2 or len(matrix) != len(NAMES) - OPENPOSE:
        raise UserError(f"joint regressor {str(path)!r} has shape {matrix.shape}, not (19, 6890)")
    return torch.from_numpy(matrix)
