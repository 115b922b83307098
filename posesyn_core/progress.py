"""Progress of long work: a bar with rate and remaining time on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SECONDS_BETWEEN_LINES = 15.0


class Progress(Protocol):
    """What long work tells of itself."""

    def advance(self, count: int = 1) -> None: ...


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Progress]:
    """Show the progress of ``total`` units (None = not known beforehand) on standard error."""
    if sys.stderr.isatty():
        with _bar(label, total) as bar:
            yield bar
        return
    lines = _Lines(label, total)
    yield lines
    lines.finish()


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    rate = TextColumn("{task.fields[rate]}")
    columns = (SpinnerColumn(), TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), rate)
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as display:
        task = display.add_task(label, total=total, rate="")

        class Bar:
            def advance(self, count: int = 1) -> None:
                speed = display.tasks[0].speed
                display.update(task, advance=count, rate=f"{speed:.1f}/s" if speed else "")

        yield Bar()


def tell(line: str) -> None:
    """Say something once on standard error, beside the progress."""
    print(line, file=sys.stderr, flush=True)


class _Lines:
    """A line now and then, for logs."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total = label, total
        self.done, self.started = 0, time.monotonic()
        self.last_line = self.started

    def advance(self, count: int = 1) -> None:
        self.done += count
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self._print()

    def finish(self) -> None:
        if self.done:
            self._print()

    def _print(self) -> None:
        self.last_line = time.monotonic()
        rate = self.done / max(self.last_line - self.started, 1e-9)
        of = "" if self.total is None else f"/{self.total}"
        tell(f"{self.label}: {self.done}{of} ({rate:.1f}/s)")
