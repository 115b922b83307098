"""Stage 4: expand the hard poses into motions (MSM, Eq. 4-5)."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from posesyn_core.body.label_fitting import fit_to_labels
from posesyn_core.components import Kind, MotionGenerator
from posesyn_core.contracts.results import expect, name_of, rejecting
from posesyn_core.errors import UserError
from posesyn_core.geometry.units import limb_length
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.run import HARD, Run, Selected
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work, each_alone
from posesyn_core.seeds import seed_of
from posesyn_core.values import FloatArray, Motion, MotionRequest, Sample

MOTION_JOINTS = 22
PSEUDO_LABEL_FRAMES = 30
"""How often the pose is repeated when there is no MSM: the paper's T (Table 6)."""

TOGETHER = 1024
"""Hard samples whose poses are told, and with ``pose = "fitted"`` fitted, at once."""

LEAST_LIMB, LONGEST_LIMB = 0.05, 2.0
"""Metres between which the limb bones of a motion must measure on average: far wider than people's, whom a generator or
a weak estimator's pose may miss; joints that coincide, or that are in other units, lie outside."""


def synthesize(run: Run, executor: Executor = LOCAL) -> dict[str, Any]:
    """Fill the table ``synthesize``: ``motions_per_sample`` motions for every captioned hard sample."""
    run.require("caption")
    filled = executor.fill(Motions(run))
    frames = sum(run.motions.lengths("joints")) // (MOTION_JOINTS * 3)
    return {"motions": filled.units, **filled.figures(), "frames": frames}


class Motions(Work[MotionRequest, Motion]):
    """Every request gets a motion."""

    stage, part = "synthesize", 32

    @property
    def table(self) -> Table[Motion]:
        return self.run.motions

    def units(self) -> Iterator[Unit[MotionRequest]]:
        return _requests(self.run)

    @cached_property
    def generate(self) -> Callable[[Sequence[MotionRequest]], list[Motion]]:
        """The motion generator on its engine, or what stands in for it without MSM."""
        recipe = self.run.recipe
        if recipe.synthesize.guidance == "pseudo_label":
            return _repeat_pose
        generator: MotionGenerator = self.run.create(Kind.MOTION, recipe.motion, "motion")
        self.run.accelerate(recipe.motion, generator, "motion")

        def generated(requests: Sequence[MotionRequest]) -> list[Motion]:
            with rejecting(generator.generate):
                motions = expect(generator.generate(requests), Motion, len(requests), generator.generate)
            return [_of_request(motion, request) for motion, request in zip(motions, requests, strict=True)]

        def _of_request(motion: Motion, request: MotionRequest) -> Motion:
            told = (motion.id, motion.sample_id, motion.caption)
            if told[:2] != (request.id, request.sample_id) or not isinstance(motion.caption, str):
                raise UserError(
                    f"{name_of(generator.generate)} returned a motion of id, sample and caption {told} for the request "
                    f"{request.id!r} of {request.sample_id!r}: a motion has those of its request"
                )
            return motion

        return generated

    def rows(self, batches: Iterator[list[Unit[MotionRequest]]]) -> Iterator[Row[Motion]]:
        for batch in batches:
            yield from (_checked(row) for row in each_alone(self.generate, batch))


def _requests(run: Run) -> Iterator[Unit[MotionRequest]]:
    options = run.recipe.synthesize
    for sample, sentence, joints3d in _captioned(run):
        for number in range(options.motions_per_sample):
            name = f"{sample.id}#{number}"
            yield (
                name,
                MotionRequest(
                    id=name,
                    sample_id=sample.id,
                    caption=sentence,
                    seed=seed_of(run.recipe.seed, name, "synthesize"),
                    pose=camera_to_y_up(joints3d[:MOTION_JOINTS]),
                    guidance=options.guidance,
                    min_frames=options.min_frames,
                    max_frames=options.max_frames,
                ),
            )


def _captioned(run: Run) -> Iterator[tuple[Sample, str, FloatArray]]:
    """The hard samples that have a caption, with it and their pose (24, 3), a part of the table in memory at a time.

    The two tables have the same order; one row of ``caption`` for each hard sample, or none.
    """
    captions = run.captions.rows()
    row = next(captions, None)
    hard = run.stream_of_role(HARD)
    while some := list(islice(hard, TOGETHER)):
        for selected, joints3d in zip(some, _poses(run, some), strict=True):
            sample = selected.scored.sample
            if row is None or row.unit != sample.id:
                continue
            if row.value is not None:
                yield sample, row.value.caption, joints3d
            row = next(captions, None)


def _poses(run: Run, hard: Sequence[Selected]) -> Sequence[FloatArray]:
    """The hard samples' pseudo-labels (24, 3): as estimated, or as their labelled 2D joints correct them."""
    estimates = [selected.pose for selected in hard]
    if run.recipe.synthesize.pose == "pseudo_label":
        return [estimate.joints3d for estimate in estimates]
    return list(fit_to_labels(run.bodies.body, estimates, [selected.scored.sample for selected in hard]))


def _repeat_pose(requests: Sequence[MotionRequest]) -> list[Motion]:
    """The ablation without MSM: the pseudo-label itself, T times (Table 3, first row)."""
    motions = []
    for request in requests:
        assert request.pose is not None
        standing = request.pose - [0, request.pose[:, 1].min(), 0]
        joints = np.repeat(standing[None], PSEUDO_LABEL_FRAMES, axis=0)
        motions.append(Motion(request.id, request.sample_id, request.caption, joints, provenance="pseudo_label"))
    return motions


def _checked(row: Row[Motion]) -> Row[Motion]:
    fault = None if row.value is None else motion_fault(row.value)
    return row if fault is None else Row(row.unit, rejected=fault)


def motion_fault(motion: Motion) -> str | None:
    """Why a motion is nobody's; None if it may be somebody's."""
    if not len(motion.joints):
        return "the motion has no frame"
    if not 0 < motion.fps < math.inf:
        return f"the motion has {motion.fps} frames a second"
    if not np.isfinite(motion.joints).all():
        return "the motion has joints that are not finite"
    if not all(given is None or np.isfinite(given).all() for given in (motion.body_pose, motion.global_orient)):
        return "the motion has rotations that are not finite"
    limbs = float(np.median(limb_length(motion.joints, "humanml22")))
    if not LEAST_LIMB <= limbs <= LONGEST_LIMB:
        return f"the motion is no person's: limb bones of {limbs:.3g} m on average (other units?)"
    return None
