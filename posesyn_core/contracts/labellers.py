"""The protocols of what finds people in pictures, and their joints in 2D."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from posesyn_core.values import Detections, Image, Keypoints, Sample


@runtime_checkable
class KeypointEstimator(Protocol):
    """A 2D pose estimator: its joints can replace annotations in EEM (Table 7)."""

    joint_set: str
    """The name of the joint set that it predicts (see ``posesyn_core.geometry.skeletons``)."""

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        """The joints of the person in each sample's box. SampleError rejects, as does any other exception."""
        ...


class KeypointAbilities(Protocol):
    """Optional abilities of a 2D pose estimator."""

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """Per sample (H, W) float32: the probability (0..1) that each pixel of its upright picture shows the
        person in its box."""
        ...

    def detect_with_masks(self, samples: Sequence[Sample]) -> list[tuple[Keypoints, np.ndarray]]:
        """What ``detect`` and ``masks`` say, of one look; the filter ``keypoint_agreement`` asks for it."""
        ...


@runtime_checkable
class PersonDetector(Protocol):
    """Finds the people in pictures that have no annotations."""

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        """The people in each upright picture; those of one picture depend on that picture alone.

        SampleError rejects a picture, as does any other exception.
        """
        ...
