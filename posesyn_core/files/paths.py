"""Files and folders that are either complete or absent."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posesyn_core.errors import SampleError, UserError

_PARTIAL = "posesyn-partial"
_OURS = re.compile(rf"\..+\.[0-9a-f]{{12}}\.{_PARTIAL}(\.[^.]*)?")


def _temporary(target: Path) -> Path:
    """A hidden name beside ``target`` that no other writer has, in this process, on this machine, or on another.

    It keeps the target's suffix, because writers such as OpenCV choose the format by it.
    """
    return target.with_name(f".{target.stem}.{secrets.token_hex(6)}.{_PARTIAL}{target.suffix}")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success rename it over ``target``, else remove it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``; on success it takes the place of ``target``, which is removed."""
    temporary, old = _temporary(target), _temporary(target)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def write_atomic(target: Path, data: bytes | str) -> None:
    """Write ``data`` to ``target`` so that no reader ever sees a part of it."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_partials(folder: Path) -> None:
    """Delete what killed calls of :func:`atomic_path` and :func:`atomic_folder` left below ``folder``.

    Only names that those make are touched, and links are not followed. Nobody may be writing there.
    """
    for where, folders, files in os.walk(folder):
        for name in filter(_OURS.fullmatch, files):
            (Path(where) / name).unlink(missing_ok=True)
        for name in filter(_OURS.fullmatch, folders):
            shutil.rmtree(Path(where) / name)
        folders[:] = [name for name in folders if not _OURS.fullmatch(name)]


def inside(root: Path, name: str) -> Path:
    """Resolve ``name`` under ``root``; SampleError if it would leave ``root`` (``..``, absolute, links)."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise SampleError(f"image path {name!r} leaves the image root")
    return path


def existing_file(path: Path, what: str) -> Path:
    """Return ``path`` if it is a file; else UserError naming it as ``what``."""
    if not path.is_file():
        raise UserError(f"{what} {str(path)!r} does not exist; check the path")
    return path
