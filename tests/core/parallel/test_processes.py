"""Work in forked processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posesyn_core.errors import UserError
from posesyn_core.parallel.processes import ordered_in_processes


def test_results_come_in_order_and_little_is_read_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(12):
            read.append(number)
            yield number

    here = np.arange(12) * 2  # what this process knows, the others do

    def double(number: int) -> tuple[int, int]:
        return int(here[number]), os.getpid()

    results = ordered_in_processes(double, items(), 2)
    first, process = next(results)
    assert len(read) <= 4
    rest = list(results)
    assert [first, *(value for value, _ in rest)] == here.tolist()
    assert process != os.getpid()
    assert len({process, *(each for _, each in rest)}) <= 2


def test_errors_are_raised_here() -> None:
    def broken(number: int) -> int:
        raise UserError(f"no {number}")

    with pytest.raises(UserError, match="no 0"):
        list(ordered_in_processes(broken, range(3), 1))


def test_a_process_that_dies_is_told() -> None:
    def die(number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(UserError, match=r"ended from outside.*machine\.processes"):
        list(ordered_in_processes(die, range(3), 1))


def test_they_end_with_their_parent() -> None:
    script = """
        import os, time
        from posesyn_core.parallel.processes import ordered_in_processes
        work = ordered_in_processes(lambda n: os.getpid(), range(9), 2)
        print(next(work), next(work), flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = {int(number) for number in parent.stdout.readline().split()}
        parent.kill()
    for _ in range(100):
        if not any(_runs(child) for child in children):
            return
        time.sleep(0.1)
    pytest.fail(f"{children} outlive their parent")


def _runs(process: int) -> bool:
    try:
        with Path(f"/proc/{process}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
