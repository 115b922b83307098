"""A process that does whole runs in children which are killed at a chosen moment.

It imports what a run needs once, then forks for every job, so that a kill costs what was lost by it and no start-up. A
job is a line of JSON on standard input::

    {"arguments": [...], "stage": "animate", "event": 17}       killed before the 17th change to the run folder's files
    {"arguments": [...], "stage": "animate", "after": 0.3}      killed 0.3 s after the stage has begun
    {"arguments": [...], "counts": "counts.json"}               not killed; counts the changes of every stage

A stage that ends before its moment comes is killed at its end, and one that was complete already at the beginning of
the next. ``arguments`` are those of ``posesyn``. The answer is a line of JSON: ``{"killed": true, "code": -9}``.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from posesyn_core import hookimpl
from posesyn_core.cli import main
from posesyn_core.pipeline.animate import Clips
from posesyn_core.pipeline.caption import Captions
from posesyn_core.pipeline.filter import Verdicts
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.references import References
from posesyn_core.pipeline.score import Scores
from posesyn_core.pipeline.synthesize import Motions
from posesyn_core.registry import Registry

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}
BEGINNING = "beginning"
"""What counts as a stage before the first one has begun."""
ORDER = (BEGINNING, *STAGES)


class Watch:
    """Counts the changes to files of the run folder by stage, and kills this process at the chosen one."""

    def __init__(self, job: dict[str, Any], folder: str) -> None:
        self.job, self.folder = job, folder
        self.stage, self.counts = BEGINNING, Counter[str]()
        sys.addaudithook(self.see)

    @hookimpl
    def stage_started(self, run: Path, stage: str) -> None:
        self.stage = stage
        if "stage" in self.job and ORDER.index(stage) > ORDER.index(self.job["stage"]):
            die()
        if self.job.get("stage") == stage and "after" in self.job:
            threading.Timer(self.job["after"], die).start()

    @hookimpl
    def stage_finished(self, run: Path, stage: str) -> None:
        if stage == self.job.get("stage"):
            die()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY)
        if not writes or self.folder not in str(arguments[0]):
            return
        self.counts[self.stage] += 1
        if self.job.get("event") == self.counts[self.stage] and self.job.get("stage") == self.stage:
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(job: dict[str, Any], folder: str) -> None:
    with Path(folder).with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    watch = Watch(job, folder)
    discover = Registry.discover

    def watched() -> Registry:
        registry = discover()
        registry.manager.register(watch)
        return registry

    Registry.discover = staticmethod(watched)  # type: ignore[method-assign,assignment]
    code = 0
    try:
        main(job["arguments"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    if "counts" in job:
        Path(job["counts"]).write_text(json.dumps(watch.counts))
    sys.stdout.flush()
    os._exit(code)


def serve(folder: str) -> None:
    for work in (Scores, Captions, Motions, Clips, Verdicts, References):
        work.part = 2  # many parts of few units
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            child(json.loads(line), folder)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"killed": code == -signal.SIGKILL, "code": code}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
