"""Is a file there, and is it what its name says? Told by names, sizes and first bytes alone: nothing is loaded.

What components answer with when asked what they lack (:attr:`posesyn_core.components.Component.lacks`): a sentence for
each thing, with where to get it.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.sniffing import ZIP, head_of, is_safetensors, not_data

C = TypeVar("C")
GET_SMPL = "register at https://smpl.is.tue.mpg.de (free for research) and take SMPL for Python, version 1.1.0"
GET_REGRESSOR = "it is in SPIN's data.tar.gz (http://visiondata.cis.upenn.edu/spin/data.tar.gz), as in 4D-Humans' data"


def file_faults(path: str | Path, what: str, source: str) -> Iterator[str]:
    """A sentence if there is no such file, or one that can't be it; ``source`` says where to get it."""
    place = Path(path).expanduser()
    try:
        existing_file(place, what)
        fault = head_fault(place)
    except UserError as error:
        yield f"{str(error).removesuffix('; check the path')}: {source}"
    except OSError as error:
        yield f"{what} {shown(place)} can't be read: {error.strerror or error}"
    else:
        if fault:
            yield f"{what} {shown(place)} can't be used: {fault} ({source})"


def folder_faults(path: str | Path, what: str, source: str, names: tuple[str, ...] = ()) -> Iterator[str]:
    """A sentence if there is no such folder, and one for each file or folder of ``names`` that it lacks."""
    place = Path(path).expanduser()
    if not place.is_dir():
        yield f"{what} {shown(place)} does not exist: {source}"
        return
    for name in names:
        if (place / name).is_file():
            yield from file_faults(place / name, what, source)
        elif not (place / name).exists():
            yield f"{what} {shown(place)} lacks {name}: {source}"


def body_faults(body: str) -> Iterator[str]:
    """What is wrong with an option ``body`` of an estimator or animator: an SMPL file, "free", or nothing."""
    if body not in ("", "free"):
        yield from file_faults(body, "the SMPL file", GET_SMPL)


def smpl_file(folder: Path, gender: str) -> Path | None:
    """SMPL's file of that gender ("female", "male" or "neutral") in ``folder`` by its usual names, None if it has none.

    ``SMPL_FEMALE.pkl`` (smplx), ``basicmodel_f_lbs_10_207_0_v1.1.0.pkl`` (SMPL's own, of any version), or .npz.
    """
    own = {"female": "f", "male": "m", "neutral": "neutral"}[gender]
    patterns = (f"SMPL_{gender.upper()}.pkl", f"SMPL_{gender.upper()}.npz", f"basic[mM]odel_{own}_lbs_10_207_0_v*.pkl")
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def layout_faults(make: Callable[[C], Any], source: str) -> Callable[[C], Iterator[str]]:
    """What :attr:`Component.lacks` asks a data set's reader: whether its ``check_layout`` passes.

    ``make`` makes the reader from its config; ``source`` is where the data set is to be had.
    """

    def faults(config: C) -> Iterator[str]:
        try:
            make(config).check_layout()
        except UserError as error:
            yield f"{error} ({source})"

    return faults


def hub_faults(model: str, what: str, size: str) -> Iterator[str]:
    """A sentence if ``model`` is neither a folder nor, as an id of the Hugging Face hub, in this machine's cache."""
    if Path(model).expanduser().is_dir():
        yield from folder_faults(model, what, "copy the model's whole folder", ("config.json",))
    elif model.startswith(("/", ".", "~")) or model.count("/") != 1:
        yield f"{what} {model!r} does not exist; give a folder, or an id of the Hugging Face hub"
    elif not any((hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots").glob("*/config.json")):
        yield f"{what} {model!r} is not on this machine: `hf download {model}` ({size}), or name a folder that holds it"


def hub_cache() -> Path:
    """The folder of the models that transformers and diffusers have downloaded."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def head_fault(path: Path) -> str:
    """Why a file is no data, or ends early, as far as its head and size tell; "" if it may be whole.

    Complete are a zip (PyTorch's, npz) with its directory at its end, and safetensors as long as they say to be.
    """
    head = head_of(path)
    known = not_data(head)
    if known:
        return known
    if head.startswith(ZIP) and not zipfile.is_zipfile(path):
        return "it ends early, or is damaged: download it again"
    if is_safetensors(head) and path.stat().st_size < _stated_size(path):
        return "it ends early: download it again"
    return ""


def _stated_size(path: Path) -> int:
    """How long safetensors say to be; 0 if their header can't be understood."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if path.stat().st_size < 8 + length:
            return 8 + length
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError):
            return 0
    return 8 + length + max(ends, default=0)
