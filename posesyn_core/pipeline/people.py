"""The reference people of a run, as its table ``references`` holds them."""

from attrs import frozen

from posesyn_core.values import FloatArray, PoseEstimate, Sample, array


@frozen
class Reference:
    """A reference person: the sample, and the whole body that is animated.

    Somebody whom the animator brings may have a ``skeleton`` of other proportions than the run's body.
    """

    sample: Sample
    estimate: PoseEstimate
    skeleton: FloatArray | None = array((24, 3), "joints of the T-pose, metres, y up", optional=True)
