"""The regressor of the 19 extra joints, as a file of its own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.unpickle import load_pickle
from posesyn_hmr2.joints import NAMES, OPENPOSE


def read_regressor(file: str) -> Tensor:
    """(19, V) of ``SMPL_to_J19.pkl`` (read without running what a pickle may ask for) or a .npy file.

    UserError if the file is missing or holds no such matrix.
    """
    path = existing_file(Path(file).expanduser(), "joint regressor")
    try:
        content = load_pickle(path) if path.suffix == ".pkl" else np.load(path, allow_pickle=False)
        matrix = np.asarray(content.toarray() if hasattr(content, "toarray") else content, np.float32)
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"joint regressor {str(path)!r} is no array of numbers: {error}") from error
    if matrix.ndim != 2 or len(matrix) != len(NAMES) - OPENPOSE:
        raise UserError(f"joint regressor {str(path)!r} has shape {matrix.shape}, not (19, 6890)")
    return torch.from_numpy(matrix)
