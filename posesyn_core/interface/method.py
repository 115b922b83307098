"""The method step by step, each step one function: estimate, score, generate, plan, draw, judge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posesyn_core.body.completion import complete, is_whole
from posesyn_core.body.model import load_body
from posesyn_core.body.planning import Translation, plan_clips, plan_fault, reference_fault
from posesyn_core.components import Animator, FrameFilter, MotionGenerator, PoseEstimator, SplitEstimator
from posesyn_core.contracts.engines import Engine
from posesyn_core.contracts.results import expect
from posesyn_core.contracts.sections import Machine, Synthesize
from posesyn_core.engines.batches import LoadedNetwork, load_network
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.inference.predict import Result, exportable, predict
from posesyn_core.interface.making import make
from posesyn_core.method.orientation import Mode, camera_to_y_up
from posesyn_core.pipeline.animate import draw_frames
from posesyn_core.pipeline.judging import Judge, label_frames
from posesyn_core.pipeline.labels import annotated
from posesyn_core.pipeline.run import Judgement
from posesyn_core.pipeline.score import score_batch
from posesyn_core.values import ClipPlan, Image, Motion, MotionRequest, PoseEstimate, Sample, ScoredSample

Estimator = PoseEstimator | SplitEstimator


def estimate(
    estimator: Estimator,
    samples: Sequence[Sample],
    *,
    engine: Engine | None = None,
    batch_size: int = 32,
    workers: int = 2,
) -> list[Result]:
    """Run an estimator: a PoseEstimate for each sample, or a SampleError that says why there is none.

    Reading, cropping, inference and decoding overlap. ``engine`` (``make("engine", "onnx")``) runs the network of a
    split estimator; None means eager torch.
    """
    network = _network(estimator, engine)
    batches = [samples[at : at + batch_size] for at in range(0, len(samples), batch_size)]
    return [result for batch in predict(estimator, batches, network=network, workers=workers) for result in batch]


def _network(estimator: Estimator, engine: Engine | None) -> LoadedNetwork | None:
    if engine is None:
        return None
    if not isinstance(estimator, SplitEstimator):
        raise UserError("this estimator has no network of its own for an engine to take over")
    return load_network(engine, exportable("estimator", estimator))


def score(
    samples: Sequence[Sample], estimates: Sequence[Result], *, min_weight: float = 0.5
) -> list[ScoredSample | SampleError]:
    """Eq. 1: how far the estimated 2D joints are from the labelled ones, in pixels of the 256-pixel crop.

    ``estimates`` come from :func:`estimate`. A sample gets a SampleError if less than ``min_weight`` of the joints'
    total weight is labelled. The hardest samples are those with the largest ``error`` (Eq. 2).
    """
    rows = score_batch(samples, estimates, annotated(samples), min_weight)
    return [SampleError(row.rejected or "") if row.value is None else row.value for row in rows]


def generate(
    generator: MotionGenerator,
    text: str = "",
    pose: PoseEstimate | None = None,
    *,
    seed: int = 0,
    min_frames: int = Synthesize().min_frames,
    max_frames: int = Synthesize().max_frames,
) -> Motion:
    """A motion from a text, a pose, or both (Eq. 5): joints (L, 22, 3) in metres, y up.

    The same arguments always give the same motion. A pose in a joint set other than SMPL's is completed first.
    SampleError if that fails or if the generator rejects the input.
    """
    if not text and pose is None:
        raise UserError("a motion needs a text, a pose or both")
    guidance = "text_only" if pose is None else "full" if text else "pose_only"
    joints = None if pose is None else camera_to_y_up(_whole(pose, None).joints3d[:22])
    request = MotionRequest("motion#0", "motion", text, seed, joints, guidance, min_frames, max_frames)
    (motion,) = expect(generator.generate([request]), Motion, 1, generator.generate)
    return motion


def plan(
    motion: Motion,
    reference: Sample,
    estimate: PoseEstimate,
    *,
    body: Path | None = None,
    orientation: Mode = "anchored",
    translation: Translation = "follow",
    smooth: float = 0.0,
    seed: int = 0,
    max_residual_mm: float = 60.0,
) -> ClipPlan:
    """Transfer a motion to the person in a picture (Eq. 7-9): one SMPL body per frame, in the picture's camera.

    ``estimate`` is an estimator's result for the ``reference``. ``body`` is the SMPL file of its parameters (None = the
    free body); an estimate without SMPL parameters gets them by fitting. SampleError if the estimated body cannot be
    animated or the motion cannot be fitted (Eq. 8).
    """
    loaded, estimate = load_body(body), _whole(estimate, body)
    if fault := reference_fault(loaded, estimate, reference):
        raise SampleError(fault)
    name = f"{motion.id}@0"
    plans = plan_clips(
        *(loaded, [motion], [reference], [estimate]), names=[name], seeds=[seed], orientation=orientation,
        translation=translation, smooth=smooth,
    )  # fmt: skip
    if fault := plan_fault(plans[0], max_residual_mm):
        raise SampleError(fault)
    return plans[0]


def _whole(estimate: PoseEstimate, body: Path | None) -> PoseEstimate:
    """The estimate as a whole SMPL pose; SampleError if it knows too little for that."""
    if is_whole(estimate):
        return estimate
    (whole,) = complete(load_body(body), [estimate])
    if isinstance(whole, SampleError):
        raise whole
    return whole


def draw(animator: Animator, plan: ClipPlan) -> list[Image]:
    """Draw a planned clip: one uint8 RGB image (H, W, 3) of the reference's size per frame."""
    return list(draw_frames(animator, plan))


def judge(
    estimator: Estimator,
    plan: ClipPlan,
    frames: Sequence[Image],
    *,
    filter: FrameFilter | None = None,
    engine: Engine | None = None,
) -> list[Judgement]:
    """Judge each drawn frame with an estimator and a filter (Eq. 6): its estimate and verdict, or why there is none.

    ``filter`` None means "tpe_error" with its defaults. Frames are judged after JPEG compression, as in a run.
    """
    chosen = make("filter", "tpe_error") if filter is None else filter
    height, width = np.shape(frames[0])[:2] if len(frames) else (0, 0)
    labelled = label_frames(plan, [encode_jpeg(frame) for frame in frames], width, height)
    return list(Judge(estimator, _network(estimator, engine), chosen, Machine()).judge(labelled))
