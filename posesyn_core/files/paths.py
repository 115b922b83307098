"""Files and folders that are either complete or absent."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posesyn_core.errors import PoseSynError, SampleError, UserError

LEAST_FREE = 1 << 16
"""Bytes: a disk with fewer is full."""
_TORCH_WRITER = ("inline_container.cc", "PytorchStreamWriter")
"""Named by torch's errors when a file can't be written, whyever."""
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
    except Exception as error:
        number = None if isinstance(error, OSError | PoseSynError) else _number_of(error, target.parent)
        if number is not None:
            raise OSError(number, os.strerror(number), str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _number_of(error: Exception, folder: Path) -> int | None:
    """The number of the system's error behind that of a library which says it in its own way (torch, safetensors,
    Arrow); None if there is none."""
    said = (number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(number) in str(error))
    full = errno.ENOSPC if shutil.disk_usage(folder).free < LEAST_FREE else None
    torch = errno.EIO if any(name in str(error) for name in _TORCH_WRITER) else None
    return next(said, full or torch)


@contextmanager
def atomic_folder(target: Path, outdated: str | None = None) -> Iterator[Path]:
    """Yield a new folder beside ``target``; on success it takes that place.

    If ``target`` is there already, its files are replaced one by one, and others stay, but for those directly in it
    whose names match ``outdated``: they are the user's.
    """
    temporary = _temporary(target)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not os.path.lexists(target):
            temporary.rename(target)
            return
        for path in target.iterdir() if outdated else ():
            if re.fullmatch(outdated or "", path.name) and path.is_file() and not (temporary / path.name).exists():
                path.unlink()
        for path in sorted(path for path in temporary.rglob("*") if not path.is_dir()):
            place = target / path.relative_to(temporary)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def inside(root: Path, name: str, *, follow_links: bool = False) -> Path:
    """The path of ``name`` below ``root``; SampleError if it would leave ``root`` (``..``, absolute, or by a link).

    With ``follow_links`` links below ``root`` may lead anywhere, but the name itself may not.
    """
    path = root / name
    try:
        if Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
            if follow_links:
                return Path(os.path.normpath(path))
            path = path.resolve()
            if path.is_relative_to(root.resolve()):
                return path
            raise SampleError(
                f"image path {shown(name)} leaves the image root by a link; set follow_links = true if you trust it"
            )
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # a loop of links, a zero byte
        raise SampleError(f"image path {shown(name)} can't be followed: {error}") from error
    raise SampleError(f"image path {shown(name)} leaves the image root")


def existing_file(path: Path, what: str) -> Path:
    """Return ``path`` if it is a regular file; else UserError naming it as ``what``."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "does not exist" if missing else f"can't be read ({getattr(error, 'strerror', None) or error})"
        raise UserError(f"{what} {shown(path)} {reason}; check the path") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise UserError(f"{what} {shown(path)} is {kind}, not a file; check the path")
    return path


def shown(path: Path | str) -> str:
    """A path in quotes as messages show it, whatever bytes its name has."""
    return repr(str(path).encode("utf-8", "backslashreplace").decode())
