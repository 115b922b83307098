"""Components by name, and the samples that they work on."""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

from numpy.typing import ArrayLike

from posesyn_core.components import (
    Animator,
    Captioner,
    DatasetReader,
    DatasetWriter,
    FrameFilter,
    KeypointEstimator,
    Kind,
    MotionGenerator,
    PersonDetector,
    PoseEstimator,
    SplitEstimator,
    TrainingAugmenter,
)
from posesyn_core.contracts.engines import Engine
from posesyn_core.contracts.entries import entries
from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.inference.pictures import person
from posesyn_core.registry import Registry
from posesyn_core.values import Sample


@cache
def plugins() -> Registry:
    """The installed plugins, found once."""
    return Registry.discover()


@overload
def make(kind: Literal["estimator"], name: str, **options: Any) -> PoseEstimator | SplitEstimator: ...
@overload
def make(kind: Literal["keypoints"], name: str, **options: Any) -> KeypointEstimator: ...
@overload
def make(kind: Literal["detector"], name: str, **options: Any) -> PersonDetector: ...
@overload
def make(kind: Literal["captioner"], name: str, **options: Any) -> Captioner: ...
@overload
def make(kind: Literal["motion"], name: str, **options: Any) -> MotionGenerator: ...
@overload
def make(kind: Literal["animator"], name: str, **options: Any) -> Animator: ...
@overload
def make(kind: Literal["filter"], name: str, **options: Any) -> FrameFilter: ...
@overload
def make(kind: Literal["reader"], name: str, **options: Any) -> DatasetReader: ...
@overload
def make(kind: Literal["writer"], name: str, **options: Any) -> DatasetWriter: ...
@overload
def make(kind: Literal["engine"], name: str, **options: Any) -> Engine: ...
@overload
def make(kind: Literal["augmenter"], name: str, **options: Any) -> TrainingAugmenter: ...
@overload
def make(kind: str, name: str, **options: Any) -> Any: ...
def make(kind: str, name: str, **options: Any) -> Any:
    """Make a component by its kind and name, with the options of its recipe section.

    ``make("estimator", "hmr2", weights="epoch=35.ckpt")`` is what ``[estimator]`` makes of the same keys; paths may be
    ``Path``. ``posesyn plugins`` lists kinds and names. UserError for an unknown one, a wrong option or a missing need.
    """
    if kind not in list(Kind):
        raise UserError(f"there is no kind of component {kind!r}; the kinds are {', '.join(Kind)}")
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    return plugins().create(Kind(kind), name, plain, f"make({kind!r}, {name!r})")


def read_samples(reader: str, **options: Any) -> Iterator[Sample]:
    """The samples of a data set, in its order; a broken entry is told as a warning.

    ``reader`` is a component by name ("folder", "coco", "3dpw", ...), ``options`` are its own (``root="/data/coco"``).
    """
    for entry in entries(make("reader", reader, **options)):
        if isinstance(entry, Sample):
            yield entry
        else:
            warnings.warn(f"{entry[0]} is left out: {entry[1]}", PoseSynWarning, stacklevel=2)


def load_sample(
    image: Path | str | bytes,
    box: Sequence[float] | None = None,
    keypoints: ArrayLike | None = None,
    joints: str = SMPL24.name,
) -> Sample:
    """One person in one picture, ready to be estimated.

    ``box`` is x0, y0, x1, y1 in pixels; left out, it is that of the ``keypoints``, else the whole picture.
    ``keypoints`` (J, 3) are the person's 2D labels: x, y in pixels and a confidence (0 = not labelled), in the joint
    set ``joints``. SampleError if the picture can't be read, the box lies outside it, or the keypoints are of another
    shape.
    """
    source = image if isinstance(image, bytes) else Path(image)
    name = "picture/0" if isinstance(source, bytes) else f"{source.name}/0"
    height, width = load_image(source).shape[:2]
    sample = person(name, source, box, keypoints, joints)
    check_box(sample.box, width, height)
    return sample
