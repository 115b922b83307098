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
from posesyn_core.parallel.processes import process_place
from posesyn_core.progress import tell

LOCK, OWNER = ".lock", ".lock-owner.json"


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run's lock; calls within calls of one process share it, as do the processes of a shared training.

    A killed process holds it no longer. UserError naming the process that holds it, if that is another one.
    """
    if process_place()[0] > 0:  # torchrun: the first process holds it for all
        yield
        return
    lock = FileLock(folder.absolute() / LOCK, timeout=0, is_singleton=True, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"another process works on the run in {str(folder)!r}{_owner(folder)}: wait for its end, or use another "
            "--run folder"
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
        if lock.lock_counter == 1:
            owner = {"process": os.getpid(), "machine": socket.gethostname(), "command": " ".join(sys.argv[1:])}
            write_atomic(folder / OWNER, json.dumps(owner) + "\n")
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
