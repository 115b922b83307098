"""Stage 5: lay the motions onto easy reference people and draw them (Eq. 7-11)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from posesyn_core.body.model import Body, load_body
from posesyn_core.body.planning import plan_clips, plan_fault
from posesyn_core.components import Animator, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import atomic_path
from posesyn_core.images import encode_jpeg
from posesyn_core.pipeline.executor import Unit, each_alone, fill, ordered_map, reason_of
from posesyn_core.pipeline.references import analyse_references
from posesyn_core.pipeline.run import EASY, Clip, Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.seeds import rng, seed_of
from posesyn_core.values import ClipPlan, Motion, PoseEstimate, Sample

PART = 8


@frozen
class Pair:
    """A motion and the reference person that it is to move; ``id`` is the clip's."""

    id: str
    motion: Motion
    reference: Sample
    estimate: PoseEstimate


def animate(run: Run) -> dict[str, Any]:
    """Fill the table ``animate``: a drawn clip for every motion and each of its references."""
    run.require("synthesize")
    body = load_body(run.recipe.body_file)
    references = analyse_references(run, body)
    animator: Animator = run.create(Kind.ANIMATOR, run.recipe.animator, "animator")
    run.accelerate(run.recipe.animator, animator, "animator")

    def draw(row: Row[ClipPlan]) -> Row[Clip]:
        if row.value is None:
            return Row(row.unit, rejected=row.rejected)
        try:
            return Row(row.unit, _draw(run, animator, row.value))
        except UserError:
            raise
        except OSError:
            raise  # a full disk concerns the run, not this clip
        except Exception as error:  # a plugin's fault with one clip must not end the run
            return Row(row.unit, rejected=reason_of(error))

    def work(batches: Iterator[list[Unit[Pair | str]]]) -> Iterator[Row[Clip]]:
        plans = (row for batch in batches for row in _plan(run, body, batch))
        yield from ordered_map(draw, plans, run.recipe.machine.workers)

    units = list(_pairs(run))
    total, rejected = fill(run.clips, units, work, part=PART, batch=PART, label="animate", total=len(units))
    residuals = [clip.plan.residual_mm for clip in run.clips.values()]
    return {
        "clips": total,
        "rejected": rejected,
        "frames": sum(len(clip.frames) for clip in run.clips.values()),
        "mean_residual_mm": round(float(np.mean(residuals)), 2) if residuals else None,
        **references,
    }


def _pairs(run: Run) -> Iterator[Unit[Pair | str]]:
    """Each motion with its references, drawn without replacement from the easy samples that can be animated.

    Where there is none, the reason instead.
    """
    easy = [selected.scored.sample for selected in run.of_role(EASY)]
    if not easy:
        raise UserError("there is no easy sample to take as a reference; raise score.easy")
    estimates = {row.unit: row.value for row in run.references.rows() if row.value is not None}
    refused = next((f"; {unit}: {reason}" for unit, reason in run.references.rejections()), "")
    for motion in run.motions.values():
        drawn = [easy[at] for at in rng(run.recipe.seed, motion.id, "animate").permutation(len(easy))]
        able = [sample for sample in drawn if sample.id in estimates]
        if not able:
            yield f"{motion.id}@0", f"none of the {len(easy)} reference people can be animated{refused}"
        for number, sample in enumerate(able[: run.recipe.animate.references_per_motion]):
            name = f"{motion.id}@{number}"
            yield name, Pair(name, motion, sample, estimates[sample.id])


def _plan(run: Run, body: Body, batch: list[Unit[Pair | str]]) -> list[Row[ClipPlan]]:
    """Fit the batch's motions and lay them onto their references; a bad fit is a rejection with its number."""
    options = run.recipe.animate

    def plan(pairs: Sequence[Pair]) -> list[ClipPlan]:
        return plan_clips(
            body,
            [_thinned(pair.motion, options.frame_stride, options.max_frames) for pair in pairs],
            [pair.reference for pair in pairs],
            [pair.estimate for pair in pairs],
            names=[pair.id for pair in pairs],
            seeds=[seed_of(run.recipe.seed, pair.id, "draw") for pair in pairs],
            orientation=options.orientation,
        )

    planned = iter(each_alone(plan, [(name, pair) for name, pair in batch if isinstance(pair, Pair)]))
    rows = (Row(name, rejected=pair) if isinstance(pair, str) else next(planned) for name, pair in batch)
    return [_checked(row, options.max_residual_mm) for row in rows]


def _checked(row: Row[ClipPlan], most_mm: float) -> Row[ClipPlan]:
    fault = None if row.value is None else plan_fault(row.value, most_mm)
    return row if fault is None else Row(row.unit, rejected=fault)


def _thinned(motion: Motion, stride: int, most: int) -> Motion:
    """Every ``stride``-th frame of a motion, ``most`` at most."""
    return evolve(motion, joints=motion.joints[::stride][:most], fps=motion.fps / stride)


def _draw(run: Run, animator: Animator, plan: ClipPlan) -> Clip:
    folder = run.folder / "animate" / "frames" / clip_folder(plan.id)
    paths: list[Path] = []
    height = width = 0
    for number, image in enumerate(animator.animate(plan)):
        height, width = image.shape[:2]
        paths.append(folder / f"{number:04d}.jpg")
        with atomic_path(paths[-1]) as temporary:
            temporary.write_bytes(encode_jpeg(image, run.recipe.animate.jpeg_quality))
    if len(paths) != len(plan.joints3d):
        raise SampleError(f"the animator drew {len(paths)} frames for a plan of {len(plan.joints3d)}")
    return Clip(plan, tuple(paths), width=width, height=height)


def clip_folder(clip_id: str) -> str:
    """A folder name for a clip: its id with what file systems dislike replaced, and a digest to keep it unique."""
    import hashlib
    import re

    digest = hashlib.blake2b(clip_id.encode(), digest_size=4).hexdigest()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", clip_id)[-60:] + "-" + digest
