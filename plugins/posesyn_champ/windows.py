"""Long clips in overlapping windows: which frames are denoised together."""

import math
from collections.abc import Callable

Windows = Callable[[int], list[list[int]]]
"""The windows of each denoising step, by its number."""


def closed_windows(frames: int, size: int, overlap: int, stride: int = 1, step: int = 0) -> list[list[int]]:
    """Windows of ``size`` frames that go around the clip: the last one wraps to the first frames, as published.

    The clip's end so blends into its beginning. With ``stride`` above 1 further windows follow that take every second
    frame, every fourth, ... ``step`` shifts all of them by ever other parts of the clip (bit-reversed fractions); the
    published sampling never does that.
    """
    if frames <= size:
        return [list(range(frames))]
    rounds = min(stride, math.ceil(math.log2(frames / size)) + 1)
    fraction = int(f"{step:064b}"[::-1], 2) / 2**64
    shift = round(frames * fraction)
    windows = []
    for spacing in (2**number for number in range(rounds)):
        starts = range(int(fraction * spacing) + shift, frames + shift, size * spacing - overlap)
        windows += [[(start + spacing * place) % frames for place in range(size)] for start in starts]
    return windows


def open_windows(frames: int, size: int, overlap: int) -> list[list[int]]:
    """Windows from the first frame to the last, for motions that do not end as they begin.

    The last window ends with the clip, overlapping more than the others where it has to.
    """
    starts = [*range(0, frames - size, size - overlap), max(frames - size, 0)]
    return [list(range(start, min(start + size, frames))) for start in starts]
