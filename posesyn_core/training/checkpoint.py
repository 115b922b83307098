"""The checkpoint of an unfinished training: read only if it is what was written."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import torch

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import reason_of


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What a training's checkpoint holds. UserError naming the file if it is damaged or something else.

    A PyTorch file is a zip archive, whose checksums torch does not look at.
    """
    existing_file(path, "checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} does not agree with its checksum")
        state = torch.load(path, map_location=device, weights_only=True)
        if not {"arguments", "step", "metrics", "network", "optimiser", "scaler"} <= state.keys():
            raise ValueError("it is no checkpoint of a training")
        if not isinstance(state["arguments"], dict) or not isinstance(state["step"], int):
            raise ValueError("it is no checkpoint of a training")
    except OSError:
        raise
    except Exception as error:  # torch and zipfile have many words for one thing
        raise UserError(
            f"{str(path)!r} is damaged ({reason_of(error)}): `posesyn check` names the command that repairs its run; "
            "elsewhere, move its folder away, and the training is done again"
        ) from error
    return dict(state)


def checksum(lines: bytes) -> str:
    """Of a training's metrics."""
    return hashlib.blake2b(lines, digest_size=16).hexdigest()
