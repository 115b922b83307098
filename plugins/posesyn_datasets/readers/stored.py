"""Labels made on pictures as they are stored, brought onto the upright pictures that everything else sees.

A phone stores a picture as its sensor stood, and writes beside it how to turn it. Some labelling tools show it turned,
some don't, and their files rarely say. Where a file gives the picture's width and height, and the turn exchanges them,
these tell which it was; otherwise an option decides, and such pictures are counted in a warning. Of pictures at
addresses the option alone decides: to read the headers of a million would take hours before anything else is done.
"""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import define, evolve, field

from posesyn_core import option
from posesyn_core.errors import PoseSynWarning, SampleError
from posesyn_core.files.upright import UPRIGHT, Storage
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import Sample, Url

Convention = Literal["upright", "stored"]


def pixels(default: Convention) -> Any:
    """The option of readers whose labels may be in the pixels of the stored pictures."""
    return option(
        default,
        "what the labels are pixels of, where the file's image sizes don't tell: pictures turned upright by their EXIF "
        "orientation, or as they are 'stored' (pictures at addresses: this alone decides)",
    )


@define
class LabelledPixels:
    """Brings samples onto upright pictures; ``convention`` is what holds where nothing tells.

    ``undecided`` counts the pictures for which nothing did, though it matters.
    """

    convention: Convention
    undecided: int = 0
    _last: tuple[Path | Url, tuple[Any, Any], Storage | None] = field(init=False, default=(Path(), (None, None), None))

    def upright(self, sample: Sample, announced: tuple[Any, Any] = (None, None)) -> Sample:
        """The sample with box and joints in pixels of the upright picture.

        ``announced`` are the picture's width and height by the annotation file, None where it says nothing.
        """
        if isinstance(sample.image, bytes) or (isinstance(sample.image, Url) and self.convention == "upright"):
            return sample
        if self._last[:2] != (sample.image, announced):  # the people of a picture follow each other
            self._last = sample.image, announced, self._turn(sample.image, announced)
        storage = self._last[2]
        return sample if storage is None else turned(sample, storage)

    def _turn(self, image: Path | Url, announced: tuple[Any, Any]) -> Storage | None:
        """How to turn the picture's labels; None if they are as they should be."""
        from posesyn_core.files.images import storage_of  # loads OpenCV

        try:
            storage = storage_of(image)
        except SampleError:  # rejected when its pixels are read
            return None
        stored = (storage.width, storage.height)
        if storage.orientation == UPRIGHT or (storage.upright_size != stored and announced == storage.upright_size):
            return None
        if storage.upright_size != stored and announced == stored:
            return storage
        self.undecided += 1
        return storage if self.convention == "stored" else None

    def tell(self, path: Path) -> None:
        """Warn of the pictures whose annotations in the file ``path`` may be those of the stored or upright ones."""
        if self.undecided:
            other = "stored" if self.convention == "upright" else "upright"
            warnings.warn(
                f"{self.undecided} pictures of {str(path)!r} have an EXIF orientation, and nothing tells whether they "
                f"were labelled as stored or upright: taken as {self.convention}; if joints are beside people, set "
                f'pixels = "{other}"',
                PoseSynWarning,
                stacklevel=2,
            )


def turned(sample: Sample, storage: Storage) -> Sample:
    """A sample labelled on the stored picture, as it is on the upright one. Joints without a label stay 0."""
    order = storage.order(joint_set(sample.joint_set))
    confidence = sample.confidence[order]
    points = np.where(confidence[:, None] > 0, storage.points(sample.keypoints2d)[order], np.float32(0))
    return evolve(sample, box=storage.box(sample.box), keypoints2d=points, confidence=confidence)
