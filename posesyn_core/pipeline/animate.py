"""Stage 5: lay the motions onto easy reference people and draw them (Eq. 7-11)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from posesyn_core.body.model import Body, load_body
from posesyn_core.body.planning import plan_clips, reference_fault, turn_to_labels
from posesyn_core.components import Animator, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import atomic_path
from posesyn_core.images import encode_jpeg
from posesyn_core.pipeline.executor import Unit, fill, ordered_map, reason_of
from posesyn_core.pipeline.run import EASY, Clip, Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.progress import tell
from posesyn_core.seeds import rng, seed_of
from posesyn_core.values import ClipPlan, Motion, PoseEstimate, Sample, ScoredSample

PART = 8


@frozen
class Pair:
    """A motion and the reference person that it is to move."""

    motion: Motion
    reference: Sample
    estimate: PoseEstimate


def animate(run: Run) -> dict[str, Any]:
    """Fill the table ``animate``: a drawn clip for every motion and each of its references."""
    run.require("synthesize")
    body = load_body(run.recipe.body_file)
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

    def work(batches: Iterator[list[Unit[Pair]]]) -> Iterator[Row[Clip]]:
        plans = (row for batch in batches for row in _plan(run, body, batch))
        yield from ordered_map(draw, plans, run.recipe.machine.workers)

    units = list(_pairs(run, body))
    total, rejected = fill(run.clips, units, work, part=PART, batch=PART, label="animate", total=len(units))
    residuals = [clip.plan.residual_mm for clip in run.clips.values()]
    return {
        "clips": total,
        "rejected": rejected,
        "frames": sum(len(clip.frames) for clip in run.clips.values()),
        "mean_residual_mm": round(float(np.mean(residuals)), 2) if residuals else None,
    }


def _pairs(run: Run, body: Body) -> Iterator[Unit[Pair]]:
    """Each motion with its references, drawn from the easy samples without replacement.

    A reference whose estimated body can't be animated gives its place to the next one. Where none can, the first ones
    are paired all the same, so that the clip is rejected with the reason.
    """
    easy = [s.scored for s in run.of_role(EASY)]
    if not easy:
        raise UserError("there is no easy sample to take as a reference; raise score.easy")
    references = [(scored.sample, _reference(run, body, scored)) for scored in easy]
    faults = [reference_fault(estimate, sample) for sample, estimate in references]
    for (sample, _), fault in zip(references, faults, strict=True):
        if fault is not None:
            tell(f"reference {sample.id} is not used: {fault}")
    for motion in run.motions.values():
        drawn = rng(run.recipe.seed, motion.id, "animate").permutation(len(easy))
        chosen = [at for at in drawn if faults[at] is None] or list(drawn)
        for number, at in enumerate(chosen[: run.recipe.animate.references_per_motion]):
            yield f"{motion.id}@{number}", Pair(motion, *references[at])


def _reference(run: Run, body: Body, scored: ScoredSample) -> PoseEstimate:
    """The estimator's view of the reference person, turned by the labels if the recipe wants that."""
    if not run.recipe.animate.turn_reference:
        return scored.estimate
    return turn_to_labels(body, scored.estimate, scored.sample)


def _plan(run: Run, body: Body, batch: list[Unit[Pair]]) -> list[Row[ClipPlan]]:
    """Fit the batch's motions and lay them onto their references; a bad fit is a rejection with its number."""
    options = run.recipe.animate
    faults = {name: reference_fault(pair.estimate, pair.reference) for name, pair in batch}
    able = [(name, pair) for name, pair in batch if faults[name] is None]
    plans = plan_clips(
        body,
        [_thinned(pair.motion, options.frame_stride, options.max_frames) for _, pair in able],
        [pair.reference for _, pair in able],
        [pair.estimate for _, pair in able],
        names=[name for name, _ in able],
        seeds=[seed_of(run.recipe.seed, name, "draw") for name, _ in able],
        orientation=options.orientation,
    )
    by_name = {plan.id: plan for plan in plans}
    rows: list[Row[ClipPlan]] = []
    for name, _ in batch:
        plan = by_name.get(name)
        if plan is None:
            rows.append(Row(name, rejected=faults[name]))
        elif not plan.residual_mm <= options.max_residual_mm:
            rows.append(
                Row(
                    name,
                    rejected=f"joints -> SMPL residual {plan.residual_mm:.0f} mm > {options.max_residual_mm:.0f} mm",
                )
            )
        else:
            rows.append(Row(name, plan))
    return rows


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
