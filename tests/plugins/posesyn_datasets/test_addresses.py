"""Data sets whose pictures, or shards, lie at addresses."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.files import remote
from posesyn_core.files.images import encode_jpeg, read_encoded
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import score
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.values import Sample
from tests.web import failing, serving

JPEG = encode_jpeg(np.full((90, 60, 3), 120, np.uint8))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture
def store() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.pipe({"/bucket/photos/b10.jpg": JPEG, "/bucket/photos/b9.jpg": JPEG, "/bucket/photos/notes.txt": b""})
    files.pipe({"/bucket/photos/film.xyz": b"?", "/bucket/photos/deep/broken.jpg": b"\xff\xd8"})
    yield "memory://bucket/photos"
    files.store.clear()


def keypoints(folder: Path, images: list[str]) -> Path:
    people = [{"image": image, "keypoints": [[10 + 2 * at, 20 + 3 * at, 1] for at in range(17)]} for image in images]
    (folder / "keypoints.json").write_text(json.dumps({"joint_set": "coco17", "people": people}))
    return folder


def test_a_folder_of_photographs(registry: Registry, store: str) -> None:
    entries = list(registry.create(Kind.READER, "images", {"root": store}, "dataset").samples())
    refused = [entry for entry in entries if not isinstance(entry, Sample)]
    assert [name for name, _ in refused] == ["images/film.xyz", "images/deep/broken.jpg"]
    people = [entry for entry in entries if isinstance(entry, Sample)]
    assert [person.id for person in people] == ["images/b9.jpg-0", "images/b10.jpg-0"]
    assert people[0].box.tolist() == [0, 0, 59, 89] and read_encoded(people[0].image) == JPEG
    (one,) = registry.create(Kind.READER, "images", {"root": f"{store}/b9.jpg"}, "dataset").samples()
    assert one.id == "images/b9.jpg-0"
    with pytest.raises(UserError, match="there is no picture"):
        list(registry.create(Kind.READER, "images", {"root": f"{store}/deep/none"}, "dataset").samples())


def test_a_run_rejects_the_pictures_that_cant_be_read_and_goes_on(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "WAIT", 0.01)
    (tmp_path / "served").mkdir()
    for name in ("a.jpg", "down.jpg", "shaky.jpg"):
        (tmp_path / "served" / name).write_bytes(JPEG)
    root = keypoints(tmp_path, ["a.jpg", "down.jpg", "shaky.jpg", "none.jpg", "%2e%2e/key.jpg"])
    with serving(tmp_path / "served") as web:
        web.odd |= {"/down.jpg": failing(500, 100), "/shaky.jpg": failing(500, 1)}
        recipe = parse_recipe(
            f'dataset = {{ name = "folder", root = "{root}", images = "{web.base}" }}\n'
            'estimator = { name = "spin", weights = "random" }\n'
        )
        run = create_run(tmp_path / "run", recipe, registry)
        assert score(run)["samples"] == 5
        reasons = dict(run.scored.rejections())
    down, none, key = (reasons[name] for name in sorted(reasons, key=lambda name: "dnk".index(name.split("/")[-1][0])))
    assert down.startswith(f"{web.base}/down.jpg can't be read: 500")
    assert none == f"{web.base}/none.jpg can't be read: it does not exist"
    assert key == f"image path '%2e%2e/key.jpg' leaves the image root '{web.base}', or names no file"
    assert {scored.sample.image.name for scored in run.scored.values()} == {"a.jpg", "shaky.jpg"}  # type: ignore[union-attr]
    assert {str(scored.sample.image) for scored in run.scored.values()} >= {f"{web.base}/a.jpg"}


def test_shards_give_the_people_that_they_give_on_a_disk(registry: Registry, tmp_path: Path) -> None:
    from tests.plugins.posesyn_hmr2.test_annotations import entry, shard

    one, two = pickle.dumps([entry()]), pickle.dumps([entry(), entry()])
    (tmp_path / "shards").mkdir()
    members = {"a.jpg": JPEG, "a.data.pyd": one, "b.jpg": JPEG, "b.data.pyd": two}
    path = shard(tmp_path / "shards/0.tar", members)
    local = registry.create(Kind.READER, "hmr2", {"path": str(path)}, "dataset")
    with serving(tmp_path) as web:
        for given in (f"{web.base}/shards/0.tar", f"{web.base}/shards"):
            reader = registry.create(Kind.READER, "hmr2", {"path": given}, "dataset")
            there, here = list(reader.samples()), list(local.samples())
            assert [person.id for person in there] == [person.id for person in here] and len(there) == 3
            assert all(a.image == b.image for a, b in zip(there, here, strict=True))
            lazily, whole = list(reader.training_items()), list(local.training_items())
            assert [read_encoded(person.image) for person in lazily] == [JPEG] * 3
            np.testing.assert_array_equal(lazily[2].keypoints_2d, whole[2].keypoints_2d)
        (tmp_path / "none").mkdir()
        with pytest.raises(UserError, match=r"neither a \.tar or \.npz nor a folder"):
            list(registry.create(Kind.READER, "hmr2", {"path": f"{web.base}/none"}, "dataset").samples())
