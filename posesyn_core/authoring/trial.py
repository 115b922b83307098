"""Does a component keep what its protocol promises? A few samples through it, check by check, in seconds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from posesyn_core.authoring.augmenters import try_augmenter
from posesyn_core.authoring.estimators import try_captioner, try_detector, try_estimator, try_filter, try_keypoints
from posesyn_core.authoring.findings import Finding
from posesyn_core.authoring.others import try_animator, try_engine, try_motion, try_reader, try_writer
from posesyn_core.components import Kind
from posesyn_core.registry import Registry

TRIALS: Mapping[Kind, Callable[..., Iterator[Finding]]] = {
    Kind.ESTIMATOR: try_estimator,
    Kind.AUGMENTER: try_augmenter,
    Kind.KEYPOINTS: try_keypoints,
    Kind.DETECTOR: try_detector,
    Kind.CAPTIONER: try_captioner,
    Kind.MOTION: try_motion,
    Kind.ANIMATOR: try_animator,
    Kind.FILTER: try_filter,
    Kind.READER: try_reader,
    Kind.WRITER: try_writer,
    Kind.ENGINE: try_engine,
}


def trial(
    registry: Registry, kind: Kind, name: str, options: Mapping[str, Any], estimator: str | None = None
) -> Iterator[Finding]:
    """Make the component and try it on what every installation has: rendered people, a motion, a small network.

    A reader reads its own data set: name it in the ``options``. An augmenter works for the ``estimator`` of that name,
    or for one of a single number. UserError if the component can't be made.
    """

    def remake(**changes: Any) -> Any:
        return registry.create(kind, name, {**options, **changes}, f"options of the {kind} {name!r}")

    made = remake()
    yield Finding("made", note=f"{type(made).__module__}.{type(made).__qualname__}")
    others = [] if estimator is None else [registry.create(Kind.ESTIMATOR, estimator, {}, f"estimator {estimator!r}")]
    yield from TRIALS[kind](made, remake, *(others if kind is Kind.AUGMENTER else ()))
