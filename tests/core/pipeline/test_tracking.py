"""What a training tells: every step to the plugins, and its real data to the report."""

from pathlib import Path

import numpy as np

from posesyn_core import hookimpl
from posesyn_core.drawing.sheets import COLUMNS, TILE
from posesyn_core.files.images import decode_image
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.pipeline.run import FilteredFrame, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Verdict
from tests.tiny import people

RECIPE = """
dataset = "world"
estimator = { name = "spin", weights = "random" }
real = [{ name = "world", part = "lab", split = "tests", count = 4, image_size = 128, workers = 1 }]
[finetune]
steps = 2
batch_size = 2
"""


def test_every_step_is_told_and_the_real_data_drawn(tmp_path: Path) -> None:
    told: list[tuple[str, int, bool]] = []

    class Tracker:
        @hookimpl
        def training_stepped(self, run: Path, variant: str, metrics: dict[str, float]) -> None:
            told.append((variant, int(metrics["step"]), bool(np.isfinite(metrics["loss"]))))

    registry = Registry.discover()
    registry.add(Tracker(), Origin("tracker", "test", "1"))
    run = create_run(tmp_path / "run", parse_recipe(RECIPE), registry)
    kept = [labelled_frame(sample) for sample in people(4, "lab")]
    run.frames.write_part(0, [Row(frame.id, FilteredFrame("clip", 0, frame, Verdict(True, 1.0))) for frame in kept])
    run.finish("filter", {})
    run_stage(run, "finetune")
    assert told == [(variant, step, True) for variant in ("posesyn", "real_only") for step in (0, 1)]
    sheet = decode_image((run.folder / "finetune/world-truth.jpg").read_bytes())
    assert sheet.shape == (TILE, COLUMNS * TILE, 3)
