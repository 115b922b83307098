"""People from a person detector in unlabelled pictures and videos, chosen by name as in a recipe."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from posesyn_core import Component, Kind, Sample, SampleError, UserError, hookimpl, option
from posesyn_core.files.images import encode_png
from posesyn_core.registry import Origin, Registry
from posesyn_core.values import Detections, Image, SampleOrRejection
from posesyn_datasets import plugin
from tests.plugins.posesyn_datasets.readers.test_video import write_video


@frozen
class Config:
    margin: int = option(0, "pixels about what is white")


@frozen
class WhiteDetector:
    """Finds one person about everything that is white; of pictures that are black at the first pixel it wants none."""

    config: Config

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        return [self._look(image) for image in images]

    def _look(self, image: Image) -> Detections:
        if not image[0, 0].any():
            raise SampleError("too dark")
        rows, columns = np.nonzero((image > 220).all(-1))
        if not len(rows):
            return Detections(np.zeros((0, 4)), np.zeros(0))
        near = np.array([columns.min(), rows.min()]) - self.config.margin
        return Detections([[*near, columns.max(), rows.max()]], [1.0])


class Plugin:
    @hookimpl
    def register_detectors(self) -> list[Component]:
        return [Component(Kind.DETECTOR, "white", "what is white", WhiteDetector, Config)]


@pytest.fixture
def registry() -> Registry:
    made = Registry.empty()
    made.add(plugin, Origin("datasets", "posesyn", "0"))
    made.add(Plugin(), Origin("white", "tests", "0"))
    return made


def read(registry: Registry, name: str, **options: object) -> list[SampleOrRejection]:
    return list(registry.create(Kind.READER, name, options, "recipe section [dataset]").samples())


def write_pictures(folder: Path, count: int) -> None:
    """Grey pictures with a white rectangle whose left edge is the picture's number."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((40, 60, 3), 90, np.uint8)
        pixels[5:30, number : number + 20] = 255
        (folder / f"{number:02d}.png").write_bytes(encode_png(pixels))


@pytest.mark.parametrize(("reader", "folder"), [("images", ""), ("deepfashion", "Img/img")])
def test_people_are_found_in_pictures(registry: Registry, root: Path, reader: str, folder: str) -> None:
    write_pictures(root / folder, 11)  # more than a detector is given together
    (root / folder / "03.png").write_bytes(b"no picture")
    (root / folder / "05.png").write_bytes(encode_png(np.zeros((40, 60, 3), np.uint8)))
    (root / folder / "07.png").write_bytes(encode_png(np.full((40, 60, 3), 90, np.uint8)))
    entries = read(registry, reader, root=str(root), detector="white")
    assert len(entries) == 11
    reasons = {3: "not an image", 5: "too dark", 7: "the detector found nobody in this picture"}
    for number, entry in enumerate(entries):
        if number in reasons:
            assert isinstance(entry, tuple)
            assert entry[0] == f"{reader}/{number:02d}.png"
            assert reasons[number] in entry[1]
        else:
            assert isinstance(entry, Sample)
            assert (entry.id, entry.box.tolist()) == (f"{reader}/{number:02d}.png-0", [number, 5, number + 19, 29])
            assert not entry.confidence.any()


@pytest.mark.parametrize(("reader", "name"), [("video", "jump.avi"), ("ucf101", "UCF-101/Jump/v_Jump_g01_c01.avi")])
def test_people_are_found_in_videos(registry: Registry, root: Path, reader: str, name: str) -> None:
    write_video(root / name, frames=4)  # white: the first 16 x 16 pixels
    detector = {"name": "white", "margin": 3}
    samples = read(registry, reader, root=str(root), stride=2, detector=detector)
    assert [sample.id.split("/")[-1] for sample in samples if isinstance(sample, Sample)] == ["000000-0", "000002-0"]
    for sample in samples:
        assert isinstance(sample, Sample)
        np.testing.assert_allclose(sample.box, [-3, -3, 15, 15], atol=1.5)


def test_a_detector_and_a_box_file_exclude_each_other(registry: Registry, root: Path, tmp_path: Path) -> None:
    write_pictures(root, 1)
    with pytest.raises(UserError, match="both a detector and a file of boxes"):
        read(registry, "images", root=str(root), detector="white", boxes=str(tmp_path / "boxes.json"))
    with pytest.raises(UserError, match=r"section \[dataset\], detector: unknown key 'margn'"):
        read(registry, "images", root=str(root), detector={"name": "white", "margn": 1})
