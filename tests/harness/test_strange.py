"""Strange things where a run's files belong: each command ends by itself, with its work or a sentence, no traceback."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posesyn_core.cli import main
from tests.harness.runs import Finished

SECONDS = 60
COMMANDS = (
    ("check",), ("report",), ("sweep",), ("preview",), ("superseded",), ("select",), ("filter", "--restart", "filter"),
    ("export", "--restart", "export"), ("finetune", "--restart", "finetune"), ("evaluate", "--restart", "evaluate"),
    ("resume",),
)  # fmt: skip


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(300))


def text(path: Path) -> None:
    path.write_bytes("Übung".encode("latin-1") * 20)


def null(path: Path) -> None:
    path.write_text("null")


def nested(path: Path) -> None:
    path.write_text("[" * 50_000)


def odd_object(path: Path) -> None:
    path.write_text('{"parts": 3, "step": "x", "files": [null], "name": 10e999, "settings": {"a": [[]]}}\n' * 2)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


STRANGE: tuple[Callable[[Path], None], ...] = (empty, noise, text, null, nested, odd_object, folder, loop, pipe)


@contextmanager
def limited(seconds: int, told: str) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"{told} took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ends(finished: Finished, path: Path, harm: Callable[[Path], None], command: tuple[str, ...]) -> str:
    """ "" or what went wrong when the command met the harmed file."""
    harm(path)
    name, *options = command
    told = f"{' '.join(command)} with {path.relative_to(finished.folder)} {harm.__name__}"
    try:
        with limited(SECONDS, told):
            main([name, str(finished.folder), *options])
    except SystemExit as end:
        return "" if end.code in (None, 0, 1, 2) else f"{told}: exit code {end.code}"
    except BaseException as error:
        return f"{told}: {type(error).__name__}: {str(error)[:200]}"
    return ""


def mend(finished: Finished) -> None:
    """As healing, but for files that are as they were."""
    for path in sorted(finished.folder.rglob("*"), reverse=True):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            path.unlink()
    shutil.rmtree(finished.folder)
    shutil.copytree(finished.root / "whole", finished.folder)


def kinds(finished: Finished) -> list[Path]:
    """One file of every kind that a run has: the last of each name in each stage."""
    last = {(path.parent.name, path.suffix if path.suffix != ".json" else path.name): path for path in _all(finished)}
    return sorted(last.values())


def _all(finished: Finished) -> list[Path]:
    return [finished.folder / name for name in sorted(finished.whole)]


def test_a_few_strange_things(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    faults = attacks(finished, random.Random(3), 6)
    assert not faults, "\n".join(faults)


def test_a_list_of_rejections_that_is_none_is_told(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished.folder / "evaluate/rejected.jsonl"
    for harm in (odd_object, nested, null):
        assert not ends(finished, path, harm, ("report",))
        assert "rejected.jsonl' is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_hundreds_of_strange_things(finished: Finished) -> None:
    faults = attacks(finished, random.Random(4), 150)
    assert not faults, "\n".join(faults)


def attacks(finished: Finished, chance: random.Random, count: int) -> list[str]:
    faults, paths = [], kinds(finished)
    for _ in range(count):
        path, harm, command = chance.choice(paths), chance.choice(STRANGE), chance.choice(COMMANDS)
        if fault := ends(finished, path, harm, command):
            faults.append(fault)
        mend(finished)
    return faults
