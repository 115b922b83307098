"""Reading in a process apart: answers and faults come back, a crash costs one file, and no answer can do harm."""

import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core.errors import SampleError, UserError
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


def table(path: Path, keys: list[str]) -> dict[str, Any]:
    return {key: np.full((2, 3), len(path.read_bytes()), np.float32) for key in keys}


FAULTS: dict[str, Exception] = {
    "user": UserError("a sentence"), "sample": SampleError("a reason"), "key": KeyError("pose"),
    "type": TypeError("two\nlines"), "odd": pickle.PicklingError("of a library"), "os": OSError("only text"),
}  # fmt: skip


def failing(path: Path) -> None:
    raise FAULTS[path.name]


class Runs:
    """A pickle of it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def takeover(path: Path) -> None:
    """What code in a hostile file might do: write to every pipe there is, as if it were the answer."""
    answer = pickle.dumps(Runs(path.with_name("marker")))
    forms = {"pickle": struct.pack("<Q", len(answer)) + answer, "huge": struct.pack("<Q", 1 << 60) + b"x",
             "nonsense": struct.pack("<QQ", 11, 3) + b"[1]", "half": struct.pack("<Q", 1000) + b"x"}  # fmt: skip
    for pipe in range(3, 30):
        try:
            os.write(pipe, forms[path.name])
        except OSError:
            continue
    if path.name == "half":
        time.sleep(60)
    os._exit(0)


def unplain(path: Path) -> Any:
    return {1, 2}


def test_arrays_come_back(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"four")
    found = read_apart(table, tmp_path / "good", ["a", "b"])
    assert list(found) == ["a", "b"] and found["b"].dtype == np.float32 and (found["b"] == np.full((2, 3), 4)).all()


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [("user", UserError, "a sentence"), ("sample", SampleError, "a reason"), ("type", ValueError, "two"),
     ("key", ValueError, "the key 'pose' is missing"), ("odd", ValueError, "of a library"),
     ("os", ValueError, "only text")],
)  # fmt: skip
def test_faults_come_back_as_sentences(tmp_path: Path, name: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as fault:
        read_apart(failing, tmp_path / name)
    assert type(fault.value) is kind and "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["pickle", "huge", "nonsense", "half"])
def test_a_process_that_was_taken_over_can_do_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "MOST_SECONDS", 5.0 if name != "half" else 1.0)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="is damaged: the library that reads it"):
        read_apart(takeover, tmp_path / name)
    assert not (tmp_path / "marker").exists()
    (tmp_path / "good").write_bytes(b"four")
    assert read_apart(length, tmp_path / "good", 3) == 12


def test_a_process_that_ended_between_two_files_is_the_fault_of_neither(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"four")
    assert read_apart(length, tmp_path / "good", 3) == 12
    assert apart._process.running is not None
    apart._process.running.kill()
    assert read_apart(length, tmp_path / "good", 3) == 12


def test_a_function_that_gives_no_plain_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds a set"):
        read_apart(unplain, tmp_path)


def test_a_system_without_limits_is_read_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise ValueError("not supported")

    monkeypatch.setattr(apart.resource, "setrlimit", none)
    apart._limit()


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
