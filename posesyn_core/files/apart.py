"""Reading foreign formats in a process apart: a damaged file that crashes its library, or takes all memory, costs
nothing but itself.

The process is started once and reads file after file; it is started anew after a crash. What it runs is named, a
module's function, and gets the file's path; what that returns comes back pickled, from our own code to our own code.
"""

import atexit
import importlib
import os
import pickle
import resource
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field

from posesyn_core.errors import UserError
from posesyn_core.files.paths import shown

MOST_SECONDS, MOST_SECONDS_PER_MB = 15.0, 10.0
"""For one file, and more for a large one."""
MOST_BYTES = 8 << 30
"""Of memory, more than which no annotation file needs."""
_LENGTH = struct.Struct("<Q")


class CrashedError(Exception):
    """The process did not survive the file."""


@define
class _Process:
    """The process apart, one question at a time."""

    running: "subprocess.Popen[bytes] | None" = None
    owner: int = 0
    lock: threading.Lock = field(factory=threading.Lock)

    def ask(self, question: tuple[str, str, tuple[Any, ...]], seconds: float) -> Any:
        """The answer to ``(function, path, arguments)``, or the exception that it raised, if it comes in time."""
        with self.lock:
            process = self._started()
            try:
                assert process.stdin is not None
                _send(process.stdin, pickle.dumps(question))
                return pickle.loads(self._answer(process, seconds))
            except (OSError, EOFError, TimeoutError) as error:
                self.stop()
                raise CrashedError(str(error) or "it ended") from error

    def _started(self) -> "subprocess.Popen[bytes]":
        if self.owner != os.getpid():  # forked since: that one answers our parent
            self.running, self.owner = None, os.getpid()
        if self.running is None or self.running.poll() is not None:
            self.running = subprocess.Popen(
                [sys.executable, "-c", "from posesyn_core.files.apart import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self.running

    def _answer(self, process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError(f"it took more than {seconds:.0f} seconds")
        return _receive(process.stdout)

    def stop(self) -> None:
        """End the process, if it runs."""
        if self.running is not None and self.owner == os.getpid():
            self.running.kill()
            self.running.wait()
            for pipe in (self.running.stdin, self.running.stdout):
                if pipe is not None:
                    pipe.close()
            self.running = None


_process = _Process()
atexit.register(_process.stop)


def read_apart(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """``function(path, *arguments)``, run apart; whatever it raises is raised here.

    UserError if the file kills the process or takes too long. The function must be a module's own.
    """
    question = (f"{function.__module__}:{function.__qualname__}", str(path.absolute()), arguments)
    size = path.stat().st_size if path.is_file() else 0
    try:
        done, result = _process.ask(question, MOST_SECONDS + MOST_SECONDS_PER_MB * size / 1e6)
    except CrashedError as error:
        raise UserError(f"{shown(path)} is damaged: the library that reads it failed on it ({error})") from error
    if not done:
        raise result
    return result


def serve() -> None:
    """The life of the process apart: answer questions until there are no more."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES if hard < 0 else min(MOST_BYTES, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print is no answer
    while True:
        try:
            function, path, arguments = pickle.loads(_receive(questions))
        except EOFError:
            return
        _send(answers, _attempt(function, path, arguments))


def _attempt(name: str, path: str, arguments: tuple[Any, ...]) -> bytes:
    try:
        module, _, function = name.partition(":")
        return pickle.dumps((True, getattr(importlib.import_module(module), function)(Path(path), *arguments)))
    except Exception as error:  # it is raised where it was asked for
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = ValueError(f"{type(error).__name__}: {error}")
        return pickle.dumps((False, error))


def _send(pipe: BinaryIO | Any, data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> bytes:
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return _exactly(pipe, size)


def _exactly(pipe: BinaryIO | Any, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("it crashed")
    return data
