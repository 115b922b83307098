"""Everybody in a photograph is found, and told from the others by a mask."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.registry import Registry
from posesyn_core.values import Sample
from tests.tiny import people

PHOTOGRAPHS = Path(__file__).parents[3] / "examples/photographs"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.mark.parametrize(("photo", "least", "most"), [("17.jpg", 3, 3), ("08.jpg", 6, 7), ("15.jpg", 3, 12)])
def test_everybody_in_a_photograph_is_found_once(
    registry: Registry, shared: Path, photo: str, least: int, most: int
) -> None:
    detector = registry.create(Kind.DETECTOR, "blazepose", {}, "test")
    image = load_image(shared / "data/photos" / photo)
    (found,) = detector.find_people([image])
    assert least <= len(found.boxes) <= most
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.boxes >= 0).all() and (found.boxes[:, 2:] <= image.shape[1::-1]).all()
    assert list(found.scores) == sorted(found.scores, reverse=True)


@pytest.mark.parametrize("photo", ["balancing", "starting"])
def test_a_bent_knee_is_not_somebody_else(registry: Registry, photo: str) -> None:
    """Seen in parts of the picture, limbs of whoever crouches or stretches pass for people of their own."""
    detector = registry.create(Kind.DETECTOR, "blazepose", {}, "test")
    (found,) = detector.find_people([load_image(PHOTOGRAPHS / f"{photo}.jpg")])
    assert len(found.boxes) == 1
    assert found.scores[0] > 0.9


def test_letters_on_a_wall_are_nobody(registry: Registry, shared: Path) -> None:
    detector = registry.create(Kind.DETECTOR, "blazepose", {}, "test")
    (found,) = detector.find_people([load_image(shared / "data/photos/11.jpg")])
    assert len(found.boxes) == 1


def test_who_is_seen_in_two_parts_of_the_picture_is_one(registry: Registry, shared: Path) -> None:
    detector = registry.create(Kind.DETECTOR, "blazepose", {}, "test")
    (found,) = detector.find_people([load_image(shared / "data/photos/06.jpg")])
    assert sum(box[0] > 500 for box in found.boxes) == 1


def test_nobody_is_found_where_nobody_is(registry: Registry) -> None:
    detector = registry.create(Kind.DETECTOR, "blazepose", {"tiles": 1}, "test")
    (found,) = detector.find_people([np.full((120, 160, 3), 128, np.uint8)])
    assert len(found.boxes) == 0


def test_the_labellers_joints_are_near_the_rendered_ones(registry: Registry) -> None:
    labeller = registry.create(Kind.KEYPOINTS, "blazepose", {}, "test")
    samples, shares = list(people(6, "lab")), []
    for sample, found in zip(samples, labeller.detect(samples), strict=True):
        apart = np.linalg.norm(found.points[[11, 12, 23, 24]] - sample.keypoints2d[[16, 17, 1, 2]], axis=1)
        shares.append(apart.mean() / (sample.box[3] - sample.box[1]))
        assert (found.confidence >= 0).all() and (found.confidence <= 1).all()
    assert np.median(shares) < 0.08


def test_masks_agree_with_the_outlines_that_annotators_drew(registry: Registry, shared: Path) -> None:
    folder = shared / "data/images/coco"
    document = json.loads((folder / "test_coco.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    labeller = registry.create(Kind.KEYPOINTS, "blazepose", {}, "test")
    shares = []
    for entry in document["annotations"]:
        if not isinstance(entry["segmentation"], list) or entry["num_keypoints"] == 0:
            continue
        x, y, width, height = entry["bbox"]
        path = folder / names[entry["image_id"]]
        box = [x, y, x + width, y + height]
        sample = Sample(str(entry["id"]), path, box, "coco17", np.zeros((17, 2)), np.zeros(17))  # type: ignore[arg-type]
        (mask,) = labeller.masks([sample])
        truth = np.zeros(mask.shape, np.uint8)
        for outline in entry["segmentation"]:
            cv2.fillPoly(truth, [np.reshape(outline, (-1, 2)).round().astype(np.int32)], 1)
        shares.append(((mask > 0.5) & (truth > 0)).sum() / ((mask > 0.5) | (truth > 0)).sum())
    assert len(shares) >= 10 and np.mean(shares) > 0.72
