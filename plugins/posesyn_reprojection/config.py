"""Options of the animator ``reprojection``."""

from attrs import frozen

from posesyn_core import option
from posesyn_core.components import KeypointEstimator


@frozen
class ReprojectionConfig:
    """The re-projection animator."""

    body: str = option("", "the SMPL file (.npz or official .pkl) of the plan's bodies; empty = the free body")
    references: int = option(
        16, "how many reference people are kept in memory, ready to be posed", least=1, most=100_000
    )
    resolution: int = option(
        640, "longest side, in pixels, at which a person is drawn; larger ones are enlarged", least=16, most=4096
    )
    masks: KeypointEstimator | None = option(
        None,
        "a 2D estimator that says which pixels are the person, as 'blazepose' does; it keeps people who overlap apart, "
        "and is best on photographs; unset = the outline is found by colour (GrabCut)",
    )
