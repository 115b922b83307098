"""Files that are complete or absent, and paths that stay inside."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core import SampleError, UserError
from posesyn_core.files.checkpoints import write_checkpoint, write_state_dict
from posesyn_core.files.paths import atomic_folder, atomic_path, existing_file, inside, remove_partials, write_atomic


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.json"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.suffix == target.suffix
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("before", [None, "old"])
def test_after_a_failure_all_is_as_before(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "table.json"
    if before is not None:
        target.write_text(before)

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_killed_writer_leaves_only_a_partial(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from posesyn_core.files.paths import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n    t.write_text('half'); time.sleep(60)"
    )
    target = tmp_path / "table.json"
    with subprocess.Popen([sys.executable, "-c", code, str(target)]) as writer:
        deadline = time.monotonic() + 30
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.kill()
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_removing_partials_spares_everything_else(tmp_path: Path) -> None:
    names = (".hidden", "a.partial", "sub/b.json", ".notes.partial.txt", "sub/.coco.partial/x", ".a.12-3.partial.json")
    kept = [tmp_path / name for name in names]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kept_link = tmp_path / "elsewhere"
    kept_link.symlink_to(tmp_path / "sub")
    unfinished = []  # as a killed process leaves them
    for target in (tmp_path / "a.json", tmp_path / "sub/b", tmp_path / "sub/deep/c.tar"):
        unfinished += [atomic_path(target), atomic_folder(target)]
        unfinished[-2].__enter__().touch()
        (unfinished[-1].__enter__() / "half").touch()
    assert len(list(tmp_path.rglob("*posesyn-partial*"))) == 6
    remove_partials(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert kept_link.is_symlink()


def test_a_folder_appears_when_it_is_complete_and_replaces_what_is_outdated_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "export" / "coco"
    for content in ("old", "new"):
        with atomic_folder(target, "old") as folder:
            (folder / content).touch()
            assert not (target / content).exists()
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(OSError, match="No space"), atomic_folder(target) as folder:
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "coco", "new"]


def test_the_files_of_a_user_in_a_folder_that_is_written_again_stay(tmp_path: Path) -> None:
    target = tmp_path / "export" / "coco"
    mine = [target / "notes.txt", target / "images" / "mine.jpg", target / "x.partial.tar" / "mine"]
    for content in ("one", "two"):
        with atomic_folder(target) as folder:
            write_atomic(folder / "images" / "1.jpg", content)
        assert (target / "images" / "1.jpg").read_text() == content
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
    with atomic_folder(target) as folder:
        write_atomic(folder / "images" / "1.jpg", "three")
    assert [path.read_text() for path in mine] == ["mine"] * 3
    assert (target / "images" / "1.jpg").read_text() == "three"


@pytest.mark.parametrize("data", [b"\x00\xff", "text \u00e9"])
def test_bytes_and_text_are_written_as_they_are(tmp_path: Path, data: bytes | str) -> None:
    write_atomic(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == (data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize("name", ["a.jpg", "sub/a.jpg", "sub/../a.jpg", "./a.jpg"])
def test_a_name_inside_is_resolved(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == (tmp_path / name).resolve()


@pytest.mark.parametrize("name", ["..", "../a.jpg", "../../etc/passwd", "/etc/passwd", "sub/../../a.jpg"])
def test_a_name_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SampleError, match="leaves the image root"):
        inside(tmp_path / "images", name)


def test_a_sister_folder_is_outside(tmp_path: Path) -> None:
    with pytest.raises(SampleError):
        inside(tmp_path / "images", "../images-private/a.jpg")


def test_a_link_to_the_outside_is_refused_and_a_linked_root_is_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "real" / "link.jpg").symlink_to(tmp_path / "secret")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with pytest.raises(SampleError):
        inside(tmp_path / "root", "link.jpg")
    assert inside(tmp_path / "root", "a.jpg") == tmp_path / "real" / "a.jpg"


def test_links_are_followed_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "disk2").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "S1").symlink_to(tmp_path / "disk2")
    with pytest.raises(SampleError, match="follow_links = true"):
        inside(tmp_path / "root", "S1/a.jpg")
    assert inside(tmp_path / "root", "S1/a.jpg", follow_links=True) == tmp_path / "root" / "S1" / "a.jpg"
    with pytest.raises(SampleError, match="leaves"):
        inside(tmp_path / "root", "S1/../../a.jpg", follow_links=True)


@pytest.mark.parametrize("name", ["loop", "a\0b"])
def test_a_loop_of_links_and_an_impossible_name_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SampleError, match="can't be followed"):
        inside(tmp_path, name)


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "etc"]), max_size=8))
def test_no_path_ever_leaves_the_root(parts: list[str]) -> None:
    root = Path("/data/images")
    try:
        path = inside(root, "/".join(parts))
    except SampleError:
        return
    assert os.path.commonpath([root, path]) == str(root)


def test_an_existing_file_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").touch()
    assert existing_file(tmp_path / "weights.npz", "body model") == tmp_path / "weights.npz"
    for wrong, reason in (("gone.npz", "does not exist"), (".", "is a folder"), ("\0", "can't be read")):
        with pytest.raises(UserError, match=rf"body model .* {reason}"):
            existing_file(tmp_path / wrong, "body model")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.npz")
    with pytest.raises(UserError, match="is a pipe"):
        existing_file(tmp_path / "weights.npz", "body model")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="can't be read"):
        existing_file(tmp_path / "loop", "body model")


@pytest.mark.parametrize(
    "said", ["[enforce fail at inline_container.cc] unexpected pos", "Error: No space left on device"]
)
def test_a_full_disk_is_told_whatever_a_library_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    free = 0 if "enforce" in said else 1 << 40
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "weights.pt"):
        raise RuntimeError(said)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    with pytest.raises(RuntimeError, match="something else"), atomic_path(tmp_path / "weights.pt"):
        raise RuntimeError("something else")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_a_file_that_may_not_become_so_large_is_an_error_of_the_system(tmp_path: Path, suffix: str) -> None:
    """Quotas and limits of sizes: libraries say so in their own ways, and the user gets a sentence."""
    path, state = tmp_path / f"a{suffix}", {"a": torch.zeros(1 << 20)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OSError, match=r".+") as caught:
            if suffix == ".pt":
                write_checkpoint(state, path)
            elif suffix == ".safetensors":
                write_state_dict(state, path)
            else:
                write_atomic(path, bytes(1 << 21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno in (errno.EFBIG, errno.EIO)
    assert not list(tmp_path.iterdir())
