"""Any length on segments of 4n + 1 frames, and any shape on a canvas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.values import Sample
from posesyn_wan.clips import Canvas, mirrored, padded, places, segments, whole
from tests.plugins.posesyn_champ.conftest import plan_of

LENGTHS = st.integers(1, 400)
OVERLAPS = st.sampled_from([1, 5])
SIZES = st.integers(2, 30).map(lambda n: 4 * n + 1)


@given(LENGTHS)
def test_whole_is_the_least_of_the_form(frames: int) -> None:
    found = whole(frames)
    assert found % 4 == 1 and frames <= found < frames + 4


@given(LENGTHS, st.floats(1, 120), st.floats(0, 60))
def test_every_frame_has_a_place_of_its_own(frames: int, fps: float, wanted: float) -> None:
    found = places(frames, fps, wanted)
    assert found[0] == 0 and (np.diff(found) >= 1).all()
    assert abs(found[-1] - (frames - 1) * max(wanted / fps, 1)) <= 0.5


def test_twenty_frames_a_second_at_thirty() -> None:
    assert places(5, 20, 30).tolist() == [0, 2, 3, 5, 6]
    assert places(5, 20, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_video_goes_back_and_forth_beyond_its_end() -> None:
    assert mirrored(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert mirrored(1, 5).tolist() == [0, 0, 0, 0, 0]


@given(LENGTHS, SIZES, OVERLAPS)
def test_segments_cover_the_video_in_order(frames: int, size: int, overlap: int) -> None:
    size = max(size, overlap + 4)
    found = segments(frames, size, overlap)
    drawn = 0
    for segment in found:
        assert segment.length % 4 == 1 and segment.length <= size
        assert segment.start + segment.known == drawn and segment.length > segment.known
        drawn = segment.start + segment.length
    assert frames <= drawn < frames + 4 and found[0].known == 0


@given(LENGTHS, SIZES, OVERLAPS)
def test_padded_is_what_the_pipelines_own_segments_hold(frames: int, size: int, overlap: int) -> None:
    size = max(size, overlap + 4)
    total, segment = padded(frames, size, overlap)
    assert total >= frames and segment % 4 == 1 and overlap < segment <= size
    assert (total - overlap) % (segment - overlap) == 0 and total > overlap


@given(st.integers(20, 900), st.integers(20, 900))
def test_a_picture_comes_back_from_the_canvas_at_its_size(height: int, width: int) -> None:
    canvas = Canvas((height, width), (64, 96))
    grey = np.full((height, width, 3), 90, np.uint8)
    placed = canvas.place(grey, 255)
    assert placed.shape == (64, 96, 3) and canvas.cut(placed).shape == grey.shape
    assert (canvas.cut(placed) == 90).all()
    scale = np.array(canvas.inner) / (height, width)
    assert abs(scale[0] * height - canvas.inner[0]) < 1 and max(np.array(canvas.inner) / (64, 96)) == 1


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (48, 80)])
def test_joints_move_with_the_picture(reference: Sample, size: tuple[int, int]) -> None:
    """A dot drawn on the picture at a joint is where the canvas's plan has the joint."""
    plan, canvas = plan_of(reference, 2), Canvas((128, 128), size)
    seen = canvas.seen(plan)
    for joint in (0, 15, 20):
        picture = np.zeros((128, 128, 3), np.float32)
        x, y = np.round(plan.joints2d[0, joint]).astype(int)
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
        weights = canvas.place(picture.astype(np.uint8), 0)[..., 0].astype(float)
        rows, columns = np.indices(weights.shape)
        found = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
        assert np.abs(found - seen.joints2d[0, joint]).max() < 0.7
    projected = plan.joints3d[..., :2] / plan.joints3d[..., 2:] * seen.camera.focal_length + seen.camera.principal_point
    assert np.abs(projected - seen.joints2d).max() < 0.01
