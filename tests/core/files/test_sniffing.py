"""Bad downloads are named for what they are, by whatever reads them."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.checkpoints import read_state_dict
from posesyn_core.files.films import decoded
from posesyn_core.files.images import load_image
from posesyn_core.files.reading import read_json, read_npz
from posesyn_core.files.unpickle import load_pickle

DOWNLOADS = {
    "a web page": b"\n <html lang=en><title>Virus scan warning</title>",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "git annex get": b"../../.git/annex/objects/Xx/Yy/SHA256E-s123--abc.pt/SHA256E-s123--abc.pt\n",
    "nothing but zeros": bytes(5000),
    "gzip archive": gzip.compress(b"x" * 5000),
    "7-Zip": b"7z\xbc\xaf'\x1c" + bytes(300),
    "zero bytes|ends early": b"",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "pt": lambda path: read_state_dict(path, "state_dict"),
    "pkl": load_pickle,
    "npz": lambda path: read_npz(path, "file", "arrays"),
    "json": lambda path: read_json(path, "file", "an object"),
    "jpg": load_image,
    "mp4": lambda path: list(decoded(path, lambda _: True)),
}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_bad_download_is_named(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(DOWNLOADS[name])
    with pytest.raises((UserError, SampleError), match=name):
        READERS[suffix](path)


def test_the_answer_of_a_server_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b'{"error": {"code": 403, "message": "The user has exceeded their download quota"}}')
    with pytest.raises(UserError, match="a server's answer"):
        read_state_dict(path, "state_dict")
