"""One process at a time works on a run folder."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.files.remote import on_disk
from posesyn_core.parallel.processes import process_place
from posesyn_core.pipeline.superseded import one_moment
from posesyn_core.progress import tell

LOCK, OWNER = ".lock", ".lock-owner.json"
PATIENCE = 60.0
"""Seconds that one process waits for another to open the run folder."""
_holds_shard: set[Path] = set()
"""The run folders of which this process does a shard."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run's lock; calls within calls of one process share it, as do the processes of a shared training.

    What is set aside meanwhile is one moment (:func:`~posesyn_core.pipeline.superseded.one_moment`). A process that
    does a shard (:func:`shard_lock`) holds that instead. A killed process holds nothing. UserError naming the process
    that holds the lock or a shard, if that is another one.
    """
    if process_place()[0] > 0 or folder.absolute() in _holds_shard:  # torchrun: the first process holds it for all
        yield
        return
    with _held(folder, LOCK, 0):
        for other in sorted(folder.glob(f"{LOCK}-shard-*-of-*")):
            with _held(folder, other.name, 0):
                pass
        owner = {"process": os.getpid(), "machine": socket.gethostname(), "command": " ".join(sys.argv[1:])}
        write_atomic(folder / OWNER, json.dumps(owner) + "\n")
        with one_moment(folder):
            yield


@contextlib.contextmanager
def shard_lock(folder: Path, index: int, count: int) -> Iterator[None]:
    """Hold the lock of one shard of a run. UserError if another process does that shard, or the whole run."""
    with contextlib.ExitStack() as held:
        with _held(on_disk(folder), LOCK, PATIENCE):
            held.enter_context(_held(folder, f"{LOCK}-shard-{index}-of-{count}", 0))
        _holds_shard.add(folder.absolute())
        held.callback(_holds_shard.discard, folder.absolute())
        with one_moment(on_disk(folder), alone=False):
            yield


@contextlib.contextmanager
def opening_lock(folder: Path) -> Iterator[bool]:
    """Held while a run folder is opened: one process after the other. Yields whether it is this process's alone."""
    if folder.absolute() not in _holds_shard:
        with run_lock(folder):
            yield True
        return
    with _held(folder, LOCK, PATIENCE):
        yield False


@contextlib.contextmanager
def _held(folder: Path, name: str, patience: float) -> Iterator[None]:
    """Hold one lock file of the run folder, which is made if it is not there."""
    lock = FileLock(folder.absolute() / name, is_singleton=True, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        what = (
            "the run"
            if name == LOCK
            else f"shard {name.removeprefix(LOCK + '-shard-').replace('-of-', '/')} of the run"
        )
        raise UserError(
            f"another process works on {what} in {str(folder)!r}{_owner(folder) if name == LOCK else ''}: wait for its "
            "end, or use another --run folder"
        ) from error
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise UserError(
            f"run folder {str(folder)!r} can't be written: {error.strerror}; choose another --run"
        ) from error
    except NotImplementedError:
        tell(f"the file system of {str(folder)!r} knows no locks: see to it yourself that no other process works there")
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> str:
    """Who holds the lock, in brackets; nothing if that can't be read."""
    try:
        owner = json.loads((folder / OWNER).read_bytes())
        command = f": posesyn {owner['command']}" if owner["command"] else ""
        return f" (process {owner['process']} on {owner['machine']}{command})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
