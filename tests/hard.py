"""A run that begins in its middle: rendered people are hard samples already, and captioned if so wished."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posesyn_core import PoseEstimate
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.values import Sample, ScoredSample
from tests.tiny import people


def hard_run(folder: Path, count: int, settings: Sequence[str] = (), captions: Sequence[str] = ()) -> Run:
    """``count`` people selected as hard, their true poses the pseudo-labels; with ``captions``, also captioned."""
    recipe = parse_recipe(f'dataset = "world"\n[score]\nhard = {count}\neasy = 1\n', settings)
    run = create_run(folder, recipe, Registry.discover())
    chosen = [Selected(HARD, rank, _scored(sample)) for rank, sample in enumerate(people(count))]
    names = [selected.scored.sample.id for selected in chosen]
    run.selected.write_part(0, [Row(name, selected) for name, selected in zip(names, chosen, strict=True)])
    run.finish("select", {"hard": count, "easy": 0})
    if captions:
        rows = [Row(name, Captioned(name, caption)) for name, caption in zip(names, captions, strict=True)]
        run.captions.write_part(0, rows)
        run.finish("caption", {"captions": count, "rejected": 0})
    return run


def _scored(sample: Sample) -> ScoredSample:
    assert sample.joints3d is not None and sample.camera is not None
    estimate = PoseEstimate(sample.joints3d, sample.keypoints2d, sample.camera)
    return ScoredSample(sample, 1.0, np.ones(24, np.float32), estimate)
