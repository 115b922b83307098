"""The skeleton picture of Wan2.2-Animate against pictures that its published preprocessing drew."""

from pathlib import Path

import numpy as np
import pytest

from posesyn_core.body.pose_pictures import draw_wan_pose


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "parity/wan_pose/io.npz"))


def test_every_picture_is_the_same_to_the_last_byte(recorded: dict[str, np.ndarray]) -> None:
    numbers = {key.split("/")[0] for key in recorded}
    assert numbers
    for number in numbers:
        points, (height, width) = recorded[f"{number}/keypoints"], recorded[f"{number}/size_hw"]
        picture = draw_wan_pose(
            points[:, :2], points[:, 2], (int(height), int(width)), head=bool(recorded[f"{number}/draw_head"])
        )
        np.testing.assert_array_equal(picture, recorded[f"{number}/image"])


def test_points_that_are_none_are_not_seen(recorded: dict[str, np.ndarray]) -> None:
    points, size = recorded["4/keypoints"], (256, 256)
    unseen, none = points.copy(), points.copy()
    unseen[4, 2], none[4, :2] = 0, np.nan
    np.testing.assert_array_equal(*(draw_wan_pose(each[:, :2], each[:, 2], size) for each in (unseen, none)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (399, 401), (1081, 1921)])
def test_points_outside_of_pictures_of_any_size(recorded: dict[str, np.ndarray], size: tuple[int, int]) -> None:
    points = recorded["4/keypoints"]
    picture = draw_wan_pose(points[:, :2] * 3 - 200, points[:, 2], size)
    assert picture.shape == (*size, 3) and not draw_wan_pose(points[:, :2] - 9000, points[:, 2], size).any()
