"""What the harnesses share: a small whole run, its files as bytes, and a victim to do it."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from posesyn_core.pipeline.run import Run, open_run
from posesyn_core.pipeline.superseded import FOLDER as SET_ASIDE
from posesyn_core.registry import Registry
from tests.tiny import folder_data_set, small_spin

WORLD = 'name="world", part="lab", split="tests", count=4, image_size=128, workers=1'
SETTINGS = (
    f"test={{{WORLD}}}", f"real={{{WORLD}}}", f"validation={{{WORLD}}}", "finetune.steps=4", "finetune.batch_size=4",
    "finetune.validate_every=2", "finetune.real_only=false", "filter.tau=100000", "animate.frame_stride=24",
    "synthesize.motions_per_sample=2",
    'export.formats=["webdataset", "coco", "spin", "hmr2", "hmr2_npz", "hybrik", "crowdnet"]',
)  # fmt: skip


class Victim:
    """A process that does jobs and is killed at them (:mod:`tests.harness.victim`)."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.process, self.folder = process, folder

    def do(self, *arguments: str, **how: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, **how}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def complete(self, *arguments: str, **how: Any) -> None:
        done = self.do(*arguments, **how)
        assert done == {"killed": False, "code": 0}, self.folder.with_suffix(".log").read_text()[-3000:]


@frozen
class Finished:
    """A finished run in ``root/run``: who did it, how, how many changes to its files each stage made, and its files."""

    root: Path
    victim: Victim
    arguments: list[str]
    counts: dict[str, int]
    whole: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.root / "run"

    @property
    def run(self) -> Run:
        return open_run(self.folder, Registry.discover())

    def files(self, pattern: str) -> list[Path]:
        """The files of the run that stages wrote, derived ones left out."""
        names = (name for name in sorted(self.whole) if re.search(pattern, name) and "/" in name)
        return [self.folder / name for name in names]

    def heal(self) -> None:
        """Make the run what it was."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.root / "whole", self.folder)


@contextmanager
def victim(folder: Path) -> Iterator[Victim]:
    command = [sys.executable, "-m", "tests.harness.victim", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Victim(process, folder)
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def whole_run(root: Path) -> Iterator[Finished]:
    """Do the small whole run in ``root/run``, with a copy in ``root/whole``, counting the changes to its files."""
    with victim(root / "run") as process:
        arguments, counts = command(root), root / "counts.json"
        process.complete(*arguments, counts=str(counts))
        shutil.copytree(root / "run", root / "whole")
        yield Finished(root, process, arguments, json.loads(counts.read_text()), contents(root / "run"))


def command(root: Path) -> list[str]:
    """The arguments that do the whole loop in ``root/run``, with data that is written to ``root``."""
    recipe = folder_data_set(root, people=6, part="lab")
    estimator = f'estimator={{name="spin", weights="{small_spin(root)}"}}'
    settings = [part for setting in (*SETTINGS, estimator) for part in ("--set", setting)]
    return ["run", str(recipe), "--run", str(root / "run"), *settings]


def contents(folder: Path) -> dict[str, str]:
    """The checksum of every file of a run by name, but for the lock and what was set aside."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = ((path.relative_to(folder), path) for path in files)
    return {str(name): _checksum(path) for name, path in named if not name.parts[0].startswith((".lock", SET_ASIDE))}


def checksums(folder: Path) -> set[str]:
    """The checksums of all files, those that were set aside among them."""
    return {_checksum(path) for path in folder.rglob("*") if path.is_file()}


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differing(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """The names of the files that are not the same."""
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
