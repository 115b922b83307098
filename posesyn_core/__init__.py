"""PoseSyn's core: the plugin system, the data classes that stages exchange, and runs. It knows no model by name.

Import from here what a plugin needs, and the functions of the Python interface, which are loaded on first use:

========================  ========================================================================================
:func:`load_image`        a picture, uint8 RGB, upright
:func:`load_sample`       one person in one picture
:func:`read_samples`      the samples of a data set
:func:`make`              a component by kind and name, with its options
:func:`estimate`          the poses that an estimator finds
:func:`score`             their errors against 2D labels (Eq. 1)
:func:`generate`          a motion from a text, a pose or both (Eq. 5)
:func:`plan`              the motion transferred to the person in a picture (Eq. 7-9)
:func:`draw`              the frames of a plan
:func:`judge`             which frames the filter keeps (Eq. 6)
:func:`run`               all stages of a recipe
:func:`open_run`          a run's results as tables and arrays
========================  ========================================================================================
"""

import importlib
from typing import TYPE_CHECKING, Any

from posesyn_core.components import Component, Kind, Need
from posesyn_core.contracts.options import option
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.skeletons import JointSet
from posesyn_core.hookspecs import hookimpl
from posesyn_core.values import (
    Camera,
    ClipPlan,
    LabelledFrame,
    Motion,
    MotionRequest,
    PoseEstimate,
    Prepared,
    Sample,
    ScoredSample,
    SmplParams,
    Verdict,
)

if TYPE_CHECKING:
    from posesyn_core.files.images import load_image
    from posesyn_core.interface.making import load_sample, make, read_samples
    from posesyn_core.interface.method import draw, estimate, generate, judge, plan, score
    from posesyn_core.interface.runs import open_run, run

__version__ = "0.1.0"

_LAZY = {
    "files.images": ("load_image",),
    "interface.making": ("load_sample", "make", "read_samples"),
    "interface.method": ("draw", "estimate", "generate", "judge", "plan", "score"),
    "interface.runs": ("open_run", "run"),
}
"""The functions of Python's interface by module; they need torch and more."""


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Camera",
    "ClipPlan",
    "Component",
    "JointSet",
    "Kind",
    "LabelledFrame",
    "Motion",
    "MotionRequest",
    "Need",
    "PoseEstimate",
    "Prepared",
    "Sample",
    "SampleError",
    "ScoredSample",
    "SmplParams",
    "UserError",
    "Verdict",
    "draw",
    "estimate",
    "generate",
    "hookimpl",
    "judge",
    "load_image",
    "load_sample",
    "make",
    "open_run",
    "option",
    "plan",
    "read_samples",
    "run",
    "score",
]
