"""Reading foreign formats in a process apart: a damaged file that crashes its library, or takes all memory, costs
nothing but itself.

The process is started once and reads file after file; it is started anew after a crash. What it runs is named, a
module's function, and gets the file's path; what that returns comes back as plain data
(:mod:`posesyn_core.files.plain`): a hostile file that has taken over the process gains nothing by what it answers.
"""

import atexit
import importlib
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import shown
from posesyn_core.files.plain import from_bytes, to_bytes
from posesyn_core.files.reading import MOST_UNPACKED, reason_of

if sys.platform != "win32":
    import resource

MOST_SECONDS, MOST_SECONDS_PER_MB = 15.0, 10.0
"""For one file, and more for a large one."""
MOST_BYTES = 8 << 30
"""Of memory, more than which no annotation file needs."""
MOST_ANSWERED, ALWAYS_ANSWERED = 4 << 30, 1 << 28
"""Bytes of an answer: never more than these, always as many as those, else ``MOST_UNPACKED`` times the file's size."""
_LENGTH = struct.Struct("<Q")


class CrashedError(Exception):
    """The process did not survive the file."""


@define
class _Process:
    """The process apart, one question at a time."""

    running: "subprocess.Popen[bytes] | None" = None
    lock: threading.Lock = field(factory=threading.Lock)

    def ask(self, question: list[Any], seconds: float, most: int) -> Any:
        """The answer to ``[function, path, arguments]``, if one of at most so many bytes comes in time.

        A file is to blame only for what happens to a process that has read no other before it.
        """
        with self.lock:
            new = self.running is None
            try:
                return self._asked(question, seconds, most)
            except CrashedError as error:
                if new or isinstance(error.__cause__, TimeoutError):
                    raise
            return self._asked(question, seconds, most)

    def _asked(self, question: list[Any], seconds: float, most: int) -> Any:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        late = threading.Event()
        clock = threading.Timer(seconds, _end, (process, late))
        clock.daemon = True
        clock.start()
        try:
            _send(process.stdin, to_bytes(question))
            return from_bytes(_receive(process.stdout, most))
        except (OSError, EOFError, ValueError) as error:
            self.stop()
            cause = TimeoutError(f"it took more than {seconds:.0f} seconds") if late.is_set() else error
            raise CrashedError(str(cause) or "it ended") from cause
        finally:
            clock.cancel()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self.running is None:
            self.running = subprocess.Popen(
                [sys.executable, "-c", "from posesyn_core.files.apart import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self.running

    def stop(self) -> None:
        """End the process, if it runs."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            for pipe in (self.running.stdin, self.running.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what could not be written to it any more
                        pipe.close()
            self.running = None

    def forget(self) -> None:
        """In a process that was forked: the one that runs answers the parent."""
        self.running, self.lock = None, threading.Lock()


def _end(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    process.kill()


_process = _Process()
atexit.register(_process.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget)


def read_apart(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """``function(path, *arguments)``, run apart.

    It and its arguments must be plain data, and the function a module's own. UserError if the file kills the process
    or takes too long. What the function raises is raised here if it is a UserError, a SampleError, an OSError or a
    MemoryError; anything else as a ValueError that says the same.
    """
    question = [f"{function.__module__}:{function.__qualname__}", str(path.absolute()), arguments]
    size = path.stat().st_size if path.is_file() else 0
    most = min(max(MOST_UNPACKED * size, ALWAYS_ANSWERED), MOST_ANSWERED)
    try:
        answer = _process.ask(question, MOST_SECONDS + MOST_SECONDS_PER_MB * size / 1e6, most)
    except CrashedError as error:
        raise UserError(f"{shown(path)} is damaged: the library that reads it failed on it ({error})") from error
    match answer:
        case ["done", result]:
            return result
        case ["OSError", [int(number), str(reason), *_]]:
            raise OSError(number, reason, str(path))
        case [str(kind), str(reason)]:
            raise _ERRORS.get(kind, ValueError)(reason)
    _process.stop()
    raise UserError(f"{shown(path)} is damaged: the library that reads it failed on it (it answered with nonsense)")


_ERRORS: dict[str, type[Exception]] = {"UserError": UserError, "SampleError": SampleError, "MemoryError": MemoryError}
"""What is raised here as it was there."""


def serve() -> None:
    """The life of the process apart: answer questions until there are no more."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _limit()
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print is no answer
    while True:
        try:
            function, path, arguments = from_bytes(_receive(questions, MOST_ANSWERED))
        except EOFError:
            return
        _send(answers, _attempt(function, path, arguments))


def _limit() -> None:
    """Bound this process' memory, and have no dump of it written, where the system has such limits."""
    if sys.platform != "win32":
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = MOST_BYTES if hard == resource.RLIM_INFINITY else min(MOST_BYTES, hard)
        for limit, value in ((resource.RLIMIT_AS, (wanted, hard)), (resource.RLIMIT_CORE, (0, 0))):
            try:
                resource.setrlimit(limit, value)
            except (ValueError, OSError):  # macOS has the first in name only
                continue


def _attempt(name: str, path: str, arguments: list[Any]) -> bytes:
    """The answer as bytes: what kind it is, and the result."""
    try:
        module, _, function = name.partition(":")
        return to_bytes(["done", getattr(importlib.import_module(module), function)(Path(path), *arguments)])
    except OSError as error:
        plain = error.errno is None or error.strerror is None
        return to_bytes(["ValueError", reason_of(error)] if plain else ["OSError", [error.errno, error.strerror]])
    except (UserError, SampleError, MemoryError) as error:
        return to_bytes([type(error).__name__, str(error)])
    except Exception as error:  # whatever a damaged file leads to
        return to_bytes(["ValueError", reason_of(error)])


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes], most: int) -> bytes:
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    if size > most:
        raise ValueError(f"an answer of {size} bytes")
    return _exactly(pipe, size)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("it crashed")
    return data
