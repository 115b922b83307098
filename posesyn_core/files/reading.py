"""Files from elsewhere, read whole or not at all: every fault is one sentence that names the file.

Only regular files are read: a pipe or a device never ends. Text may come from Windows (BOM, UTF-16, CRLF).
"""

import codecs
import json
import math
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.sniffing import HEAD, head_of, not_data

T = TypeVar("T")
E = TypeVar("E")

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
MOST_UNPACKED, ALWAYS_UNPACKED = 100, 1 << 26
"""An archive unpacks to at most so many times its size, or so many bytes."""


@contextmanager
def reading(path: Path, what: str, expected: str = "") -> Iterator[None]:
    """Whatever goes wrong within, reading ``path`` or making sense of it, becomes one sentence that names the file.

    The package's own errors pass. Bad downloads are named for what they are.
    """
    try:
        yield
    except (UserError, SampleError):
        raise
    except Exception as error:  # a damaged or foreign file leads parsers to anything
        raise UserError(_complaint(path, what, expected, error)) from error


def _complaint(path: Path, what: str, expected: str, error: Exception) -> str:
    wanted = f"; expected {expected}" if expected else ""
    if isinstance(error, OSError) and error.strerror:
        return f"{what} {shown(path)} can't be read: {error.strerror}"
    known = not_data(_head(path))
    if known:
        return f"{what} {shown(path)} can't be read: {known}{wanted}"
    return f"{what} {shown(path)} can't be read ({reason_of(error)}){wanted}; is it complete?"


def reason_of(error: BaseException) -> str:
    """An error in one clause."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = (str(error).strip().splitlines() or [""])[0]
    return (text[:200] or type(error).__name__).encode("utf-8", "backslashreplace").decode()


def _head(path: Path) -> bytes:
    try:
        return head_of(path)
    except OSError:
        return b"?"


def read_each(
    files: Iterable[tuple[str, T]], read: Callable[[T], Iterable[E]], unread: Callable[[str, str], E]
) -> Iterator[E]:
    """What ``read`` makes of every (name, file) of a data set, one after the other.

    A file that can't be read, or the rest of it, becomes ``unread(name, reason)``, and the others are read. UserError
    if not one of several, or the only one, can be read: then it is not the files that are at fault.
    """
    refused: list[tuple[str, str]] = []
    begun = False
    for name, file in files:
        reason = ""
        try:
            for entry in read(file):
                if not begun:
                    yield from (unread(*each) for each in refused)
                    begun = True
                yield entry
        except (UserError, SampleError) as error:
            reason = str(error)
        except Exception as error:  # a damaged or foreign file leads parsers to anything
            reason = f"malformed: {reason_of(error)}"
        if not reason and not begun:  # it was read, and has no entry
            yield from (unread(*each) for each in refused)
            begun = True
        elif reason and begun:
            yield unread(name, reason)
        elif reason:
            refused.append((name, reason))
    if not begun and refused:
        others = f" (and none of {len(refused) - 1} others of the data set can be read)" if len(refused) > 1 else ""
        raise UserError(f"{refused[0][1]}{others}")


def read_file(path: Path, what: str) -> bytes:
    """All bytes of a regular file; UserError naming it as ``what``."""
    with reading(existing_file(path, what), what):
        return path.read_bytes()


def read_text(path: Path, what: str, expected: str = "") -> str:
    """A text file in UTF-8, or with a mark that says otherwise; UserError naming it as ``what``."""
    data = read_file(path, what)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        known = not_data(data[:HEAD])
        if known:
            raise UserError(f"{what} {shown(path)} can't be read: {known}") from error
        raise UserError(
            f"{what} {shown(path)} is not text in UTF-8 (byte {error.start} is no part of it): save it as UTF-8"
            + (f"; expected {expected}" if expected else "")
        ) from error


def read_json(path: Path, what: str, expected: str) -> Any:
    """The document in a JSON file; UserError naming it as ``what``, and what is ``expected``."""
    text = read_text(path, what, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        known = not_data(text[:HEAD].encode("utf-8", "replace"))
        reason = (
            f": {known}; expected {expected}"
            if known
            else f" ({reason_of(error)}); expected {expected}; is it complete?"
        )
        raise UserError(f"{what} {shown(path)} is not valid JSON{reason}") from error


def read_npz(
    path: Path | BytesIO, what: str, expected: str, keys: Collection[str] | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of an npz, plain ones only (those of ``keys`` if given); UserError naming the file as ``what``.

    Pickled objects are refused, and so is an array that claims to be larger than what the file has for it, before any
    memory is asked for.
    """
    name = existing_file(path, what) if isinstance(path, Path) else Path(what)
    with reading(name, what, expected), zipfile.ZipFile(path) as archive:
        wanted = {
            entry.filename.removesuffix(".npy"): entry
            for entry in archive.infolist()
            if entry.filename.endswith(".npy") and (keys is None or entry.filename.removesuffix(".npy") in keys)
        }
        check_packing(wanted.values())
        arrays = {}
        for key, entry in wanted.items():
            with archive.open(entry) as file:
                arrays[key] = _array(file, entry.file_size)
        return arrays


def read_npy(path: Path, what: str, expected: str) -> NDArray[Any]:
    """The array of an npy file, as :func:`read_npz`."""
    with reading(existing_file(path, what), what, expected), path.open("rb") as file:
        return _array(file, path.stat().st_size)


def check_packing(entries: Iterable[zipfile.ZipInfo]) -> None:
    """ValueError if members of an archive say to unpack to far more than they are stored in."""
    packed, unpacked = (sum(getattr(entry, size) for entry in entries) for size in ("compress_size", "file_size"))
    if unpacked > MOST_UNPACKED * packed + ALWAYS_UNPACKED:
        raise ValueError(f"{packed} bytes that say to unpack to {unpacked}")


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in an npy stream of ``size`` bytes."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects; pickled objects are refused, because reading them may run code")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * max(dtype.itemsize, 1) > size:
        raise ValueError(f"an array {shape} of {dtype} in {size} bytes")
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C").copy()
