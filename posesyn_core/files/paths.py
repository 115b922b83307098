"""Files that are either complete or absent."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posesyn_core.errors import SampleError, UserError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success rename it over ``target``, else remove it.

    The temporary keeps the target's suffix, because writers such as OpenCV choose the format by it.
    It is hidden and carries the ids of process and thread, so that concurrent writers never share one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}-{threading.get_ident()}.partial{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(target: Path, data: bytes | str) -> None:
    """Write ``data`` to ``target`` so that no reader ever sees a part of it."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_partials(folder: Path) -> None:
    """Delete the temporaries that a killed process left in ``folder`` (recursively)."""
    for leftover in folder.rglob(".*.partial*"):
        leftover.unlink(missing_ok=True)


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
