"""What PoseSyn needs to know of your estimator."""

import numpy as np
from attrs import frozen

from posesyn_core import Camera, Component, Kind, PoseEstimate, Prepared, hookimpl


@frozen
class Config:
    """No options; add yours with posesyn_core.option(default, doc)."""


class Estimator:
    def __init__(self, config):
        from my_estimator.network import Network  # heavy imports happen here, not at the top

        self.network = Network()

    def preprocess(self, sample):
        from posesyn_core.files.images import load_image
        from posesyn_core.geometry.crops import crop, square

        pixels, _ = crop(load_image(sample.image), sample.box, 96, margin=1.2)
        tensors = {"crop": pixels.transpose(2, 0, 1).astype(np.float32) / 255}
        return Prepared(tensors, context=square(sample.box, margin=1.2))

    def decode(self, outputs, contexts):
        return [estimate(joints, *context) for joints, context in zip(outputs["joints3d"], contexts, strict=True)]


def estimate(joints3d, centre, side):
    camera = Camera([5000 / 96 * side] * 2, centre)  # far away, so that the crop is 2 m high
    away = joints3d + np.array([0, 0, 2 * 5000 / 96])
    joints2d = camera.focal_length * away[:, :2] / away[:, 2:] + camera.principal_point
    return PoseEstimate(joints3d, joints2d, camera)


@hookimpl
def register_estimators():
    return [Component(Kind.ESTIMATOR, "mine", "My own estimator", Estimator, Config)]
