"""A labelled person, as the official training files describe one."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.values import EncodedImage, FileSlice, FloatArray


@frozen(eq=False)
class Person:
    """One labelled person, wherever the labels come from: a frame of ours, or an entry of an official file.

    ``keypoints_2d`` (44, 3) are x, y in pixels and confidence; ``keypoints_3d`` (44, 4) x, y, z in metres, camera axes,
    from any origin, and confidence (joint 39 is needed in any case: it is the root of the loss). ``center`` (2,) and
    ``extent`` (2: width, height) of the box in pixels. ``body_pose`` (72,) axis-angle of all 24 joints, the root's
    first; ``betas`` (10,). ``mask`` (H, W) bool is the person's silhouette, and ``reprojection_loss`` says how well
    the body was fitted, where a file has them. ``pose_alone``: the pose is true, and there is nothing to say of shape.
    """

    id: str
    image: EncodedImage | FileSlice
    keypoints_2d: FloatArray
    keypoints_3d: FloatArray
    center: NDArray[np.floating]
    extent: NDArray[np.floating]
    body_pose: FloatArray
    betas: FloatArray
    has_body_pose: bool
    has_betas: bool
    mask: NDArray[np.bool_] | None = None
    reprojection_loss: float = 0.0
    pose_alone: bool = False
