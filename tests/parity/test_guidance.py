"""Guidance maps and the drawn skeleton against those of Champ's published data processing."""

from pathlib import Path

import numpy as np
import pytest

from posesyn_core.body.guidance import depth_map, normal_map, part_colours, semantic_map
from posesyn_core.body.pose_pictures import draw_dwpose, openpose_order
from posesyn_core.body.render import render
from posesyn_core.values import Camera, Image


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "parity/champ/render_io.npz"))


@pytest.fixture(scope="module")
def drawn(recorded: dict[str, np.ndarray]) -> list[dict[str, Image]]:
    """The maps of the recorded meshes. Their renderer puts the principal point between the pixels."""
    width, height = (int(side) for side in recorded["in.render_res_wh"])
    camera = Camera(np.repeat(recorded["in.scaled_focal_length"], 2), np.array([width - 1, height - 1]) / 2)
    faces, frames = recorded["in.faces"], []
    for mesh, place in zip(recorded["in.verts"], recorded["in.cam_t"], strict=True):
        vertices = mesh + place
        seen = render(vertices, faces, camera, (height, width))
        frames.append(
            {
                "mask": 255 * seen.mask.astype(np.uint8),
                "depth": depth_map(seen),
                "normal": normal_map(seen, faces, vertices),
                "semantic_map": semantic_map(seen, faces, recorded["in.vertex_labels"]),
            }
        )
    return frames


def test_every_covered_pixel_is_the_same(recorded: dict[str, np.ndarray], drawn: list[dict[str, Image]]) -> None:
    for ours, theirs in zip(drawn, recorded["out.mask_u8"], strict=True):
        np.testing.assert_array_equal(ours["mask"], theirs)


@pytest.mark.parametrize(("kind", "mean"), [("depth", 0.3), ("normal", 0.55), ("semantic_map", 0.55)])
def test_maps_agree_but_for_rounding_and_dithering(
    recorded: dict[str, np.ndarray], drawn: list[dict[str, Image]], kind: str, mean: float
) -> None:
    """Blender dithers normals and parts by one grey level; depth is rounded."""
    for ours, theirs, mask in zip(drawn, recorded[f"out.{kind}_u8"], recorded["out.mask_u8"], strict=True):
        wanted = theirs if theirs.ndim == 3 else np.repeat(theirs[..., None], 3, axis=-1)
        difference = np.abs(ours[kind].astype(float) - wanted)[mask > 0]
        assert difference.mean() < mean
        assert (difference <= 2).mean() > 0.99
        assert not ours[kind][mask == 0].any()


def test_parts_have_the_published_colours(recorded: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(part_colours(), recorded["in.label_colors_rgb_u8"])


@pytest.mark.parametrize("case", ["one", "two"])
def test_the_skeleton_is_drawn_stroke_by_stroke(shared: Path, case: str) -> None:
    recorded = dict(np.load(shared / "parity/champ/dwpose_draw_io.npz"))
    keypoints, scores = openpose_order(recorded[f"{case}.keypoints_px_coco133"], recorded[f"{case}.scores_coco133"])
    np.testing.assert_array_equal(keypoints, recorded[f"{case}.keypoints_openpose134"])
    np.testing.assert_array_equal(scores, recorded[f"{case}.scores_openpose134"])
    height, width = recorded[f"{case}.image_hw"]
    np.testing.assert_array_equal(draw_dwpose(keypoints, scores, (height, width)), recorded[f"{case}.canvas_u8"])
