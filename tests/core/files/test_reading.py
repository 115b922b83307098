"""Files from elsewhere: text as Windows writes it, arrays that lie about their size, faults told in a sentence."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from posesyn_core import UserError
from posesyn_core.files.reading import read_json, read_npy, read_npz, read_text, reading


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_and_without_a_mark_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes('name = "Übung"\r\nseed = 1\r\n'.encode(encoding))
    assert read_text(path, "recipe") == 'name = "Übung"\nseed = 1\n'


def test_text_in_latin_1_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes('name = "Übung"'.encode("latin-1"))
    with pytest.raises(UserError, match=r"recipe .*recipe\.toml' is not text in UTF-8 \(byte 8.*save it as UTF-8"):
        read_text(path, "recipe")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1', "not valid JSON .*is it complete"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b"<html></html>", "web page"),
        (b"", "zero bytes"),
        (b'{"a": "\xff"}', "not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_json_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "people.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_json(path, "annotation file", "a list of people")
    assert "people.json" in str(caught.value)
    assert "a list of people" in str(caught.value) or "UTF-8" in str(caught.value)


def test_windows_json_of_public_reports_is_read(shared: Path) -> None:
    assert read_json(shared / "field/windows-text/keypoints16.json", "keypoints", "people")["people"]


def test_arrays_come_through(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "f": np.asfortranarray(np.ones((2, 3))), "t": np.array(["x", "yz"]),
              "e": np.zeros((0, 3)), "s": np.float32(2)}  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz", "file", "arrays")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].flags.writeable
    assert read_npz(tmp_path / "a.npz", "file", "arrays", ["a"]).keys() == {"a"}
    np.save(tmp_path / "a.npy", arrays["f"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", "file", "arrays"), arrays["f"])


def _npy(shape: str, descr: str = "'<f8'", content: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_npy("(1000000000000,)"), "in .* bytes"),
        (_npy("(1000000000000,)", "'|V0'"), "in .* bytes"),
        (_npy("(-3,)", content=bytes(24)), "in .* bytes|negative"),
        (_npy("(4,)", content=bytes(8)), "in .* bytes|buffer"),
        (_npy("(1,)", "'|O'", bytes(8)), "pickled objects are refused"),
        (b"\x93NUMPY\x07\x00", "can't be read"),
        (b"<!doctype html>", "web page"),
    ],
)
def test_an_array_that_lies_about_itself_is_refused_before_memory_is_taken(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UserError, match=reason):
        read_npy(tmp_path / "a.npy", "file", "arrays")
    with pytest.raises(UserError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz", "file", "arrays")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", _npy("(12500000,)") + bytes(100_000_000))
    (tmp_path / "bomb.npz").write_bytes(content.getvalue())
    with pytest.raises(UserError, match="say to unpack"):
        read_npz(tmp_path / "bomb.npz", "file", "arrays")


def test_whatever_goes_wrong_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"x")
    faults = (OverflowError("int too large"), RecursionError(), KeyError("x"), MemoryError(), OSError(5, "I/O error"))
    for error in faults:
        with pytest.raises(UserError, match=r"a\.mat' can't be read"), reading(path, "annotations", "x"):
            raise error
    with pytest.raises(UserError, match="in so many words"), reading(path, "annotations"):
        raise UserError("in so many words")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(UserError, match="is a pipe"):
        read_npz(tmp_path / "a.npz", "file", "arrays")
