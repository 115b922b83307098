"""The cache of built engines: what is shared, what is rebuilt, and what several processes do to each other."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from posesyn_core import UserError
from posesyn_core.engines import cache as engine_cache
from posesyn_core.engines.cache import EngineCache, EngineKey, cache_root, file_digest

KEY = EngineKey("net", "c0ffee", "tensorrt", "10.16.1", "NVIDIA H200", "9.0", "fp16", (1, 64))


class Builder:
    """Writes a fixed plan and counts how often it was asked to."""

    def __init__(self, data: bytes = b"plan") -> None:
        self.data, self.calls = data, 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_bytes(self.data)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_what_was_built_is_not_built_again(cache: EngineCache) -> None:
    build = Builder()
    path = cache.get(KEY, build)
    assert path.read_bytes() == b"plan"
    assert EngineCache(cache.folder).get(KEY, build) == path
    assert build.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        {"content": "0ther"},
        {"engine": "onnx"},
        {"version": "11.4.0"},
        {"device": "NVIDIA A100"},
        {"capability": "8.0"},
        {"precision": "fp32"},
        {"batch": (1, 32)},
        {"name": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_key_is_another_engine(cache: EngineCache, change: dict[str, object]) -> None:
    first, second = Builder(b"first"), Builder(b"second")
    cache.get(KEY, first)
    path = cache.get(attrs.evolve(KEY, **change), second)
    assert path.read_bytes() == b"second"
    assert cache.get(KEY, first).read_bytes() == b"first"
    assert (first.calls, second.calls) == (1, 1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def spoil_manifest(path: Path) -> None:
    (path.parent / "manifest.json").write_text('{"key": {}}')


def drop_manifest(path: Path) -> None:
    (path.parent / "manifest.json").unlink()


def add_file(path: Path) -> None:
    path.with_name("weights.data").write_bytes(b"")


def make_it_a_file(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [make_it_a_file, truncate, flip, spoil_manifest, drop_manifest, add_file, Path.unlink]
)
def test_a_damaged_entry_is_rebuilt(cache: EngineCache, damage: Callable[[Path], None]) -> None:
    build = Builder()
    damage(cache.get(KEY, build))
    path = cache.get(KEY, build)
    assert path.read_bytes() == b"plan"
    assert build.calls == 2
    assert {file.name for file in path.parent.iterdir()} == {path.name, "manifest.json"}


def test_a_plan_put_under_another_gpus_name_is_rebuilt(cache: EngineCache) -> None:
    """A cache copied between machines keeps its keys; a plan moved to the wrong key betrays itself by its manifest."""
    other = attrs.evolve(KEY, device="NVIDIA A100", capability="8.0")
    cache.get(other, Builder(b"for the A100")).parent.rename(cache.folder / KEY.digest)
    assert cache.get(KEY, Builder(b"for the H200")).read_bytes() == b"for the H200"


def test_files_beside_the_engine_belong_to_it(cache: EngineCache) -> None:
    def build(path: Path) -> None:
        path.write_bytes(b"graph")
        path.with_name("weights.data").write_bytes(b"weights")

    path = cache.get(KEY, build)
    assert path.with_name("weights.data").read_bytes() == b"weights"
    truncate(path.with_name("weights.data"))
    cache.get(KEY, build)
    assert path.with_name("weights.data").read_bytes() == b"weights"


def test_a_failed_build_leaves_nothing(cache: EngineCache) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise UserError("the operator Foo is not supported")

    with pytest.raises(UserError, match="Foo"):
        cache.get(KEY, fail)
    assert cache.entries() == []
    assert [path.name for path in cache.folder.iterdir()] == ["locks"]
    assert cache.get(KEY, Builder()).read_bytes() == b"plan"


def test_a_builder_that_writes_nothing_is_an_error(cache: EngineCache) -> None:
    with pytest.raises(RuntimeError, match="wrote no file"):
        cache.get(KEY, lambda _: None)
    assert cache.entries() == []


PROCESS = """
import os, sys, time
from pathlib import Path
from posesyn_core.engines.cache import EngineCache, EngineKey
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
def build(path):
    path.write_bytes(b"half")
    (folder / f"building-{os.getpid()}").touch()
    time.sleep(seconds)
    path.write_bytes(b"plan of some process")
key = EngineKey("net", "c0ffee", "tensorrt", "10.16.1", "NVIDIA H200", "9.0", "fp16", (1, 64))
print(EngineCache(folder / "engines").get(key, build).read_bytes().decode())
"""


def start(folder: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROCESS, str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_build(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob("building-*")):
        assert time.monotonic() < deadline, "no process began to build"
        time.sleep(0.01)


def test_of_processes_that_want_the_same_one_builds(tmp_path: Path) -> None:
    processes = [start(tmp_path, 0.5) for _ in range(3)]
    results = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert results == ["plan of some process"] * 3
    assert len(list(tmp_path.glob("building-*"))) == 1


def test_after_a_kill_during_the_build_the_next_builds_anew(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    with start(tmp_path, 600) as process:
        wait_for_build(tmp_path)
        process.send_signal(signal.SIGKILL)
    assert cache.entries() == []
    assert len(list(cache.folder.glob("*.partial"))) == 1
    assert cache.get(KEY, Builder()).read_bytes() == b"plan"
    assert list(cache.folder.glob("*.partial")) == []


def test_who_waits_takes_over_from_a_killed_builder(tmp_path: Path) -> None:
    with start(tmp_path, 600) as process:
        wait_for_build(tmp_path)
        waiting = start(tmp_path, 0)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        assert waiting.communicate(timeout=60)[0].strip() == "plan of some process"
    assert len(list(tmp_path.glob("building-*"))) == 2


def test_threads_share_a_build(cache: EngineCache) -> None:
    calls = []

    def build(path: Path) -> None:
        calls.append(path)
        time.sleep(0.05)
        path.write_bytes(b"plan")

    threads = [threading.Thread(target=cache.get, args=(KEY, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def age(path: Path, seconds: float) -> None:
    """Pretend that the entry was last used so long ago."""
    then = time.time() - seconds
    os.utime(path.parent / "manifest.json", (then, then))


def keyed(name: str) -> EngineKey:
    return attrs.evolve(KEY, name=name)


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_bytes=4500)  # three of them with their manifests
    build = Builder(bytes(1000))
    for name, seconds in {"oldest": 5000, "older": 4000, "old": 3000}.items():
        age(cache.get(keyed(name), build), seconds)
    cache.get(keyed("oldest"), build)  # asked for again: now the most recent
    cache.get(keyed("new"), build)
    assert [entry.key.name for entry in cache.entries()] == ["new", "oldest", "old"]
    assert build.calls == 4


def test_what_was_just_asked_for_stays_even_past_the_limit(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_bytes=10)
    paths = [cache.get(keyed(name), Builder(bytes(1000))) for name in "ab"]
    assert all(path.exists() for path in paths)


def test_many_may_evict_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cache, "IN_USE_SECONDS", 0)
    cache = EngineCache(tmp_path, limit_bytes=3000)

    def use(thread: int) -> int:
        names = [f"net{(thread + step * 7) % 20}" for step in range(40)]
        return len([cache.get(keyed(name), Builder(bytes(1000))) for name in names])

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(use, range(4))) == [40] * 4
    assert sum(entry.bytes for entry in cache.entries()) < 5 * 1500


def test_entries_tell_key_size_and_order(cache: EngineCache) -> None:
    age(cache.get(keyed("first"), Builder(bytes(1000))), 50)
    age(cache.get(keyed("second"), Builder(bytes(10))), 5)
    second, first = cache.entries()
    assert (first.key, second.key) == (keyed("first"), keyed("second"))
    assert first.bytes - second.bytes == 990 + len("first") - len("second")
    assert first.path.read_bytes() == bytes(1000)
    assert first.last_used < second.last_used


def test_clearing_removes_all_but_what_is_being_built(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    cache.get(keyed("other"), Builder(bytes(1000)))
    with start(tmp_path, 1) as process:
        wait_for_build(tmp_path)
        assert cache.clear() > 1000
        assert cache.entries() == []
        assert process.communicate(timeout=60)[0].strip() == "plan of some process"
    assert cache.clear() > 0
    assert cache.entries() == []
    assert cache.clear() == 0


def test_an_empty_cache_is_no_error(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "absent")
    assert cache.entries() == []
    assert cache.clear() == 0
    assert not (tmp_path / "absent").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"engine cache .* can't be written .*POSESYN_CACHE"):
        EngineCache(tmp_path / "file" / "engines").get(KEY, Builder())


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path))
    assert EngineCache().folder == tmp_path / "engines"
    monkeypatch.delenv("POSESYN_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "posesyn"


def test_a_files_hash_follows_content_alone(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"graph")
    b.write_bytes(b"graph")
    assert file_digest([a]) == file_digest([b])
    assert file_digest([a, b]) != file_digest([a])
    b.write_bytes(b"Graph")
    assert file_digest([a]) != file_digest([b])
