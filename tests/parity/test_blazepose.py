"""BlazePose against TensorFlow Lite's outputs and MediaPipe's results on the same pictures.

The pack is of eight pictures. What it says of heavy is replayed where ``POSESYN_HEAVY`` names its .tflite file.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_blazepose.detection import letterboxed, people
from posesyn_blazepose.looker import look, mask_in_picture
from posesyn_blazepose.network import LandmarkNetwork
from posesyn_blazepose.rois import Floats, cut, square_of_points
from posesyn_blazepose.weights import load_detector, load_landmarks
from posesyn_core.files.images import load_image
from posesyn_core.values import Image
from tests.packs import Arrays, arrays, check_claims

PICTURES = [str(number) for number in range(8)]
VARIANTS = ["lite", "full", "heavy"]


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "blazepose"


@pytest.fixture(scope="module")
def recorded(pack: Path) -> Arrays:
    return arrays(pack / "io.npz")


@cache
def network(variant: str) -> LandmarkNetwork:
    weights = os.environ.get("POSESYN_HEAVY", "") if variant == "heavy" else variant
    if not weights:
        pytest.skip("POSESYN_HEAVY does not name pose_landmark_heavy.tflite")
    return load_landmarks(weights)


def picture(recorded: Arrays, shared: Path, number: str) -> Image:
    image = load_image(shared / "data/images" / str(recorded[f"{number}/image"]))
    assert tuple(recorded[f"{number}/size"]) == image.shape[:2]
    return image


def square(roi: Floats, image: Image) -> Floats:
    """MediaPipe's square, relative to the picture's sides, in pixels."""
    height, width = image.shape[:2]
    assert roi[2] * width == pytest.approx(roi[3] * height, rel=1e-4)
    return np.array([roi[0] * width, roi[1] * height, roi[2] * width, roi[4]])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_landmark_networks_give_the_runtimes_outputs(recorded: Arrays, variant: str) -> None:
    for number in (number for number in PICTURES if f"{number}/crop_u8" in recorded):
        crop = torch.from_numpy(recorded[f"{number}/crop_u8"]).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            said = {name: value[0].numpy() for name, value in network(variant)(crop, mask=True).items()}
        wanted = {name: recorded[f"{number}/{variant}/{name}"] for name in ("landmarks_raw", "world_raw", "flag")}
        np.testing.assert_allclose(said["landmarks"], wanted["landmarks_raw"], atol=0.01)  # pixels of 256
        np.testing.assert_allclose(said["world"][:33], wanted["world_raw"][:33], atol=1e-4)  # metres
        assert said["flag"] == pytest.approx(float(wanted["flag"]), abs=1e-4)
        mask = recorded[f"{number}/{variant}/mask_logits_s4"]
        np.testing.assert_allclose(said["mask"][::4, ::4], mask, atol=0.15, rtol=5e-3)  # full's are in half precision
        if (heatmaps := recorded.get(f"{number}/{variant}/heatmap_logits_f16")) is not None:
            np.testing.assert_allclose(said["heatmaps"].transpose(1, 2, 0), heatmaps, atol=0.02, rtol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_landmarks_from_mediapipes_square_are_mediapipes(recorded: Arrays, shared: Path, variant: str) -> None:
    """Distances in pixels of the crop."""
    apart, away = [], []
    for number in (number for number in PICTURES if f"{number}/{variant}/mediapipe_landmarks" in recorded):
        image = picture(recorded, shared, number)
        size = np.array(image.shape[1::-1])
        roi = square(recorded[f"{number}/mediapipe/roi_rel"], image)
        seen = look(network(variant), [image], roi[None])
        landmarks = recorded[f"{number}/{variant}/mediapipe_landmarks"]
        apart.append(np.linalg.norm(seen.points[0] - landmarks[:, :2] * size, axis=1) * (256 / roi[2]))
        np.testing.assert_allclose(seen.depths[0], landmarks[:, 2] * size[0], atol=0.02 * roi[2])
        np.testing.assert_allclose(seen.visibility[0], landmarks[:, 3], atol=0.02)
        np.testing.assert_allclose(seen.presence[0], landmarks[:, 4], atol=0.02)
        world = recorded[f"{number}/{variant}/mediapipe_world"]
        away.append(np.linalg.norm(seen.world[0] - world[:, :3], axis=1))
        np.testing.assert_allclose(seen.visibility[0], world[:, 3], atol=0.02)
    assert np.mean(apart) < 0.1 and np.median(apart) < 0.05
    assert np.mean(away) < 1e-3  # metres


NEXT_OF_FULL = {
    "0": (0.782712, 1.054983, 1.416019, 2.124029, -0.003703),
    "1": (0.932019, 0.467338, 0.849393, 1.258851, -0.269544),
    "2": (0.170492, 0.738115, 0.702118, 1.054231, -0.119322),
    "3": (0.809885, 0.71908, 0.723485, 1.1812, 0.431934),
    "4": (0.483731, 0.660467, 0.46889, 0.467954, 1.26486),
    "5": (0.579462, 0.383263, 0.442062, 0.442062, 0.017432),
    "6": (0.387768, 0.521204, 0.4778, 0.637066, 0.038049),
    "7": (0.529284, 0.763381, 0.429571, 0.429571, 0.25493),
}
"""What MediaPipe 0.10.21 looks at next, where its graph (pose_landmark_cpu, model_complexity 1, no smoothing) is made
anew for each picture: ``pose_rect_from_landmarks``, relative to the picture's sides."""


def test_the_next_square_is_mediapipes_in_a_fresh_graph(recorded: Arrays, shared: Path) -> None:
    """MediaPipe smooths the two points that the next square hangs on (a One Euro filter), also where smoothing is off
    and pictures are static. The pack's ``mediapipe_roi_next_rel`` comes from one graph, which remembered the pictures
    before, not all of which are in the pack: only the first picture's depends on that picture alone.
    """
    for number, following in NEXT_OF_FULL.items():
        image = picture(recorded, shared, number)
        roi = square(recorded[f"{number}/mediapipe/roi_rel"], image)
        seen = look(network("full"), [image], roi[None])
        np.testing.assert_allclose(seen.next[0], square(np.array(following), image), atol=0.002 * roi[2])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_next_square_of_the_first_picture_is_the_recorded_one(recorded: Arrays, shared: Path, variant: str) -> None:
    image = picture(recorded, shared, PICTURES[0])
    roi = square(recorded[f"{PICTURES[0]}/mediapipe/roi_rel"], image)
    seen = look(network(variant), [image], roi[None])
    following = square(recorded[f"{PICTURES[0]}/{variant}/mediapipe_roi_next_rel"], image)
    np.testing.assert_allclose(seen.next[0], following, atol=0.002 * roi[2])


def test_every_recorded_next_square_is_one(recorded: Arrays, shared: Path) -> None:
    """Square in the picture's pixels, as ``square`` asserts, and upright within half a turn."""
    for key in (key for key in recorded if key.endswith("/mediapipe_roi_next_rel")):
        following = square(recorded[key], picture(recorded, shared, key.split("/")[0]))
        assert following[2] > 0 and abs(following[3]) <= np.pi


def test_the_mask_is_mediapipes(recorded: Arrays, shared: Path) -> None:
    for number in (number for number in PICTURES if f"{number}/full/mediapipe_mask_u8_s4" in recorded):
        image = picture(recorded, shared, number)
        roi = square(recorded[f"{number}/mediapipe/roi_rel"], image)
        seen = look(network("full"), [image], roi[None], masks=True)
        assert seen.masks is not None
        ours = mask_in_picture(seen.masks[0], roi, image)[::4, ::4] > 0.5
        theirs = recorded[f"{number}/full/mediapipe_mask_u8_s4"] > 127
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.99


def test_the_crop_is_mediapipes(recorded: Arrays, shared: Path) -> None:
    for number in (number for number in PICTURES if f"{number}/crop_u8" in recorded):
        image = picture(recorded, shared, number)
        crop = cut(image, square(recorded[f"{number}/mediapipe/roi_rel"], image), 256)
        assert np.abs(crop.transpose(1, 2, 0).astype(int) - recorded[f"{number}/crop_u8"]).mean() < 0.5


def test_the_detector_gives_the_runtimes_outputs_and_mediapipes_first_person(recorded: Arrays, shared: Path) -> None:
    detector = load_detector()
    for number in PICTURES:
        image = picture(recorded, shared, number)
        pixels = letterboxed(image)
        np.testing.assert_array_equal(pixels, recorded[f"{number}/detector/input_u8"])
        with torch.inference_mode():
            said = detector(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
        scores, boxes = said["scores"][0].numpy(), said["boxes"][0].numpy()
        best = recorded[f"{number}/detector/top40_anchor"]
        np.testing.assert_allclose(scores[best], recorded[f"{number}/detector/top40_score_logit"], atol=1e-4)
        np.testing.assert_allclose(boxes[best], recorded[f"{number}/detector/top40_raw"], atol=0.01)
        if f"{number}/mediapipe/score" not in recorded:
            continue
        found = people(scores, boxes, image, 0.5)
        size = np.array(image.shape[1::-1])
        assert found.scores[0] == pytest.approx(float(recorded[f"{number}/mediapipe/score"]), abs=0.01)
        np.testing.assert_allclose(found.points[0, 2:] / size, recorded[f"{number}/mediapipe/keypoints_rel"], atol=2e-3)
        box = np.concatenate([found.points[0, 0], found.points[0, 1] - found.points[0, 0]]) / np.tile(size, 2)
        np.testing.assert_allclose(box, recorded[f"{number}/mediapipe/box_rel_xywh"], atol=2e-3)
        roi = square(recorded[f"{number}/mediapipe/roi_rel"], image)
        ours = square_of_points(found.points[0, 2], found.points[0, 3])
        np.testing.assert_allclose(ours[:3], roi[:3], atol=0.01 * roi[2])
        assert ours[3] == pytest.approx(roi[3], abs=0.01)


CLAIMS = {
    test_the_landmark_networks_give_the_runtimes_outputs: (
        "io:*/crop_u8 io:*/landmarks_raw io:*/world_raw io:*/flag io:*/mask_logits_s4 io:*/heatmap_logits_f16"
    ),
    test_landmarks_from_mediapipes_square_are_mediapipes: (
        "io:*/mediapipe_landmarks io:*/mediapipe_world io:*/mediapipe/roi_rel"
    ),
    test_the_next_square_of_the_first_picture_is_the_recorded_one: "io:*/mediapipe_roi_next_rel",
    test_the_mask_is_mediapipes: "io:*/mediapipe_mask_u8_s4",
    test_the_detector_gives_the_runtimes_outputs_and_mediapipes_first_person: (
        "io:*/image io:*/size io:*/detector/* io:*/mediapipe/score io:*/mediapipe/keypoints_rel "
        "io:*/mediapipe/box_rel_xywh"
    ),
}


def test_every_array_of_the_pack_is_replayed(pack: Path) -> None:
    check_claims(pack, CLAIMS)
