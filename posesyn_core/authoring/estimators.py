"""Trials of what looks at people: estimators (and their training), 2D labellers, detectors, captioners, filters."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posesyn_core.authoring.findings import Failure, Finding, check, demand, fails_on
from posesyn_core.authoring.people import frames, people, people_in, pictures, truths
from posesyn_core.components import (
    Captioner,
    FrameFilter,
    KeypointEstimator,
    PersonDetector,
    PoseEstimator,
    SplitEstimator,
    TrainableEstimator,
)
from posesyn_core.contracts.results import expect
from posesyn_core.errors import SampleError
from posesyn_core.geometry.joints import check_estimate, frame_in, known_joints, labelled_frame
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.geometry.units import LONGEST, SHORTEST, limb_length
from posesyn_core.inference.predict import predict
from posesyn_core.training.faults import saved
from posesyn_core.values import Detections, Keypoints, PoseEstimate, Sample, Verdict

Remake = Callable[..., Any]
"""Makes the component once more, with further options."""
CLOSE = 1e-4
"""Metres, or pixels / 1000: how far results that should be the same may be apart."""
STEPS = 3
RATE = 1e-4


def try_estimator(made: PoseEstimator | SplitEstimator, remake: Remake) -> Iterator[Finding]:
    """Shapes, units, numbers, determinism; then training and saving, if it can be trained.

    One that looks at 2D joints instead of pictures gets them in its own joint set.
    """
    given = _given(made)
    found = check("estimates", lambda: _estimates(made, given), lambda them: f"{len(them)} people")
    yield found
    if not found.passed:
        return
    yield check("joint set", lambda: _joint_set(found.value), str)
    yield check("root", lambda: _root_relative(found.value), lambda _: "joints3d are relative to it")
    yield check("units", lambda: _metres(found.value), lambda length: f"limb bones of {1000 * length:.0f} mm")
    yield check("pixels", lambda: _pixels(found.value))
    yield check("repeats", lambda: _same(found.value, _estimates(made, given)), lambda _: "the same again")
    yield check("batches", lambda: _same(found.value, _one_by_one(made, given)), lambda _: "one by one as together")
    if isinstance(made, TrainableEstimator):
        yield from _try_training(made, remake)


def _given(made: PoseEstimator | SplitEstimator) -> list[Sample]:
    """The people as the estimator can look at them."""
    if getattr(made, "needs_picture", True):
        return people()
    return people_in(getattr(made, "joint_set", "smpl24"))


def _estimates(made: PoseEstimator | SplitEstimator, samples: Sequence[Sample]) -> list[PoseEstimate]:
    (results,) = predict(made, [samples])
    estimates = [each for each in results if isinstance(each, PoseEstimate)]
    rejected = [str(each) for each in results if isinstance(each, SampleError)]
    demand(not rejected, f"{len(rejected)} of {len(samples)} ordinary people are rejected: {next(iter(rejected), '')}")
    return estimates


def _one_by_one(made: PoseEstimator | SplitEstimator, given: Sequence[Sample]) -> list[PoseEstimate]:
    return [estimate for person in given for estimate in _estimates(made, [person])]


def _joint_set(estimates: Sequence[PoseEstimate]) -> str:
    for each in estimates:
        check_estimate(each)
    return estimates[0].joint_set


def _root_relative(estimates: Sequence[PoseEstimate]) -> None:
    for each in estimates:
        root = list(joint_set(each.joint_set).root)
        if known_joints(each, 3)[root].all():
            off = float(np.linalg.norm(each.joints3d[root].mean(0)))
            demand(off < 1e-3, f"the root of joints3d lies {off:.3f} m from the origin: subtract it")


def _metres(estimates: Sequence[PoseEstimate]) -> float:
    lengths = np.array([limb_length(each.joints3d, each.joint_set) for each in estimates])
    known = lengths[np.isfinite(lengths)]
    length = float(np.median(known)) if known.size else float("nan")
    demand(
        np.isnan(length) or SHORTEST <= length <= LONGEST,
        f"limb bones of {length:.3g} m on average, where people have {SHORTEST:g} to {LONGEST:g}: are the joints in "
        "metres, and the network trained?",
    )
    return length


def _pixels(estimates: Sequence[PoseEstimate]) -> None:
    for person, each in zip(people(), estimates, strict=True):
        side = float((person.box[2:] - person.box[:2]).max())
        seen = each.joints2d[known_joints(each, 2)]
        demand(len(seen) > 0, "no joint is known in the picture: joints2d are not finite")
        spread = float(np.ptp(seen, axis=0).max())
        demand(
            0.05 * side < spread < 20 * side,
            f"joints2d spread over {spread:.3g} pixels where the person is {side:.0f} tall: they must be pixels of the "
            "full picture",
        )


def _same(first: Sequence[PoseEstimate], second: Sequence[PoseEstimate]) -> None:
    for one, other in zip(first, second, strict=True):
        in_3d = np.nanmax(np.abs(one.joints3d - other.joints3d), initial=0)
        in_2d = np.nanmax(np.abs(one.joints2d - other.joints2d), initial=0)
        demand(in_3d <= CLOSE and in_2d <= 1000 * CLOSE, f"estimates differ by {1000 * in_3d:.3g} mm, {in_2d:.3g} px")


def _try_training(made: TrainableEstimator, remake: Remake) -> Iterator[Finding]:
    batch = check("training inputs", lambda: _batch(made), lambda tensors: ", ".join(tensors))
    yield batch
    if batch.passed:
        yield check(
            "training", lambda: _train(made, batch.value), lambda losses: f"loss {losses[0]:.4g}, {losses[-1]:.4g}"
        )
        yield check("save and load", lambda: _reload(made, remake), lambda _: "the same estimates")


def _batch(made: TrainableEstimator) -> dict[str, torch.Tensor]:
    own = getattr(made, "joint_set", "smpl24")
    labelled = frames() if getattr(made, "needs_picture", True) else list(map(labelled_frame, people_in(own)))
    inputs = [made.training_inputs(frame_in(frame, own), np.random.default_rng(0)) for frame in labelled]
    shapes = [{name: np.shape(array) for name, array in item.items()} for item in inputs]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        raise fails_on(made.training_inputs, f"gave two frames other keys or shapes: {shapes[0]} and {other}")
    for name, array in inputs[0].items():
        demand(np.isfinite(np.asarray(array, np.float64)).all(), f"training_inputs[{name!r}] is not finite")
    return {name: torch.from_numpy(np.stack([item[name] for item in inputs])) for name in shapes[0]}


def _train(made: TrainableEstimator, batch: dict[str, torch.Tensor]) -> list[float]:
    """The losses of a few steps on one batch."""
    weights = [weight for weight in made.parameters() if weight.requires_grad]
    demand(bool(weights), "parameters() yields nothing to train")
    device = weights[0].device
    losses: list[float] = []
    optimiser = torch.optim.AdamW(weights, lr=RATE)
    for _ in range(STEPS):
        terms = made.training_loss({name: tensor.to(device) for name, tensor in batch.items()})
        if not isinstance(terms, dict) or "loss" not in terms:
            raise fails_on(made.training_loss, "must return a dict with the key 'loss'")
        loss = float(terms["loss"].detach())
        demand(np.isfinite(loss), f"the loss is {loss} in step {len(losses)}")
        optimiser.zero_grad()
        terms["loss"].backward()
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        demand(bool(gradients), "the loss has no gradient with respect to parameters()")
        demand(all(bool(torch.isfinite(g).all()) for g in gradients), "a gradient is not finite")
        optimiser.step()
        losses.append(loss)
    made.network.eval()
    return losses


def _reload(made: TrainableEstimator, remake: Remake) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        saved(made, path)
        _same(_estimates(made, _given(made)), _estimates(remake(weights=str(path)), _given(made)))


def try_keypoints(made: KeypointEstimator, remake: Remake) -> Iterator[Finding]:
    """Shapes, pixels, confidences, determinism."""
    del remake
    count = len(joint_set(made.joint_set))
    found = check("keypoints", lambda: _keypoints(made, count), lambda them: f"{len(them)} people, {made.joint_set}")
    yield found
    if found.passed:
        yield check("pixels", lambda: _in_pictures(found.value))
        again = found.value
        yield check("repeats", lambda: _equal([k.points for k in again], [k.points for k in _keypoints(made, count)]))


def _keypoints(made: KeypointEstimator, count: int) -> list[Keypoints]:
    found = expect(made.detect(people()), Keypoints, len(people()), made.detect)
    for each in found:
        demand(len(each.points) == count, f"{len(each.points)} joints, but {made.joint_set!r} has {count}")
        demand(np.isfinite(each.confidence).all(), "a confidence is not finite")
        demand(((each.confidence >= 0) & (each.confidence <= 1)).all(), "confidences must lie between 0 and 1")
        demand(np.isfinite(each.points[each.confidence > 0]).all(), "a joint with confidence is not finite")
    return found


def _in_pictures(found: Sequence[Keypoints]) -> None:
    sure = np.concatenate([each.points[each.confidence > 0.3] for each in found])
    demand(not len(sure) or float(np.abs(sure).max()) > 2, "joints must be in pixels of the full picture")


def _equal(first: Sequence[Any], second: Sequence[Any]) -> None:
    for one, other in zip(first, second, strict=True):
        apart = float(np.nanmax(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)), initial=0))
        demand(apart <= 1000 * CLOSE, f"two calls with the same input differ by {apart:.3g}")


def try_detector(made: PersonDetector, remake: Remake) -> Iterator[Finding]:
    """Boxes within the pictures, scores in order, determinism."""
    del remake
    found = check("people", lambda: _people(made), lambda them: f"{sum(len(d.boxes) for d in them)} in {len(them)}")
    yield found
    if found.passed:
        yield check("repeats", lambda: _equal([d.boxes for d in found.value], [d.boxes for d in _people(made)]))


def _people(made: PersonDetector) -> list[Detections]:
    seen = pictures()
    found = expect(made.find_people(seen), Detections, len(seen), made.find_people)
    for picture, each in zip(seen, found, strict=True):
        height, width = picture.shape[:2]
        low, high = each.boxes[:, :2], each.boxes[:, 2:]
        demand(len(each.boxes) == len(each.scores), "as many scores as boxes are needed")
        demand(np.isfinite(each.boxes).all() and (high > low).all(), "a box has no area or is not finite")
        demand(((high > 0) & (low < (width, height))).all(), "a box lies outside its picture")
        demand(((each.scores >= 0) & (each.scores <= 1)).all(), "scores must lie between 0 and 1")
        demand((np.diff(each.scores) <= 0).all(), "people must come surest first")
    return found


def try_captioner(made: Captioner, remake: Remake) -> Iterator[Finding]:
    """A sentence for each person, the same each time."""
    del remake
    found = check("captions", lambda: _captions(made), lambda them: f"{them[0]!r}")
    yield found
    if found.passed:
        yield check("repeats", lambda: demand(found.value == _captions(made), "two calls give other sentences"))


def _captions(made: Captioner) -> list[str]:
    found = expect(made.caption(people(), truths()), str, len(people()), made.caption)
    demand(all(sentence.strip() for sentence in found), "a caption is empty: raise SampleError instead")
    return found


def try_filter(made: FrameFilter, remake: Remake) -> Iterator[Finding]:
    """A verdict for each frame, whatever other frames there are."""
    del remake
    found = check("verdicts", lambda: _verdicts(made, range(len(frames()))), lambda them: f"{them[0]}")
    yield found
    if found.passed:
        yield check("each for itself", lambda: _each_for_itself(made, found.value))


def _verdicts(made: FrameFilter, places: Sequence[int]) -> list[Verdict]:
    chosen = [frames()[at] for at in places], [truths()[at] for at in places]
    found = expect(made.judge(*chosen), Verdict, len(places), made.judge)
    for verdict in found:
        demand(verdict.keep or verdict.reason != "", "a frame that is dropped needs a reason")
    return found


def _each_for_itself(made: FrameFilter, together: Sequence[Verdict]) -> None:
    for at, verdict in enumerate(together):
        (alone,) = _verdicts(made, [at])
        same = alone.keep == verdict.keep and np.isclose(alone.error, verdict.error, equal_nan=True)
        if not same:
            raise Failure(f"frame {at} is judged {alone} alone and {verdict} among others")
