"""Stage 5: lay the motions onto easy reference people and draw them (Eq. 7-11), keeping what the filter lets pass.

Frames are judged as they are drawn, before any is written: the estimator gets the very bytes that the disk would.
Threads draw the next clips while the network computes.
"""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from posesyn_core.body.model import Body
from posesyn_core.body.planning import plan_clips, plan_fault
from posesyn_core.components import Animator, Kind
from posesyn_core.contracts.results import a_value, name_of, rejecting
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.parallel.threads import ordered_map
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.judging import Judge, filter_of, label_frames
from posesyn_core.pipeline.people import Reference
from posesyn_core.pipeline.references import analyse_references, cut_out
from posesyn_core.pipeline.run import Clip, DrawnFrame, Judgement, Run
from posesyn_core.pipeline.seals import digest
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work, each_alone
from posesyn_core.seeds import rng, seed_of
from posesyn_core.values import ClipPlan, Image, LabelledFrame, Motion

_FRAME = re.compile(r"\d{4,}\.jpg")


@frozen
class Pair:
    """A motion and the reference person that it is to move; ``id`` is the clip's."""

    id: str
    motion: Motion
    reference: Reference


@frozen
class Drawing:
    """A drawn plan before its frames are judged: one JPEG per frame, in memory."""

    plan: ClipPlan
    images: Sequence[bytes]
    width: int
    height: int


def animate(run: Run, executor: Executor = LOCAL) -> dict[str, Any]:
    """Fill the table ``animate``: a drawn and judged clip for every motion and each of its references."""
    run.require("synthesize")
    references = analyse_references(run, executor)
    clips = Clips(run)
    filled = executor.fill(clips)
    residuals = [residual for _, residual in run.clips.column("plan.residual_mm")]
    return {
        "clips": filled.units,
        **filled.figures(),
        "frames": sum(run.clips.lengths("frames")),
        "mean_residual_mm": round(float(np.mean(residuals)), 2) if residuals else None,
        **references,
        **_told(clips),
    }


def _told(clips: "Clips") -> dict[str, str]:
    """A note if the estimator that judges frames is told their labels."""
    first = next(iter(clips.run.clips.values()), None)
    estimator = clips.judge.estimator
    if first is None or not hasattr(estimator, "given_labels"):
        return {}
    drawn = evolve(first.plan.reference, detected=None)  # a frame of its clip has labels alone, too
    note = "the filter's estimator gets the labels' own 2D joints: Eq. 6 can't see a limb that was not drawn"
    return {"note": f"{note}; name a 2D estimator with estimator.keypoints"} if estimator.given_labels(drawn) else {}


class Clips(Work[Pair | str, Clip]):
    """Every motion is drawn with its reference people, or it is known why not.

    In memory are at most the clips that the threads draw ahead, and those of which a batch is being judged.
    """

    stage, part = "animate", 8

    @property
    def table(self) -> Table[Clip]:
        return self.run.clips

    def units(self) -> Iterator[Unit[Pair | str]]:
        return _pairs(self.run)

    @cached_property
    def body(self) -> Body:
        return self.run.bodies.body

    @cached_property
    def animator(self) -> Animator:
        chosen = self.run.recipe.animator
        animator: Animator = self.run.create(Kind.ANIMATOR, chosen, "animator")
        self.run.accelerate(chosen, animator, "animator")
        return animator

    @cached_property
    def crop(self) -> str:
        """What is drawn: a square about the "person", or the whole "image"."""
        return self.run.recipe.animate.reference_crop or str(getattr(self.animator, "reference_crop", "image"))

    @cached_property
    def judge(self) -> Judge:
        return Judge.of(self.run)

    def rows(self, batches: Iterator[list[Unit[Pair | str]]]) -> Iterator[Row[Clip]]:
        _check_need(self.run, self.animator, self.judge)
        plans = (row for batch in batches for row in _plan(self.run, self.body, self.crop, batch))
        drawn = ordered_map(self._draw, plans, self.run.recipe.machine.workers)
        for first in drawn:  # frames of two parts are never computed together: see ``Work.batches``
            part = chain([first], islice(drawn, self.part - 1))
            yield from _judged(self.judge, part, lambda drawing, found: _keep(self.run, self.animator, drawing, found))

    def _draw(self, row: Row[ClipPlan]) -> Row[Drawing]:
        if row.value is None:
            return Row(row.unit, rejected=row.rejected)
        try:
            with rejecting(self.animator.animate):
                return Row(row.unit, _draw(self.animator, row.value, self.run.recipe.animate.jpeg_quality))
        except UserError:
            raise
        except SampleError as error:  # a plugin's fault with one clip must not end the run; a full disk may
            return Row(row.unit, rejected=str(error))


def _check_need(run: Run, animator: Animator, judge: Judge) -> None:
    """UserError if nothing would be drawn though the estimator looks at pictures."""
    if not getattr(animator, "draws", True) and getattr(judge.estimator, "needs_picture", True):
        raise UserError(
            f"the animator {run.recipe.animator.name!r} draws no person, but the estimator "
            f"{run.recipe.estimator.name!r} looks at pictures: choose another animator"
        )


def _pairs(run: Run) -> Iterator[Unit[Pair | str]]:
    """Each motion with its references, drawn without replacement from those that can be animated.

    Where there is none, the reason instead.
    """
    people = list(run.references.rows())
    if not people:
        raise UserError("there is no easy sample to take as a reference; raise score.easy")
    reason = next((f"; {unit}: {reason}" for unit, reason in run.references.rejections()), "")
    for motion in run.motions.values():
        drawn = [people[at].value for at in rng(run.recipe.seed, motion.id, "animate").permutation(len(people))]
        able = [reference for reference in drawn if reference is not None]
        if not able:
            yield f"{motion.id}@0", f"none of the {len(people)} reference people can be animated{reason}"
        for number, reference in enumerate(able[: run.recipe.animate.references_per_motion]):
            name = f"{motion.id}@{number}"
            yield name, Pair(name, motion, reference)


def _plan(run: Run, body: Body, crop: str, batch: list[Unit[Pair | str]]) -> list[Row[ClipPlan]]:
    """Fit the batch's motions and lay them onto their references, or the squares that ``crop`` "person" cuts of them.

    A bad fit is a rejection with its number.
    """
    options = run.recipe.animate

    def plan(pairs: Sequence[Pair]) -> list[ClipPlan]:
        people = [cut_out(run, body, pair.reference) if crop == "person" else pair.reference for pair in pairs]
        return plan_clips(
            body,
            [_thinned(pair.motion, options.frame_stride, options.max_frames) for pair in pairs],
            [person.sample for person in people],
            [person.estimate for person in people],
            names=[pair.id for pair in pairs],
            seeds=[seed_of(run.recipe.seed, pair.id, "draw") for pair in pairs],
            orientation=options.orientation,
            translation=options.translation,
            smooth=options.smooth,
            skeletons=[person.skeleton for person in people],
        )

    planned = iter(each_alone(plan, [(name, pair) for name, pair in batch if isinstance(pair, Pair)]))
    rows = (Row(name, rejected=pair) if isinstance(pair, str) else next(planned) for name, pair in batch)
    return [_checked(row, options.max_residual_mm) for row in rows]


def _checked(row: Row[ClipPlan], most_mm: float) -> Row[ClipPlan]:
    fault = None if row.value is None else plan_fault(row.value, most_mm)
    return row if fault is None else Row(row.unit, rejected=fault)


def _thinned(motion: Motion, stride: int, most: int) -> Motion:
    """Every ``stride``-th frame of a motion, ``most`` at most."""
    chosen = slice(None, stride * most, stride)
    return evolve(
        motion,
        joints=motion.joints[chosen],
        body_pose=None if motion.body_pose is None else motion.body_pose[chosen],
        global_orient=None if motion.global_orient is None else motion.global_orient[chosen],
        fps=motion.fps / stride,
    )


def draw_frames(animator: Animator, plan: ClipPlan) -> Iterator[Image]:
    """The animator's frames of a plan, one for each of its bodies and all of one size.

    UserError naming the animator's method if it yields anything but uint8 RGB images; SampleError if it yields too few
    or too many.
    """
    wanted, count, shape = len(plan.transl), 0, None
    drawn: object = animator.animate(plan)
    if not isinstance(drawn, Iterable):
        raise UserError(f"{name_of(animator.animate)} returned {a_value(drawn)} where an iterator of images is needed")
    for image in drawn:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else a_value(image)
            raise UserError(f"{name_of(animator.animate)} yielded {kind} where a uint8 image (H, W, 3) is needed")
        shape = shape or image.shape
        if image.shape != shape:
            raise UserError(f"{name_of(animator.animate)} yielded images of two sizes: {shape} and {image.shape}")
        count += 1
        if count > wanted:
            raise SampleError(f"the animator drew more than the {wanted} frames of the plan")
        yield image
    if count != wanted:
        raise SampleError(f"the animator drew {count} frames for a plan of {wanted}")


def _draw(animator: Animator, plan: ClipPlan, quality: int) -> Drawing:
    images: list[bytes] = []
    height = width = 0
    for image in draw_frames(animator, plan):
        height, width = image.shape[:2]
        images.append(encode_jpeg(image, quality))
    return Drawing(plan, images, width, height)


def _judged(
    judge: Judge, drawn: Iterable[Row[Drawing]], keep: Callable[[Drawing, list[Judgement]], Clip]
) -> Iterator[Row[Clip]]:
    """The rows in order, each drawing made a clip by ``keep`` as soon as all of its frames are judged."""
    waiting: deque[Row[Drawing]] = deque()

    def frames() -> Iterator[LabelledFrame]:
        for row in drawn:
            waiting.append(row)
            if (drawing := row.value) is not None:
                yield from label_frames(drawing.plan, drawing.images, drawing.width, drawing.height)

    found: list[Judgement] = []
    for judgement in judge.judge(frames()):
        yield from _leading_rejections(waiting)
        found.append(judgement)
        drawing = waiting[0].value
        if drawing is not None and len(found) == len(drawing.images):
            yield Row(waiting.popleft().unit, keep(drawing, found))
            found = []
    yield from _leading_rejections(waiting)


def _leading_rejections(waiting: deque[Row[Drawing]]) -> Iterator[Row[Clip]]:
    """Take the rejected rows off the front."""
    while waiting and waiting[0].value is None:
        row = waiting.popleft()
        yield Row(row.unit, rejected=row.rejected)


def _keep(run: Run, animator: Animator, drawing: Drawing, found: Sequence[Judgement]) -> Clip:
    """Write the frames that are to stay, and say what was found of all."""
    folder = run.folder / "animate" / "frames" / clip_folder(drawing.plan.id)
    stay = [judgement.keep or run.recipe.animate.keep_dropped for judgement in found]
    _make_room(run, folder, {_frame(n): image for n, image in enumerate(drawing.images) if stay[n]})
    frames = []
    for number, (image, judgement) in enumerate(zip(drawing.images, found, strict=True)):
        path = folder / _frame(number)
        if stay[number]:
            write_atomic(path, image)
        frames.append(DrawnFrame(path, stay[number], judgement, digest(image) if stay[number] else ""))
    guidance = tuple(getattr(animator, "guidance", ()))
    return Clip(drawing.plan, tuple(frames), drawing.width, drawing.height, filter_of(run), guidance)


def _frame(number: int) -> str:
    return f"{number:04d}.jpg"


def _make_room(run: Run, folder: Path, wanted: Mapping[str, bytes]) -> None:
    """Set aside the frames of a clip that was drawn otherwise before."""
    present = [path for path in sorted(folder.glob("*.jpg")) if _FRAME.fullmatch(path.name)]
    if any(not path.is_file() or path.read_bytes() != wanted.get(path.name) for path in present):
        set_aside(run.folder, present)


def clip_folder(clip_id: str) -> str:
    """A folder name for a clip: its id with what file systems dislike replaced, and a digest to keep it unique."""
    unique = hashlib.blake2b(clip_id.encode(), digest_size=4).hexdigest()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", clip_id)[-60:] + "-" + unique
