"""An estimator over many samples: reading, computing and decoding at the same time.

Worker threads read and crop the samples of the next batches while the network computes the present one, and the
outputs of the last one are decoded beside it. Results come in order, and a sample that fails yields its error.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from posesyn_core.components import EngineConfig, ExportableModule, NetworkCall, PoseEstimator, SplitEstimator
from posesyn_core.engines.batches import LoadedNetwork, load_network
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.values import PoseEstimate, Prepared, Sample

BATCHES_AHEAD = 3
Result = PoseEstimate | SampleError
Pass = tuple[Mapping[str, np.ndarray], list[Prepared], int]
"""Outputs of the network, the samples that it was given, and how many of those count."""
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
    UserErrors are raised; any other exception rejects the samples that cause it.
    """
    if not isinstance(estimator, SplitEstimator):
        yield from (attempt(estimator.predict, batch) for batch in batches)
        return
    loaded = network or load_network(TorchEngine(EngineConfig(device=_device(estimator))), exportable("", estimator))
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(1) as decoder:
        decoding: deque[Future[list[Result]]] = deque()
        for prepared in _ahead(estimator, batches, readers):
            passes = _compute(loaded, prepared)
            decoding.append(decoder.submit(_decode, estimator, prepared, passes))
            if len(decoding) > 1:
                yield decoding.popleft().result()
        yield from (future.result() for future in decoding)


def exportable(name: str, estimator: SplitEstimator) -> ExportableModule:
    """The estimator's network with an example batch of two, as an engine wants it."""
    prepared = estimator.preprocess(probe_sample())
    example = {key: torch.from_numpy(np.stack([value, value])) for key, value in prepared.tensors.items()}
    return ExportableModule(name, estimator.network, example, tuple(getattr(estimator, "keep_fp32", ())))


def _device(estimator: SplitEstimator) -> str:
    """Where the estimator's weights are."""
    return str(next((weight.device for weight in estimator.network.parameters()), torch.device("cpu")))


def probe_sample() -> Sample:
    """A grey picture with a person box and SMPL-24 joints inside it: fit to be preprocessed, not to be estimated."""
    joints = np.stack([np.linspace(40, 90, 24), np.linspace(20, 110, 24)], axis=-1)
    picture = encode_png(np.full((128, 128, 3), 128, np.uint8))
    return Sample("probe", picture, [30, 10, 100, 120], "smpl24", joints, np.ones(24))  # type: ignore[arg-type]


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
        return estimator.preprocess(sample)
    except UserError:
        raise
    except Exception as error:  # whatever a plugin raises for one sample rejects that sample
        return as_sample_error(error)


def _compute(network: LoadedNetwork, prepared: Sequence[Prepared | SampleError]) -> list[Pass]:
    """The network's outputs for the samples that could be prepared."""
    ready = [item for item in prepared if isinstance(item, Prepared)]
    return [(_run(network.call, items), items, count) for items, count in network.passes(ready)]


def _run(call: NetworkCall, items: Sequence[Prepared]) -> Mapping[str, np.ndarray]:
    batch = {name: torch.from_numpy(np.stack([item.tensors[name] for item in items])) for name in items[0].tensors}
    try:
        return {name: tensor.numpy() for name, tensor in call(batch).items()}
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the estimator's network runs out of memory with {len(items)} samples at once: lower --batch-size"
        ) from error


def _decode(
    estimator: SplitEstimator, prepared: Sequence[Prepared | SampleError], passes: Sequence[Pass]
) -> list[Result]:
    """Whole passes are decoded too: posing a body is as sensitive to the batch's size as a network."""
    decoded = (
        estimate
        for outputs, items, count in passes
        for estimate in estimator.decode(outputs, [item.context for item in items])[:count]
    )
    return [item if isinstance(item, SampleError) else next(decoded) for item in prepared]


def attempt(function: Callable[[Sequence[Sample]], Sequence[T]], batch: Sequence[Sample]) -> list[T | SampleError]:
    """Call an estimator in one piece; if it raises, sample by sample."""
    try:
        return list(function(batch))
    except UserError:
        raise
    except Exception as error:  # as above
        if len(batch) == 1:
            return [as_sample_error(error)]
        return [result for sample in batch for result in attempt(function, [sample])]


def as_sample_error(error: Exception) -> SampleError:
    """Any exception as a SampleError; a foreign one keeps its type in the text."""
    return error if isinstance(error, SampleError) else SampleError(f"{type(error).__name__}: {error}")
