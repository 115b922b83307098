"""An estimator over many samples: reading, computing and decoding at the same time.

Worker threads read and crop the samples of the next batches while the network computes the present one, and the
outputs of the last one are fetched and decoded beside it. Results come in order, and a sample that fails yields its
error.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from posesyn_core.components import PoseEstimator, SplitEstimator
from posesyn_core.contracts.engines import EngineConfig, ExportableModule
from posesyn_core.contracts.results import calling, expect, expect_one, name_of
from posesyn_core.engines.batches import LoadedNetwork, load_network
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.engines.transfer import Collated, Numbers, collate, pinned_for
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.geometry.units import limb_length, unit_of
from posesyn_core.inference.neighbours import hidden
from posesyn_core.inference.probe import probe_samples
from posesyn_core.values import Detected, PoseEstimate, Prepared, Sample

BATCHES_AHEAD = 3
DECODED = 32
"""Outputs are decoded so many at a time, whatever the passes were, the last ones filled up: posing a body is as
sensitive to the batch's size as a network, and one body takes little less time than a dozen."""
LONGEST_LIMB = 5.0
"""Joints with longer limb bones, on average, are in no person's metres, not even an untrained network's."""
Result = PoseEstimate | SampleError
Pass = tuple[Callable[[], Numbers], list[Prepared], int]
"""What waits for the network's outputs, the samples that it was given, and how many of those count."""
T = TypeVar("T")


def predict(
    estimator: PoseEstimator | SplitEstimator,
    batches: Iterable[Sequence[Sample]],
    *,
    network: LoadedNetwork | None = None,
    workers: int = 2,
) -> Iterator[list[Result]]:
    """One list of results for each batch, in order: an estimate, or the SampleError that says why there is none.

    ``network`` is the estimator's network as an engine loaded it; None runs it eagerly where it is. On a CPU it
    computes passes of one size, so that an estimate depends on its sample alone, to the last bit. ``batches`` is read
    at most ``BATCHES_AHEAD`` batches ahead. An estimator in one piece (``predict`` alone) is simply called.
    UserErrors are raised; any other exception rejects the samples that cause it. A sample's neighbours are hidden.
    """
    if not isinstance(estimator, SplitEstimator):
        yield from (
            sound_estimates(attempt(estimator.predict, batch, PoseEstimate), estimator.predict) for batch in batches
        )
        return
    loaded = network or load_network(
        TorchEngine(EngineConfig(device=_device(estimator))), exportable("the estimator", estimator)
    )
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(1) as decoder:
        decoding: deque[Future[list[Result]]] = deque()
        for prepared in _ahead(estimator, batches, readers):
            passes = _compute(estimator, loaded, prepared)
            decoding.append(decoder.submit(_decode, estimator, prepared, passes))
            if len(decoding) > 1:
                yield decoding.popleft().result()
        yield from (future.result() for future in decoding)


def exportable(name: str, estimator: SplitEstimator) -> ExportableModule:
    """The estimator's network with an example batch of two, as an engine wants it."""
    prepared = _prepare(estimator, probe_sample())
    if isinstance(prepared, SampleError):
        raise UserError(f"{name} can't be given to an engine, since it rejects a plain picture: {prepared}")
    example = {key: torch.from_numpy(np.stack([value, value])) for key, value in prepared.tensors.items()}
    kept = tuple(getattr(estimator, "keep_fp32", ()))
    return ExportableModule(name, estimator.network, example, kept, partial(_of_people, estimator))


def _of_people(estimator: SplitEstimator) -> Iterator[dict[str, torch.Tensor]]:
    """What the network gets to see of rendered people, one at a time; none of those that engines are tried on."""
    for sample in probe_samples(of="calibration"):
        prepared = _prepare(estimator, sample)
        if isinstance(prepared, Prepared):
            yield {name: torch.from_numpy(np.asarray(value)[None]) for name, value in prepared.tensors.items()}


def _device(estimator: SplitEstimator) -> str:
    """Where the estimator's weights are."""
    return str(next((weight.device for weight in estimator.network.parameters()), torch.device("cpu")))


def probe_sample() -> Sample:
    """A grey picture with a person box and SMPL-24 joints inside it: fit to be preprocessed, not to be estimated.

    The joints count as detected too: no detector would find any.
    """
    joints = np.stack([np.linspace(40, 90, 24), np.linspace(20, 110, 24)], axis=-1)
    picture = encode_png(np.full((128, 128, 3), 128, np.uint8))
    found = Detected("smpl24", joints.astype(np.float32), np.ones(24, np.float32))
    return Sample("probe", picture, [30, 10, 100, 120], "smpl24", joints, np.ones(24), detected=found)  # type: ignore[arg-type]


def _ahead(
    estimator: SplitEstimator, batches: Iterable[Sequence[Sample]], readers: ThreadPoolExecutor
) -> Iterator[list[Prepared | SampleError]]:
    """Preprocessed batches in order, the next ones being read meanwhile."""
    reading: deque[list[Future[Prepared | SampleError]]] = deque()
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(lambda: [future.cancel() for batch in reading for future in batch])
        for batch in batches:
            reading.append([readers.submit(_prepare, estimator, sample) for sample in batch])
            if len(reading) > BATCHES_AHEAD:
                yield [future.result() for future in reading.popleft()]
        while reading:
            yield [future.result() for future in reading.popleft()]


def _prepare(estimator: SplitEstimator, sample: Sample) -> Prepared | SampleError:
    try:
        return expect_one(estimator.preprocess(hidden(sample)), Prepared, estimator.preprocess)
    except UserError:
        raise
    except Exception as error:  # whatever a plugin raises for one sample rejects that sample
        return as_sample_error(error, estimator.preprocess)


def _compute(
    estimator: SplitEstimator, network: LoadedNetwork, prepared: Sequence[Prepared | SampleError]
) -> list[Pass]:
    """The network's outputs for the samples that could be prepared."""
    ready = [item for item in prepared if isinstance(item, Prepared)]
    device = torch.device("cpu") if network.lane is None else network.lane.device
    return [
        (_start(estimator, network, _collated(estimator, items, device)), items, count)
        for items, count in network.passes(ready)
    ]


def _start(estimator: SplitEstimator, network: LoadedNetwork, batch: Collated) -> Callable[[], Numbers]:
    try:
        return network.start(batch)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the estimator's network runs out of memory with {len(batch)} samples at once: lower --batch-size"
        ) from error


def _collated(estimator: SplitEstimator, items: Sequence[Prepared], device: torch.device) -> Collated:
    shapes = [{name: array.shape for name, array in item.tensors.items()} for item in items]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        raise UserError(
            f"{name_of(estimator.preprocess)} made tensors of different names or shapes of two samples: "
            f"{shapes[0]} and {other}"
        )
    return pinned_for(device, collate([item.tensors for item in items], device))


def _decode(
    estimator: SplitEstimator, prepared: Sequence[Prepared | SampleError], passes: Sequence[Pass]
) -> list[Result]:
    """A result for each sample of a batch, from the outputs of its passes."""
    found = [(_rows(outputs(), len(items), count), items[:count]) for outputs, items, count in passes]
    decoded = _decoded_together(estimator, found)
    results = [item if isinstance(item, SampleError) else next(decoded) for item in prepared]
    return sound_estimates(results, estimator.decode)


def _rows(outputs: Numbers, size: int, count: int) -> Numbers:
    """Those of the first ``count`` samples of a pass. UserError unless there is one for each of its ``size``."""
    for name, rows in outputs.items():
        if rows.shape[:1] != (size,):
            raise UserError(
                f"the network returned {name!r} of shape {rows.shape} for {size} samples: its first axis is the batch"
            )
    return {name: rows[:count] for name, rows in outputs.items()}


def _decoded_together(
    estimator: SplitEstimator, found: Sequence[tuple[Numbers, Sequence[Prepared]]]
) -> Iterator[PoseEstimate]:
    """The estimates of passes' outputs and samples, :data:`DECODED` at a time."""
    items = [item for _, some in found for item in some]
    if not items:
        return
    outputs = {name: np.concatenate([rows[name] for rows, _ in found]) for name in found[0][0]}
    for at in range(0, len(items), DECODED):
        rows = np.minimum(np.arange(at, at + DECODED), len(items) - 1)
        some = {name: array[rows] for name, array in outputs.items()}
        yield from _decoded(estimator, some, [items[row] for row in rows])[: len(items) - at]


def _decoded(
    estimator: SplitEstimator, outputs: Mapping[str, np.ndarray], items: Sequence[Prepared]
) -> list[PoseEstimate]:
    """UserError naming ``decode`` if it fails: it sees the network's outputs, whatever the samples are."""
    with calling(estimator.decode):
        found = estimator.decode(outputs, [item.context for item in items])
    return expect(found, PoseEstimate, len(items), estimator.decode)


def sound_estimates(results: Sequence[Result], method: Callable[..., Any]) -> list[Result]:
    """The results of an estimator's ``method``, those rejected that are no person's for their size.

    UserError naming the method if there are other joints than those of the set that an estimate names, or if most
    estimates are far too large: they are in another unit than metres then.
    """
    checked, lengths = list(results), np.full(len(results), np.nan)
    for at, result in enumerate(results):
        if isinstance(result, PoseEstimate):
            wanted = len(joint_set(result.joint_set))
            if len(result.joints3d) != wanted:
                raise UserError(
                    f"{name_of(method)} returned {len(result.joints3d)} joints, but {result.joint_set!r} has {wanted}: "
                    "give PoseEstimate the joint_set that they are of"
                )
            lengths[at] = limb_length(result.joints3d, result.joint_set)
    huge = lengths > LONGEST_LIMB
    if huge.sum() > np.isfinite(lengths).sum() / 2:
        median = float(np.median(lengths[huge]))
        raise UserError(
            f"{name_of(method)} returned joints that can't be in metres: limb bones of {median:.0f} on average; "
            f"{unit_of(median)}"
        )
    for at in np.flatnonzero(huge).tolist():
        checked[at] = SampleError(f"the estimated joints are no person's: limb bones of {lengths[at]:.3g} m on average")
    return checked


def attempt(
    function: Callable[[Sequence[Sample]], Sequence[T]], batch: Sequence[Sample], kind: type[T]
) -> list[T | SampleError]:
    """Call an estimator in one piece, which returns a list of ``kind``; if it raises, sample by sample.

    Neighbours are hidden from it.
    """
    try:
        return list(expect(function([hidden(sample) for sample in batch]), kind, len(batch), function))
    except UserError:
        raise
    except Exception as error:  # as above
        if len(batch) == 1:
            return [as_sample_error(error, function)]
        return [result for sample in batch for result in attempt(function, [sample], kind)]


def as_sample_error(error: Exception, method: Callable[..., Any]) -> SampleError:
    """Any exception as a SampleError; the text of a foreign one names its type and the component's ``method``."""
    if isinstance(error, SampleError):
        return error
    return SampleError(f"{type(error).__name__}: {error} (in {name_of(method)})")
