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
