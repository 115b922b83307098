"""One picture of what runs made."""

from collections.abc import Callable

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.report.picture import FRAMES, HEADING, SIDE, picture

MakeRun = Callable[..., Run]


def keep(run: Run, count: int) -> None:
    """Have the filter keep that many frames of each clip."""
    rows = [
        Row(unit, evolve(item, verdict=evolve(item.verdict, keep=item.index < count)))
        for unit, item in zip((unit for unit, _ in run.frames.column("clip")), run.frames.values(), strict=True)
    ]
    run.frames.write_part(0, rows)


def test_a_row_for_each_hard_image_of_each_run(make_run: MakeRun) -> None:
    runs = [make_run(name="one"), make_run(name="two")]
    for run in runs:
        keep(run, FRAMES)
    drawn = picture(runs, rows=1)
    assert drawn.shape == (HEADING + 2 * SIDE, SIDE * (FRAMES + 3), 3)
    assert (drawn[:HEADING] < 128).any()  # the headings
    first, second = drawn[HEADING : HEADING + SIDE], drawn[HEADING + SIDE :]
    np.testing.assert_array_equal(first, second)
    labelled, predicted, after = first[:, :SIDE].astype(int), first[:, SIDE : 2 * SIDE].astype(int), first[:, -SIDE:]
    assert (labelled[..., 2] - labelled[..., 0] > 100).any()  # blue
    assert (predicted[..., 0] - predicted[..., 2] > 100).any()  # orange
    assert np.ptp(after) < 20  # nothing was trained: no skeleton


def test_without_enough_frames_there_is_no_picture(make_run: MakeRun) -> None:
    run = make_run()
    keep(run, FRAMES - 1)
    with pytest.raises(UserError, match="no picture to make"):
        picture([run])
