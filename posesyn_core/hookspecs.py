"""Every hook, on one page: the plugin author's manual.

A plugin is a module with functions marked ``@hookimpl``, named by an entry point in the group ``posesyn``::

    [project.entry-points.posesyn]
    my_estimator = "my_package.plugin"

The module is imported whenever ``posesyn`` starts, so it must import nothing heavy: import torch and similar libraries
inside the factory. All hooks are optional. Each ``register_*`` hook returns a list of
:class:`~posesyn_core.components.Component`; brackets give the protocol that the factory's product must implement.
"""

from typing import TYPE_CHECKING, Any

import pluggy

from posesyn_core.components import Component
from posesyn_core.contracts.worlds import World
from posesyn_core.geometry.skeletons import JointSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import click

hookspec = pluggy.HookspecMarker("posesyn")
hookimpl = pluggy.HookimplMarker("posesyn")


@hookspec
def register_estimators() -> list[Component]:  # type: ignore[empty-body]
    """Pose estimators [PoseEstimator, SplitEstimator or TrainableEstimator]: image -> 3D pose."""


@hookspec
def register_augmenters() -> list[Component]:  # type: ignore[empty-body]
    """Augmenters [TrainingAugmenter]: frames and the estimator in training -> batches, epoch by epoch."""


@hookspec
def register_keypoint_estimators() -> list[Component]:  # type: ignore[empty-body]
    """2D pose estimators [KeypointEstimator]: image -> 2D joints, used in place of annotations."""


@hookspec
def register_detectors() -> list[Component]:  # type: ignore[empty-body]
    """Person detectors [PersonDetector]: pictures -> boxes of the people in them."""


@hookspec
def register_captioners() -> list[Component]:  # type: ignore[empty-body]
    """Captioners [Captioner]: image and pseudo-label pose -> one sentence."""


@hookspec
def register_motion_generators() -> list[Component]:  # type: ignore[empty-body]
    """Motion generators [MotionGenerator]: sentence and pose -> motion."""


@hookspec
def register_animators() -> list[Component]:  # type: ignore[empty-body]
    """Animators [Animator]: reference image and planned bodies -> frames."""


@hookspec
def register_filters() -> list[Component]:  # type: ignore[empty-body]
    """Frame filters [FrameFilter]: keep a frame or drop it with a reason."""


@hookspec
def register_readers() -> list[Component]:  # type: ignore[empty-body]
    """Data-set readers [DatasetReader]: files on disk -> samples."""


@hookspec
def register_writers() -> list[Component]:  # type: ignore[empty-body]
    """Data-set writers [DatasetWriter]: kept frames -> training files."""


@hookspec
def register_engines() -> list[Component]:  # type: ignore[empty-body]
    """Engines [Engine]: run a network (eager torch, ONNX Runtime, TensorRT)."""


@hookspec
def register_joint_sets() -> list[JointSet]:  # type: ignore[empty-body]
    """Custom joint sets: names, kinematic tree, root, and which joints correspond to joints of other sets.

    Estimators, 2D estimators and data sets can then refer to them by name. Called once, when the plugin is loaded. The
    plugin fails if another joint set already has the name.
    """


@hookspec
def register_commands(cli: "click.Group") -> None:
    """Add commands to the ``posesyn`` command line; called once, when the command line starts."""


@hookspec
def register_worlds() -> "dict[str, Callable[[], World]]":  # type: ignore[empty-body]
    """Base recipes for ``posesyn experiment --world NAME``, by name; each is created when it is first used."""


@hookspec
def register_experiments() -> "dict[str, Callable[[Any, Sequence[int]], Sequence[Any]]]":  # type: ignore[empty-body]
    """Additional tables for ``posesyn experiment NAME``, by name.

    Each function is called with a ``posesyn_core.experiments.runner.Laboratory`` and the seeds. It does or resumes the
    runs it needs in the laboratory's folder, and returns what to print: ``rich`` tables or strings.
    """


@hookspec
def stage_started(run: "Path", stage: str) -> None:
    """Called when a stage of the run in folder ``run`` begins (for experiment trackers)."""


@hookspec
def stage_finished(run: "Path", stage: str, summary: dict[str, Any]) -> None:
    """Called when a stage ends; ``summary`` holds its counts and figures."""


@hookspec
def training_stepped(run: "Path", variant: str, metrics: dict[str, float]) -> None:
    """Called after a training step: its number, learning rate, loss terms and, where measured, ``validation``."""
