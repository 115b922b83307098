"""PoseSyn's core: the plugin system, the values that flow, the run. It knows no model by name.

What a plugin author imports stands here.
"""

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

__version__ = "0.1.0"

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
    "hookimpl",
    "option",
]
