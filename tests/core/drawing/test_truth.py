"""Sheets of what data sets say: the box, the 2D labels and the 3D truth in their places."""

from typing import Any

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.drawing.sheets import COLUMNS, LABELLED, ROWS, TILE
from posesyn_core.drawing.truth import BOX, TRUTH, seen_truth, truth_sheet, truth_tile
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, Sample

CAMERA = Camera([500, 480], [100, 110])
RNG = np.random.default_rng(0)
JOINTS = RNG.uniform(-0.5, 0.5, (24, 3)).astype(np.float32)
AWAY = np.array([0.1, -0.2, 6], np.float32)


def sample(**changes: Any) -> Sample:
    seen = project(JOINTS + AWAY, CAMERA.focal_length, CAMERA.principal_point)
    picture = encode_png(np.full((200, 200, 3), 255, np.uint8))
    made = Sample("s", picture, (50, 40, 150, 160), "smpl24", seen, np.ones(24), CAMERA, JOINTS - JOINTS[0])
    return evolve(made, **changes)


def places(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) the pixels of that colour."""
    rows, columns = np.nonzero((np.abs(image.astype(int) - colour) < 12).all(-1))
    return np.stack([columns, rows], -1)


def test_joints_relative_to_the_root_are_put_where_the_labels_are() -> None:
    seen = seen_truth(sample())
    assert seen is not None
    np.testing.assert_allclose(seen[0], sample().keypoints2d, atol=0.05)
    assert seen[1] == "smpl24"


def test_absolute_joints_are_seen_where_the_camera_sees_them() -> None:
    absolute = np.array([[0, 0, 5], [1, 0, 5], [np.nan] * 3, [0, 1, 2], *[[0, 0, 4]] * 12])
    labels = {"joint_set": "mpii16", "keypoints2d": np.zeros((16, 2)), "confidence": np.zeros(16), "joints3d": None}
    seen = seen_truth(sample(keypoints3d=absolute, **labels))
    assert seen is not None and seen[1] == "mpii16"
    np.testing.assert_allclose(seen[0][:5], [[100, 110], [200, 110], [np.nan] * 2, [100, 350], [100, 110]])


@pytest.mark.parametrize(
    "changes", [{"camera": None}, {"joints3d": None}, {"confidence": np.eye(24)[:3].sum(0)}]
)  # the last: three labels place no pose
def test_without_camera_truth_or_labels_there_is_nothing_to_see(changes: dict[str, Any]) -> None:
    assert seen_truth(sample(**changes)) is None
    assert truth_tile(sample(**changes), 150).shape == (150, 150, 3)


def test_a_tile_shows_box_labels_and_truth() -> None:
    """The box's longer side, 120 pixels, is two thirds of the tile's 180; its centre in the middle."""
    image = truth_tile(sample(), 180)
    box = places(image, BOX)
    np.testing.assert_allclose([box.min(0), box.max(0)], [[40, 30], [140, 150]], atol=1.5)
    shifted = sample(keypoints2d=sample().keypoints2d + 5)  # labels that the truth does not fit are seen beside it
    for colours, of in ((LABELLED, shifted), (TRUTH, sample(joints3d=2 * sample().joints3d))):
        assert all(len(places(truth_tile(of, 180), colour)) for colour in colours)
    assert not len(places(truth_tile(sample(camera=None), 180), TRUTH[2]))


def test_a_sheet_is_of_samples_from_end_to_end_that_can_be_read() -> None:
    many = [sample(id=str(at)) for at in range(40)]
    full = truth_sheet(many)
    assert full is not None and full.shape == (ROWS * TILE, COLUMNS * TILE, 3)
    few = truth_sheet([sample(), sample(image=b"no picture"), sample(box=(900, 900, 950, 950))])
    assert few is not None and few.shape == (TILE, COLUMNS * TILE, 3)
    assert (few[:, TILE:] == 255).all()
    assert truth_sheet([sample(image=b"")]) is None
