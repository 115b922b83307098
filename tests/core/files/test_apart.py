"""Reading in a process apart: answers and faults come back, and a crash costs one file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posesyn_core.errors import UserError
from posesyn_core.files import apart
from posesyn_core.files.apart import read_apart


def length(path: Path, factor: int) -> int:
    if path.name == "crash":
        os.kill(os.getpid(), 11)
    if path.name == "greedy":
        bytearray(1 << 40)
    print("libraries print")
    return factor * len(path.read_bytes())


def test_answers_faults_and_crashes(tmp_path: Path) -> None:
    for name in ("good", "crash", "greedy"):
        (tmp_path / name).write_bytes(b"four")
    assert read_apart(length, tmp_path / "good", 3) == 12
    first = apart._process.running
    with pytest.raises(FileNotFoundError):
        read_apart(length, tmp_path / "gone", 3)
    with pytest.raises(MemoryError):
        read_apart(length, tmp_path / "greedy", 3)
    assert apart._process.running is first  # one process for many files
    with pytest.raises(UserError, match=r"crash' is damaged: the library that reads it failed"):
        read_apart(length, tmp_path / "crash", 3)
    assert read_apart(length, tmp_path / "good", 2) == 8


def test_a_file_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "MOST_SECONDS", 0.5)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="took more than"):
        read_apart(length, tmp_path / "pipe", 1)


def test_a_forked_process_has_a_reader_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"four")
    read_apart(length, tmp_path / "good", 1)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if read_apart(length, tmp_path / "good", 1) == 4 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read_apart(length, tmp_path / "good", 1) == 4


def test_a_machine_that_limits_memory_already_is_obeyed(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"four")
    code = (
        "import resource; from pathlib import Path; from tests.core.files.test_apart import length\n"
        "from posesyn_core.files.apart import read_apart\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        f"assert read_apart(length, Path({str(tmp_path / 'good')!r}), 2) == 8"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
