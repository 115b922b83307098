"""Files at addresses: what is read, and what never is."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core import SampleError, UserError
from posesyn_core.files import remote
from posesyn_core.files.images import encode_jpeg, load_image, read_encoded, storage_of
from posesyn_core.files.locating import PicturesAt
from posesyn_core.files.remote import base_of, below, file_at, is_url, listed, on_disk, streaming
from posesyn_core.registry import Registry
from posesyn_core.values.places import FileSlice, Url, place_of
from tests.web import Web, failing, redirect, serving

JPEG = encode_jpeg(np.full((40, 60, 3), 90, np.uint8))


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """``data`` is what is meant to be read."""
    monkeypatch.setattr(remote, "WAIT", 0.01)
    for name in ("data/a.jpg", "data/deep/b c#1.jpg", "data/deep/%2e%2e.jpg", "private/key.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    with serving(tmp_path) as web:
        yield web


@pytest.fixture
def store() -> Iterator[str]:
    """The base of an object store."""
    files = fsspec.filesystem("memory")
    files.pipe({"/bucket/data/a.jpg": JPEG, "/bucket/data/deep/b c#1.jpg": JPEG, "/bucket/private/key.jpg": JPEG})
    yield "memory://bucket/data"
    files.store.clear()


def test_pictures_are_read_from_stores_and_servers(web: Web, store: str) -> None:
    for base in (store, f"{web.base}/data"):
        for name in ("a.jpg", "deep/b c#1.jpg", "deep\\b c#1.jpg", f"{base}/a.jpg"):
            found = PicturesAt(base_of(base)).find(name)
            assert read_encoded(found) == JPEG
            assert load_image(found).shape == (40, 60, 3)
            assert place_of(found.stored()) == found
    assert not [path for path in web.asked if not path.startswith("/data/")]


def test_of_a_header_only_the_beginning_is_read(web: Web, tmp_path: Path) -> None:
    (tmp_path / "data/large.jpg").write_bytes(JPEG + bytes(10**7))
    found = below(base_of(f"{web.base}/data"), "large.jpg")
    assert storage_of(found).upright_size == (60, 40)
    assert len(remote.read(found, 0, 1000)) == 1000
    web.ranges = False  # the server sends all of it: no more than wanted is taken
    assert remote.read(found, 0, 1000) == (JPEG + bytes(1000))[:1000]


def test_parts_of_shards(web: Web, store: str) -> None:
    for base in (store, f"{web.base}/data"):
        assert read_encoded(FileSlice(below(base_of(base), "a.jpg"), 100, 50)) == JPEG[100:150]
    web.ranges = False
    with pytest.raises(SampleError, match="gives whole files only"):
        read_encoded(FileSlice(below(base_of(f"{web.base}/data"), "a.jpg"), 100, 50))


LEAVING = (
    "../private/key.jpg", "deep/../../private/key.jpg", "..\\private\\key.jpg", "/private/key.jpg", "//evil/a.jpg",
    "\\\\evil\\a.jpg", "%2e%2e/private/key.jpg", "%252e%252e/private/key.jpg", "..%2fprivate/key.jpg",
    "%2e%2e%5cprivate%5ckey.jpg", "https://evil/a.jpg", "s3://private/key.jpg", "file:///etc/passwd", "C:\\key.jpg",
    "https%3a%2f%2fevil/a.jpg", "deep/..", "..", ".", "", "a\0.jpg", "a\n.jpg", "deep/%25252525252525252e.jpg",
)  # fmt: skip


@pytest.mark.parametrize("name", LEAVING)
def test_no_name_leaves_the_base(name: str) -> None:
    for base in ("s3://bucket/data", "https://host/data"):
        with pytest.raises(SampleError, match="leaves the image root"):
            below(Url(base), name)


def test_a_base_is_no_prefix_of_another(store: str) -> None:
    with pytest.raises(SampleError, match="leaves"):
        below(base_of(store), "memory://bucket/data2/a.jpg")


@given(st.text("./\\%25eE:ab\u00e4 ", max_size=24))
def test_whatever_is_admitted_lies_below(name: str) -> None:
    try:
        found = below(Url("https://host/data"), name)
    except SampleError:
        return
    import yarl

    sent = yarl.URL(found.address, encoded=True)
    assert sent.host == "host" and sent.raw_path.startswith("/data/") and not {"..", "."} & set(sent.raw_parts)
    assert yarl.URL(str(sent)).path.startswith("/data/")  # and so it does for who decodes it
    assert place_of(found.stored()) == found


@pytest.mark.parametrize("target", ["/private/key.jpg", "http://127.0.0.1:1/data/a.jpg", "/data/../private/key.jpg",
                                    "https://evil.example/data/a.jpg", "/data/%2e%2e/private/key.jpg"])  # fmt: skip
def test_redirects_out_of_the_base_are_refused_before_anything_is_asked_there(web: Web, target: str) -> None:
    web.odd["/data/a.jpg"] = redirect(target)
    with pytest.raises(SampleError, match="is redirected out of"):
        read_encoded(below(base_of(f"{web.base}/data"), "a.jpg"))
    assert web.asked == ["/data/a.jpg"]


def test_redirects_within_the_base_are_followed(web: Web) -> None:
    web.odd["/data/old.jpg"] = redirect("deep/../a.jpg")
    assert read_encoded(below(base_of(f"{web.base}/data"), "old.jpg")) == JPEG


def test_a_server_that_stumbles_is_asked_again_and_one_that_is_down_rejects_the_sample(web: Web) -> None:
    found = below(base_of(f"{web.base}/data"), "a.jpg")
    web.odd["/data/a.jpg"] = failing(503, 2)
    assert read_encoded(found) == JPEG
    web.odd["/data/a.jpg"] = failing(503, 100)
    with pytest.raises(SampleError, match=r"/data/a\.jpg can't be read: 503"):
        read_encoded(found)
    assert len(web.asked) == 2 * remote.ATTEMPTS


@pytest.mark.parametrize(("status", "reason"), [(403, "403"), (404, "it does not exist")])
def test_what_is_refused_is_asked_for_once(web: Web, status: int, reason: str) -> None:
    web.odd["/data/a.jpg"] = failing(status, 100)
    with pytest.raises(SampleError, match=f"can't be read: {reason}"):
        read_encoded(below(base_of(f"{web.base}/data"), "a.jpg"))
    assert len(web.asked) == 1


def test_missing_files_and_servers_reject(store: str, web: Web) -> None:
    with pytest.raises(SampleError, match=r"memory://bucket/data/none\.jpg can't be read: it does not exist"):
        read_encoded(below(base_of(store), "none.jpg"))
    with pytest.raises(SampleError, match="can't be read"):
        read_encoded(Url("http://127.0.0.1:1", "a.jpg"))  # nobody listens there


def test_listings(web: Web, store: str, tmp_path: Path) -> None:
    assert {url.name for url in listed(base_of(store))} == {"a.jpg", "deep/b c#1.jpg"}
    assert {url.name for url in listed(base_of(f"{web.base}/data"))} == {"a.jpg", "deep/b c#1.jpg", "deep/%2e%2e.jpg"}
    links = ("/private/key.jpg", "../private/key.jpg", "../private/", "..%2fprivate/", "./", "/data/", "a.jpg")
    (tmp_path / "data/index.html").write_text("".join(f'<a href="{link}">' for link in links))
    web.asked.clear()
    assert {url.name for url in listed(base_of(f"{web.base}/data"))} == {"a.jpg"}
    assert web.asked == ["/data/"]
    with pytest.raises(UserError, match="can't be listed"):
        listed(base_of(f"{web.base}/nowhere"))


def test_shards_are_streamed(web: Web, store: str) -> None:
    for base in (store, f"{web.base}/data"):
        with streaming(below(base_of(base), "a.jpg")) as stream:
            assert stream.read(10) + stream.read() == JPEG or web.asked  # a stream may give less than all
    with pytest.raises(SampleError, match="does not exist"), streaming(below(base_of(store), "none.tar")):
        pass


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ftp://host/data", "no address that can be read"),
        ("simplecache::s3://bucket", "no address that can be read"),
        ("file:///etc", "no address that can be read"),
        ("s3://", "no address that can be read"),
        ("https://user:secret@host/data", "without user, password"),
        ("https://host/data?token=1", "without user, password"),
        ("s3://bucket/../other", "without '.' and '..'"),
        ("https://host/%2e%2e/data", "without '.' and '..'"),
    ],
)
def test_what_is_no_base_is_refused_and_no_secret_repeated(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refused:
        base_of(text)
    assert "secret" not in str(refused.value) and "token" not in str(refused.value)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")])
def test_a_missing_package_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"fsspec.implementations.{package}", None)
    for name in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"needs a package that is missing: pip install {package}"):
        base_of(f"{scheme}://bucket/data")


def test_addresses_are_told_from_paths() -> None:
    assert all(map(is_url, ("s3://bucket/a", "https://host", Path("s3://bucket"), "memory://x")))
    assert not any(map(is_url, ("C:/data", "C:\\data", "data/a.jpg", "/data", "a:b", "~/s3:/x")))
    assert file_at("https://host/data/b%20c.tar") == Url("https://host/data", "b c.tar")
    assert str(Url("https://host/data", "b c.tar")) == "https://host/data/b c.tar"
    assert place_of("/data/./a.jpg") == Path("/data/a.jpg")


def test_run_folders_lie_on_a_disk(tmp_path: Path) -> None:
    from posesyn_core.pipeline.locks import shard_lock
    from posesyn_core.pipeline.run import create_run, open_run
    from posesyn_core.recipe import parse_recipe

    assert on_disk(tmp_path) == tmp_path
    recipe = parse_recipe('dataset = "world"')
    for attempt in (
        lambda: create_run(Path("s3://bucket/run"), recipe, Registry.empty()),
        lambda: open_run(Path("gs://bucket/run"), Registry.empty()),
        lambda: shard_lock(Path("s3://bucket/run"), 0, 2).__enter__(),
    ):
        with pytest.raises(UserError, match="a run folder must lie on a file system"):
            attempt()


def test_options_that_take_paths_say_so() -> None:
    with pytest.raises(UserError, match="'root' must be a path, not an address"):
        Registry.discover().create("reader", "coco", {"root": "s3://bucket/coco"}, "dataset")


def test_a_picture_larger_than_any_is_refused(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posesyn_core.files.images.MOST_BYTES", 100)
    with pytest.raises(SampleError, match="larger than"):
        read_encoded(below(base_of(store), "a.jpg"), 101)
    assert io.BytesIO(JPEG).read(1)
