"""What engines build, kept on disk: exported graphs and compiled plans, each under a key that says what it is for.

An entry is a folder named by its key's digest, with the files that the builder wrote and a manifest that holds the
key and the content hash of every file. It appears by a rename, so it is whole or absent; a lock file per entry lets
one process build while others that want the same wait for it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs
from attrs import field, frozen
from filelock import FileLock, Timeout

from posesyn_core.errors import UserError

LIMIT_BYTES = 20 * 2**30
IN_USE_SECONDS = 300
"""Entries asked for within the last minutes are never evicted: whoever asked may not have opened them yet."""

_MANIFEST = "manifest.json"


def _pair(values: Sequence[int]) -> tuple[int, int]:
    smallest, largest = values
    return smallest, largest


@frozen
class EngineKey:
    """All that decides whether a built engine may be used; two keys share an entry only if every field agrees."""

    name: str
    """The network's name, for people."""
    content: str
    """Hash of graph and weights: :func:`file_digest` of an ONNX file, or ``engines.export.fingerprint``."""
    engine: str
    """Who built it: "onnx", "tensorrt"."""
    version: str
    """Version of the library that built it."""
    device: str
    """The device's name as its driver gives it; "cpu" for what runs anywhere."""
    capability: str
    """CUDA compute capability such as "9.0"; "" where there is none."""
    precision: str
    batch: tuple[int, int] = field(converter=_pair)
    """Smallest and largest batch."""

    @property
    def digest(self) -> str:
        """The entry's name: 32 hexadecimal digits that depend on every field."""
        return hashlib.sha256(json.dumps(attrs.asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@frozen
class Entry:
    """One engine in the cache."""

    key: EngineKey
    path: Path
    bytes: int
    last_used: float
    """Seconds since the epoch."""


def cache_root() -> Path:
    """``$POSESYN_CACHE``, else ``~/.cache/posesyn``."""
    chosen = os.environ.get("POSESYN_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "posesyn"


class EngineCache:
    """Built engines below ``folder`` (default: ``engines`` in :func:`cache_root`), ``limit_bytes`` of them at most.

    Any number of threads and processes may share a folder.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder or cache_root() / "engines"
        self.limit_bytes = limit_bytes

    def get(self, key: EngineKey, build: Callable[[Path], None]) -> Path:
        """The file of ``key``'s engine; ``build(path)`` makes it where it is missing, damaged or stale.

        ``build`` writes the file ``path``, and may write others beside it (external weights): all of the folder is the
        entry. Its exceptions are passed on and leave nothing behind. Every file's content hash is checked on every
        call. While another process builds the same entry, this waits. UserError if the folder can't be written.
        """
        with self._lock(key.digest):
            if not self._intact(key):
                self._build(key, build)
            os.utime(self._entry(key.digest) / _MANIFEST)
        self._evict(spare=key.digest)
        return self._entry(key.digest) / _file_name(key)

    def entries(self) -> list[Entry]:
        """What is there, the most recently used first; contents are not checked."""
        found = (self._read(folder) for folder in self._folders())
        return sorted((entry for entry in found if entry is not None), key=lambda entry: -entry.last_used)

    def clear(self) -> int:
        """Delete everything that no process is building; returns how many bytes that freed."""
        return sum(self._remove(digest) for digest in {folder.name[:32] for folder in self._folders("*")})

    def _entry(self, digest: str) -> Path:
        return self.folder / digest

    def _partial(self, digest: str) -> Path:
        """Where an entry grows; its lock's holder is the only one there, so it needs no name of its own."""
        return self.folder / f"{digest}.partial"

    def _folders(self, suffix: str = "") -> list[Path]:
        return list(self.folder.glob("[0-9a-f]" * 32 + suffix))

    @contextlib.contextmanager
    def _lock(self, digest: str, *, timeout: float = -1) -> Iterator[None]:
        """The kernel frees the lock when its holder dies. Timeout if it is not free in time."""
        locks = self.folder / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / digest, timeout=timeout)
            lock.acquire()
        except Timeout:  # an OSError too, but no fault of the folder
            raise
        except OSError as error:
            raise UserError(
                f"the engine cache {str(self.folder)!r} can't be written ({error.strerror}); "
                "set POSESYN_CACHE to a folder that can"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _build(self, key: EngineKey, build: Callable[[Path], None]) -> None:
        entry, partial = self._entry(key.digest), self._partial(key.digest)
        for leftover in (entry, partial):  # damaged, or of a builder that was killed
            if leftover.is_symlink() or leftover.is_file():
                leftover.unlink()
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        try:
            build(partial / _file_name(key))
            if not (partial / _file_name(key)).is_file():
                raise RuntimeError(f"the {key.engine} builder of {key.name!r} wrote no file")
            files = {path.name: file_digest([path]) for path in sorted(partial.iterdir())}
            (partial / _MANIFEST).write_text(
                json.dumps({"key": attrs.asdict(key), "files": files}, indent=1), encoding="utf-8"
            )
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _intact(self, key: EngineKey) -> bool:
        """Whether the entry is there, is the key's, and every file has the content that was written."""
        folder = self._entry(key.digest)
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            names = {path.name for path in folder.iterdir()} - {_MANIFEST}
            return (
                EngineKey(**manifest["key"]) == key
                and names == set(manifest["files"])
                and all(file_digest([folder / name]) == digest for name, digest in manifest["files"].items())
            )
        except (OSError, ValueError, TypeError, KeyError):  # whatever a damaged manifest may hold
            return False

    def _read(self, folder: Path) -> Entry | None:
        """The folder's entry; None if its manifest can't be read or it has just been removed."""
        try:
            key = EngineKey(**json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["key"])
            last_used = (folder / _MANIFEST).stat().st_mtime
            return Entry(key, folder / _file_name(key), _size(folder), last_used)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _evict(self, spare: str) -> None:
        """Remove what was not used for longest until the rest fits, but nothing that may be in use."""
        entries = self.entries()
        excess = sum(entry.bytes for entry in entries) - self.limit_bytes
        for entry in reversed(entries):
            if excess <= 0 or time.time() - entry.last_used < IN_USE_SECONDS:
                return
            if entry.path.parent.name != spare:
                excess -= self._remove(entry.path.parent.name, unless_used=entry)

    def _remove(self, digest: str, *, unless_used: Entry | None = None) -> int:
        """Delete an entry and its half-built leftover; returns the bytes freed.

        It stays while someone holds its lock, or if it is no longer as ``unless_used`` says it was.
        """
        with contextlib.suppress(Timeout), self._lock(digest, timeout=0):
            folders = [folder for folder in (self._entry(digest), self._partial(digest)) if folder.is_dir()]
            freed = sum(_size(folder) for folder in folders)
            if unless_used is None or self._read(self._entry(digest)) == unless_used:
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)
                return freed
        return 0


def file_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of the files, in the order given (an ONNX file, then its external weights)."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _file_name(key: EngineKey) -> str:
    return f"network.{key.engine}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
