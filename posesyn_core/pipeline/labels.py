"""What Eq. 1 compares the estimator with: annotations, or another estimator's joints in their place (Table 7)."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import KeypointEstimator, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.joints import known_joints
from posesyn_core.inference.labelling import LEAST_CONFIDENCE
from posesyn_core.inference.predict import attempt, predict
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.values import Keypoints, Sample


@frozen(eq=False)
class Label:
    """One sample's joints: ``points`` (J, 2) in pixels of the image or (J, 3) in metres, ``visible`` (J,)."""

    points: NDArray[np.floating]
    visible: NDArray[np.bool_]
    joint_set: str


Labels = Callable[[Sequence[Sample]], "list[Label | SampleError]"]


def labels_of(run: Run) -> Labels:
    """The function that gives the labels of samples as the recipe wants them.

    UserError if the recipe wants estimated labels but names no ``labeller``, or 3D ones of a 2D estimator.
    """
    kind, choice = run.recipe.score.labels, run.recipe.labeller
    if kind == "ground_truth":
        return annotated
    if choice is None:
        raise UserError(f"score.labels = {kind!r} needs [labeller]: the component whose joints replace the annotations")
    if (Kind.KEYPOINTS, choice.name) in run.registry.components:
        if kind == "estimated_3d":
            raise UserError(f"the labeller {choice.name!r} estimates 2D joints only; set score.labels = 'estimated_2d'")
        detector: KeypointEstimator = run.create(Kind.KEYPOINTS, choice, "labeller")
        return partial(_detected, detector)
    return _estimated(run, choice, kind == "estimated_3d")


def annotated(samples: Sequence[Sample]) -> list[Label | SampleError]:
    """The samples' own 2D labels."""
    return [Label(sample.keypoints2d, sample.confidence > 0, sample.joint_set) for sample in samples]


def _detected(detector: KeypointEstimator, samples: Sequence[Sample]) -> list[Label | SampleError]:
    return [
        found
        if isinstance(found, SampleError)
        else Label(found.points, found.confidence >= LEAST_CONFIDENCE, detector.joint_set)
        for found in attempt(detector.detect, samples, Keypoints)
    ]


def _estimated(run: Run, choice: Choice, in_3d: bool) -> Labels:
    """Another TPE's joints."""
    estimator = run.create(Kind.ESTIMATOR, choice, "labeller")
    network = run.network(choice, estimator, "labeller")

    def label(samples: Sequence[Sample]) -> list[Label | SampleError]:
        (found,) = predict(estimator, [samples], network=network, workers=run.recipe.machine.workers)
        return [
            e
            if isinstance(e, SampleError)
            else Label(e.joints3d if in_3d else e.joints2d, known_joints(e, 3 if in_3d else 2), e.joint_set)
            for e in found
        ]

    return label
