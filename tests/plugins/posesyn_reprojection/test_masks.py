"""With the masks of a network, the person is taken out of a photograph, and nobody else."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from attrs import evolve
from numpy.typing import NDArray

from posesyn_core.body.model import load_body
from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.inference.predict import predict
from posesyn_core.registry import Registry
from posesyn_core.values import Keypoints, PoseEstimate, Sample
from posesyn_reprojection.animator import ReprojectionAnimator
from posesyn_reprojection.config import ReprojectionConfig
from tests.plugins.posesyn_reprojection.test_animator import estimate_of, reference_of, smpl

BLAZEPOSE = {"name": "blazepose"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def outlined(folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Annotation -> the person's pixels as an annotator drew them."""
    document = json.loads((folder / "test_coco.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    drawn = {}
    for entry in document["annotations"]:
        if isinstance(entry["segmentation"], list):
            pixels = np.zeros(sizes[entry["image_id"]], np.uint8)
            for outline in entry["segmentation"]:
                cv2.fillPoly(pixels, [np.reshape(outline, (-1, 2)).round().astype(np.int32)], 1)
            drawn[str(entry["id"])] = pixels > 0
    return drawn


def test_what_is_taken_out_is_the_person_more_than_with_outlines_by_colour(registry: Registry, shared: Path) -> None:
    folder = shared / "data/images/coco"
    outlines = outlined(folder)
    reader = registry.create(Kind.READER, "coco", {"root": str(folder), "annotations": "test_coco.json"}, "test")
    people = [one for one in reader.samples() if isinstance(one, Sample) and one.id.rsplit("-", 1)[-1] in outlines][:6]
    estimator = registry.create(Kind.ESTIMATOR, "starter", {}, "test")
    (estimates,) = predict(estimator, [people])
    agreement: dict[bool, list[float]] = {}
    for told in (False, True):
        options = {"masks": BLAZEPOSE} if told else {}
        animator = registry.create(Kind.ANIMATOR, "reprojection", options, "test")
        for sample, estimate in zip(people, estimates, strict=True):
            assert isinstance(estimate, PoseEstimate)
            background = animator._person(sample, estimate).background
            changed = np.abs(background.astype(int) - load_image(sample.image)).max(-1) > 12
            person = outlines[sample.id.rsplit("-", 1)[-1]]
            agreement.setdefault(told, []).append(float((changed & person).sum() / (changed | person).sum()))
    assert np.mean(agreement[True]) > np.mean(agreement[False]) + 0.05


def test_a_mask_of_somebody_else_is_not_taken(registry: Registry) -> None:
    """The box is beside the person: the body's own silhouette leads, as without masks."""
    body = load_body()
    sample, estimate = reference_of(body, smpl()), estimate_of(body, smpl())
    aside = evolve(sample, box=np.array([2, 2, 22, 30], np.float32))
    animator = registry.create(Kind.ANIMATOR, "reprojection", {"masks": BLAZEPOSE}, "test")
    plain = registry.create(Kind.ANIMATOR, "reprojection", {}, "test")
    np.testing.assert_array_equal(
        animator._person(aside, estimate).background, plain._person(aside, estimate).background
    )


class JointsAlone:
    joint_set = "coco17"

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        return [Keypoints(np.zeros((17, 2)), np.zeros(17)) for _ in samples]


def test_a_component_without_masks_is_refused() -> None:
    with pytest.raises(UserError, match="no masks: use 'blazepose'"):
        ReprojectionAnimator(ReprojectionConfig(masks=JointsAlone()))
