"""Joints of a 2D pose estimator in the place of annotations."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from attrs import evolve

from posesyn_core.components import KeypointEstimator
from posesyn_core.errors import SampleError
from posesyn_core.inference.predict import attempt
from posesyn_core.values import Keypoints, Sample, SampleOrRejection

LEAST_CONFIDENCE = 0.3
"""A joint that a 2D estimator is less sure of counts as not labelled."""
TOGETHER = 16
"""People that a labeller looks at together."""


def with_labels(entries: Iterable[SampleOrRejection], labeller: KeypointEstimator) -> Iterator[SampleOrRejection]:
    """The samples with the joints that ``labeller`` sees as their 2D labels, in its joint set; rejections pass.

    Somebody whom it can't look at, or no joint of whom it is sure enough of, becomes (id, reason).
    """
    remaining = iter(entries)
    while group := list(islice(remaining, TOGETHER)):
        samples = [entry for entry in group if isinstance(entry, Sample)]
        found = iter(attempt(labeller.detect, samples, Keypoints))
        for entry in group:
            yield _labelled(entry, next(found), labeller.joint_set) if isinstance(entry, Sample) else entry


def _labelled(sample: Sample, found: Keypoints | SampleError, joint_set: str) -> SampleOrRejection:
    if isinstance(found, SampleError):
        return sample.id, f"the labeller: {found}"
    sure = found.confidence >= LEAST_CONFIDENCE
    if not sure.any():
        return sample.id, "the labeller is sure of no joint of this person"
    points, confidence = np.where(sure[:, None], found.points, 0), np.where(sure, found.confidence, 0)
    return evolve(sample, joint_set=joint_set, keypoints2d=points, confidence=confidence)
