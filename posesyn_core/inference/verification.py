"""Is an engine right, and how fast is it? Its results against those of eager torch in float32.

An estimator is judged by its joints on rendered people, in 3D and as projected: largest distance in mm in float32,
mean one in half precision. Where float32 itself is coarser than that limit, for eager torch as for anybody (a network
that looks where an earlier look told it magnifies the last digits), the distance of eager torch from float64 counts.
A motion generator is judged by its tokens: it draws a few motions with eager torch, and at every step the engine gets
the same inputs. Other networks are judged by their outputs on their examples.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attrs import define, frozen
from numpy.typing import NDArray
from torch import Tensor

from posesyn_core.components import Kind, MotionGenerator, SplitEstimator
from posesyn_core.contracts.engines import Accelerated, Engine, EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.batches import LoadedNetwork, load_network, loaded
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.errors import SampleError, UserError
from posesyn_core.inference.predict import exportable, predict
from posesyn_core.inference.probe import probe_requests, probe_samples
from posesyn_core.registry import Registry
from posesyn_core.values import PoseEstimate, Sample

MM = 1000.0
JOINT_TOLERANCE = 0.1
HALF_JOINT_TOLERANCE = 2.0
"""mm; of the largest difference in float32, of the mean one in half precision."""
ROUNDINGS = 2.0
"""Times as far from eager float32 as that is from float64 may another float32 be: both round, in ways of their own."""
HALF_TOKEN_TOLERANCE = 1.0
"""Per cent of the tokens that may differ in half precision; none in float32."""
OUTPUT_TOLERANCE, HALF_OUTPUT_TOLERANCE = 0.1, 2.0
"""Per cent of the largest output; of the largest difference in float32, of the mean one in half precision."""
ROUNDS = 3
Clock = Callable[[], float]


@frozen
class Agreement:
    """How far an engine is from eager torch: in words, and the number that it is judged by with its limit."""

    text: str
    error: float
    tolerance: float
    unit: str

    @property
    def accepted(self) -> bool:
        """Whether the error is within the tolerance; one that is no number is not."""
        return self.error <= self.tolerance

    def require(self, name: str) -> None:
        """UserError, naming the engine by ``name``, if it is not accepted."""
        if not self.accepted:
            raise UserError(
                f"{name} is refused: {self.text}, and {self.tolerance:g} {self.unit} are allowed; take precision "
                f"'fp32' or another engine, or allow more with the engine's key 'tolerance'"
            )


@frozen
class Subject:
    """A component with the networks that an engine can take over."""

    kind: Kind
    name: str
    component: Any
    networks: tuple[ExportableModule, ...]


def subject(registry: Registry, name: str, options: Mapping[str, Any]) -> Subject:
    """Make the estimator, motion generator or animator ``name``; UserError if there is none or it has no network."""
    kinds = (Kind.ESTIMATOR, Kind.MOTION, Kind.ANIMATOR)
    kind = next((kind for kind in kinds if (kind, name) in registry.components), Kind.ESTIMATOR)
    component = registry.create(kind, name, options, f"options of {name}")
    return Subject(kind, name, component, networks_of(name, component))


def networks_of(name: str, component: Any) -> tuple[ExportableModule, ...]:
    """The networks of a component; UserError if an engine can't take any over."""
    if isinstance(component, SplitEstimator):
        return (exportable(name, component),)
    if isinstance(component, Accelerated):
        return tuple(component.networks())
    raise UserError(f"{name!r} has no network that an engine could run: leave out its engine")


def load(networks: Sequence[ExportableModule], engine: Engine) -> dict[str, LoadedNetwork]:
    """All networks on an engine, by name: an estimator's one for its passes, others for any batch."""
    return {network.name: LoadedNetwork(loaded(engine, network), engine.config.batch) for network in networks}


def verify(checked: Subject, engine: Engine, tolerance: float | None = None) -> Agreement:
    """Load the networks on ``engine`` and compare. The component is left running on it."""
    if isinstance(checked.component, SplitEstimator):
        network = load_network(engine, checked.networks[0])
        return verify_estimator(checked.component, network, engine.config.precision, tolerance)
    calls = load(checked.networks, engine)
    return verify_accelerated(checked.component, checked.networks, calls, engine.config.precision, tolerance)


def verify_estimator(
    estimator: SplitEstimator, network: LoadedNetwork, precision: str, tolerance: float | None = None
) -> Agreement:
    """Compare the joints on the probe pictures; ``tolerance`` in mm. UserError if the estimator takes none of them."""
    samples = probe_samples()
    eager = load_network(TorchEngine(EngineConfig()), exportable("eager", estimator))
    [expected] = predict(estimator, [samples], network=eager)
    [found] = predict(estimator, [samples], network=network)
    pairs = [(a, b) for a, b in zip(expected, found, strict=True) if isinstance(a, PoseEstimate)]
    if not pairs:
        raise UserError(f"an engine can't be checked: the estimator rejects the probe pictures ({expected[0]})")
    rejected = [b for _, b in pairs if isinstance(b, SampleError)]
    if rejected:
        return Agreement(f"it fails on a probe picture ({rejected[0]})", np.nan, tolerance or 0.0, "mm")
    distance = _distances([(a, b) for a, b in pairs if isinstance(b, PoseEstimate)])
    largest, mean = float(distance.max()), float(distance.mean())
    text = f"joints differ by {largest:.4f} mm at most, {mean:.4f} mm on average"
    error = largest if precision == "fp32" else mean
    limit = _limit(tolerance, precision, JOINT_TOLERANCE, HALF_JOINT_TOLERANCE)
    if precision == "fp32" and tolerance is None and limit < largest <= HALF_JOINT_TOLERANCE:
        own = _rounding(estimator, samples, expected)
        text += f"; eager float32 is {own:.4f} mm from float64 itself"
        limit = min(max(limit, ROUNDINGS * own), HALF_JOINT_TOLERANCE)
    return Agreement(text, error, limit, "mm")


def _rounding(
    estimator: SplitEstimator, samples: Sequence[Sample], eager: Sequence[PoseEstimate | SampleError]
) -> float:
    """How far at most the joints that eager float32 says are from those of the same network in float64, mm.

    0 for a network that can't compute in float64: nothing is known of its rounding then.
    """
    module = exportable("float64", estimator)
    exact = copy.deepcopy(module.module).eval().to("cpu", torch.float64)

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            wide = {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}
            return {name: t.float() if t.is_floating_point() else t for name, t in exact(**wide).items()}

    try:
        [found] = predict(estimator, [samples], network=LoadedNetwork(call, EngineConfig().batch))
    except RuntimeError:  # its own tensors of float32 meet those of float64
        return 0.0
    pairs = [(a, b) for a, b in zip(eager, found, strict=True) if isinstance(a, PoseEstimate)]
    return float(_distances([(a, b) for a, b in pairs if isinstance(b, PoseEstimate)]).max(initial=0.0))


def _distances(pairs: Sequence[tuple[PoseEstimate, PoseEstimate]]) -> NDArray[np.float64]:
    """How far apart the joints of two estimates are: (N, J) mm, in 3D or as projected, whichever is more.

    A pixel is as many mm as the expected body's joints, spread over the picture, say. A joint that neither knows
    agrees, one that only one of them knows is infinitely far off.
    """
    joints = np.array([[a.joints3d, b.joints3d] for a, b in pairs], np.float64) * MM
    pixels = np.array([[a.joints2d, b.joints2d] for a, b in pairs], np.float64)
    scale = _extent(joints[:, 0, :, :2]) / _extent(pixels[:, 0])
    return np.maximum(_apart(joints), _apart(pixels) * scale[:, None])


def _extent(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the longer side of the box about the known ones of points (N, J, 2)."""
    return (np.nanmax(points, axis=1) - np.nanmin(points, axis=1)).max(-1)


def _apart(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, J) distances between pairs (N, 2, J, D); 0 where both are unknown, infinite where one of them is."""
    unknown = np.asarray(np.isnan(pairs).any(-1))
    distances = np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=-1)
    return np.where(unknown.all(1), 0.0, np.where(unknown.any(1), np.inf, distances))


def verify_accelerated(
    component: Any,
    networks: Sequence[ExportableModule],
    calls: Mapping[str, NetworkCall],
    precision: str,
    tolerance: float | None = None,
) -> Agreement:
    """Compare tokens (or, without any, outputs), ``tolerance`` in per cent; then let the component use ``calls``."""
    eager = TorchEngine(EngineConfig(batch=(1, 10**9)))
    pairs = {network.name: Comparison(eager.load(network), calls[network.name]) for network in networks}
    if isinstance(component, MotionGenerator):
        component.use(pairs)  # type: ignore[attr-defined]
        component.generate(probe_requests())
    else:
        for network in networks:
            pairs[network.name](network.example)
    component.use(calls)
    return _judge(list(pairs.values()), precision, tolerance)


@define
class Comparison:
    """A network call that computes everything twice, returns what eager torch says, and counts what differs."""

    eager: NetworkCall
    engine: NetworkCall
    tokens: int = 0
    differing: int = 0
    largest: float = 0.0
    mean: float = 0.0

    def __call__(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        expected, found = self.eager(tensors), self.engine(tensors)
        for name, tensor in expected.items():
            if name == "logits":
                self.tokens += len(tensor)
                self.differing += int((tensor.argmax(-1) != found[name].argmax(-1)).sum())
            scale = float(tensor.abs().max()) or 1.0
            difference = (tensor - found[name]).abs() / scale
            self.largest = _worse(self.largest, float(difference.max()))
            self.mean = _worse(self.mean, float(difference.mean()))
        return expected


def _worse(one: float, other: float) -> float:
    """The larger error; one that is no number is the worst of all."""
    return float(np.maximum(one, other))


def _judge(pairs: Sequence[Comparison], precision: str, tolerance: float | None) -> Agreement:
    largest = 100 * float(np.max([pair.largest for pair in pairs]))
    mean = 100 * float(np.max([pair.mean for pair in pairs]))
    outputs = f"outputs differ by {largest:.4f} % of their range at most, {mean:.4f} % on average"
    tokens, differing = sum(pair.tokens for pair in pairs), sum(pair.differing for pair in pairs)
    if not tokens or not np.isfinite(largest):
        error = largest if precision == "fp32" else mean
        return Agreement(outputs, error, _limit(tolerance, precision, OUTPUT_TOLERANCE, HALF_OUTPUT_TOLERANCE), "%")
    text = f"{tokens - differing} of {tokens} tokens agree; {outputs}"
    return Agreement(text, 100 * differing / tokens, _limit(tolerance, precision, 0.0, HALF_TOKEN_TOLERANCE), "%")


def _limit(tolerance: float | None, precision: str, full: float, half: float) -> float:
    if tolerance is not None:
        return tolerance
    return full if precision == "fp32" else half


@frozen
class Timing:
    """One line of a benchmark: ``rate`` samples per second, ``latency`` ms of a call, ``ratio`` to eager float32."""

    network: str
    engine: str
    batch: int
    rate: float
    latency: float
    ratio: float


def bench(
    network: ExportableModule,
    engines: Mapping[str, Engine],
    sizes: Sequence[int],
    seconds: float = 1.0,
    clock: Clock = time.perf_counter,
) -> tuple[list[Timing], dict[str, str]]:
    """Time every engine on every batch size, in turns, ``seconds`` each; the median of :data:`ROUNDS` rounds counts.

    The first of ``engines`` is what the ratios refer to. Also returns why engines that can't run the network are left
    out. On a busy machine ``time.process_time`` as ``clock`` counts what one thread computes, whoever else is there.
    """
    calls: dict[str, NetworkCall] = {}
    refused: dict[str, str] = {}
    for name, engine in engines.items():
        try:
            calls[name] = loaded(engine, network)
        except UserError as error:
            refused[name] = str(error)
    return [timing for size in sizes for timing in _round(network, calls, size, seconds, clock)], refused


def bench_seconds(networks: int, engines: int, sizes: Sequence[int], seconds: float) -> float:
    """How long :func:`bench` takes at least, without loading and compiling."""
    return networks * engines * len(sizes) * seconds


def recommended(
    checked: Subject, engines: Mapping[str, Engine], timings: Sequence[Timing]
) -> tuple[str, float, Agreement] | None:
    """The fastest of the timed ``engines`` whose results are eager torch's: its name, how many times as fast as eager
    float32 it is, and the agreement.

    What counts is the time for a sample in the largest batch, over all of the component's networks; the first engine
    is eager float32 itself. None if nothing is both faster and right.
    """
    largest = max(timing.batch for timing in timings)
    seconds: dict[str, list[float]] = {}
    for timing in timings:
        if timing.batch == largest:
            seconds.setdefault(timing.engine, []).append(1 / timing.rate)
    whole = {name: sum(each) for name, each in seconds.items() if len(each) == len(checked.networks)}
    reference = whole.pop(next(iter(engines)))
    for name in sorted((name for name in whole if whole[name] < reference), key=whole.__getitem__):
        try:
            agreement = verify(checked, engines[name])
        except UserError:  # what it puts out is no pose at all
            continue
        if agreement.accepted:
            return name, reference / whole[name], agreement
    return None


def _round(
    network: ExportableModule, calls: Mapping[str, NetworkCall], size: int, seconds: float, clock: Clock
) -> Iterator[Timing]:
    batch = {name: tensor[:1].repeat(size, *[1] * (tensor.ndim - 1)) for name, tensor in network.example.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(batch)  # compilers specialise on the batch's size
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(_seconds_of(call, batch, seconds / ROUNDS, clock))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        yield Timing(network.name, name, size, size / median, 1000 * median, first / median)


def _seconds_of(call: NetworkCall, batch: Mapping[str, Tensor], budget: float, clock: Clock) -> float:
    """Mean seconds of a call; outputs are on the CPU, so that a GPU has finished too."""
    count, started = 0, clock()
    while True:
        call(batch)
        count += 1
        elapsed = clock() - started
        if elapsed >= budget:
            return elapsed / count


def present_engines(registry: Registry, options: Mapping[str, Any]) -> tuple[dict[str, Engine], dict[str, str]]:
    """Every engine that this machine has, with ``options``, and why the others are missing.

    Eager torch in float32 comes first, whatever the precision in ``options``.
    """
    reference = {**options, "precision": "fp32"}
    engines: dict[str, Engine] = {"torch": registry.create(Kind.ENGINE, "torch", reference, "engine torch")}
    missing: dict[str, str] = {}
    for name in (registered.component.name for registered in registry.of_kind(Kind.ENGINE)):
        label = name if options["precision"] == "fp32" else f"{name} {options['precision']}"
        try:
            engines.setdefault(label, registry.create(Kind.ENGINE, name, options, f"engine {name}"))
        except UserError as error:
            missing[name] = str(error)
    return engines, missing


def batch_sizes(text: str) -> list[int]:
    """ "1,8,32" as numbers; UserError if they are none."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(f"batch sizes must be whole numbers with commas, such as 1,8,32, not {text!r}")
    return sizes
