"""Which frames of a long clip are denoised together."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from posesyn_champ.windows import closed_windows, open_windows

CLIP = st.integers(1, 120)
WINDOW = st.integers(1, 32).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


@given(frames=CLIP, window=WINDOW, step=st.integers(0, 20))
def test_closed_windows_cover_every_frame(frames: int, window: tuple[int, int], step: int) -> None:
    size, overlap = window
    windows = closed_windows(frames, size, overlap, step=step)
    assert {frame for part in windows for frame in part} == set(range(frames))
    assert all(len(part) == min(size, frames) for part in windows)


@given(frames=CLIP, window=WINDOW)
def test_open_windows_cover_every_frame_in_order_and_never_wrap(frames: int, window: tuple[int, int]) -> None:
    size, overlap = window
    windows = open_windows(frames, size, overlap)
    assert {frame for part in windows for frame in part} == set(range(frames))
    assert all(part == list(range(part[0], part[0] + min(size, frames))) for part in windows)
    shared = [len(set(one) & set(two)) for one, two in pairwise(windows)]
    assert all(count == overlap for count in shared[:-1]) and all(count >= overlap for count in shared)


def test_the_published_settings() -> None:
    windows = closed_windows(44, 24, 4)
    assert [part[0] for part in windows] == [0, 20, 40] and windows[-1][-1] == 19  # around the end
    assert [part[0] for part in open_windows(44, 24, 4)] == [0, 20]


def test_shifted_windows_have_their_seams_elsewhere() -> None:
    starts = [tuple(part[0] for part in closed_windows(48, 24, 4, step=step)) for step in range(4)]
    assert len(set(starts)) == 4


def test_strides_add_windows_of_spread_frames() -> None:
    windows = closed_windows(96, 24, 4, stride=2)
    spacings = Counter((part[1] - part[0]) % 96 for part in windows)
    assert spacings[1] == 5 and spacings[2] >= 2
