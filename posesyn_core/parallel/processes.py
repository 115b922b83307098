"""Processes that do one work together, and work in processes, its results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from posesyn_core.errors import UserError

U = TypeVar("U")
R = TypeVar("R")

_adopted: list[Callable[[Any], Any]] = []
"""In a process that was forked to work: what it does."""


def process_place() -> tuple[int, int]:
    """This process's number, from 0, and how many ``torchrun`` started together; (0, 1) for one that is alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def wait_for_all(device: str) -> None:
    """Go on when the other processes that ``torchrun`` started have come here, too."""
    from accelerate import PartialState

    PartialState(cpu=device == "cpu").wait_for_everyone()


def ordered_in_processes(function: Callable[[U], R], items: Iterable[U], processes: int) -> Iterator[R]:
    """``map`` in ``processes`` forked from this one, results in order; reads at most 2 * processes items ahead.

    They know all that this process knows when the first result is asked for, and end with it. Results must be plain
    data: numbers, texts, numpy arrays. The function must leave GPUs alone. UserError where the system can't fork, and
    if a process dies.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise UserError("this system can't fork processes: set machine.processes = 0, and work with threads")
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_adopt, initargs=(function,))
    running: deque[Future[R]] = deque()
    try:
        for item in items:
            running.append(pool.submit(_apply, item))
            if len(running) >= 2 * processes:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process that reads training data was ended from outside, for want of memory perhaps: lower "
            "machine.processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _adopt(function: Callable[[Any], Any]) -> None:
    """Begin in a forked process: one thread each, as the libraries' pools of threads were not forked with it."""
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops the others
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _adopted.append(function)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _apply(item: Any) -> Any:
    return _adopted[-1](item)
