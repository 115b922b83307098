"""Draws the README's picture from a finished run: hard images, and frames that came of them.

Each row: a hard image with labelled (blue) and predicted (orange) skeleton, the reference person, and kept frames
of the motion with their labels.

    python bench/picture.py runs/demo examples/demo.jpg [--rows 3] [--skip 0]
"""

import argparse
from pathlib import Path

import numpy as np

from posesyn_core.drawing.sheets import LABELLED, PREDICTED, Overlay, tile
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.run import HARD, FilteredFrame, Run, Selected, open_run
from posesyn_core.registry import Registry
from posesyn_core.values import Image, Sample

SIDE = 200
FRAMES = 5


def row(selected: Selected, reference: Sample, kept: list[FilteredFrame]) -> Image:
    """One hard image, its reference, and frames spread over the clip."""
    sample, estimate = selected.scored.sample, selected.scored.estimate
    spread = [kept[at] for at in np.linspace(0, len(kept) - 1, FRAMES).round().astype(int)]
    tiles = [
        tile(
            sample,
            [
                Overlay(sample.keypoints2d, sample.joint_set, colours=LABELLED),
                Overlay(estimate.joints2d, "smpl24", colours=PREDICTED),
            ],
            SIDE,
        ),
        tile(reference, [], SIDE),
        *(tile(item.frame, [Overlay(item.frame.joints2d, "smpl24", colours=LABELLED)], SIDE) for item in spread),
    ]
    return np.hstack(tiles)


def montage(run: Run, rows: int, skip: int) -> Image:
    """The first ``rows`` hard samples, after ``skip``, of which enough frames were kept."""
    kept: dict[str, list[FilteredFrame]] = {}
    for item in run.frames.values():
        if item.verdict.keep:
            kept.setdefault(item.clip, []).append(item)
    clips = {clip.plan.sample_id: clip.plan for clip in run.clips.values() if len(kept.get(clip.plan.id, ())) >= FRAMES}
    chosen = [s for s in run.of_role(HARD) if s.scored.sample.id in clips][skip : skip + rows]
    plans = [clips[selected.scored.sample.id] for selected in chosen]
    return np.vstack([row(s, plan.reference, kept[plan.id]) for s, plan in zip(chosen, plans, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args()
    write_atomic(
        options.out, encode_jpeg(montage(open_run(options.run, Registry.discover()), options.rows, options.skip))
    )


if __name__ == "__main__":
    main()
