"""What the network takes for one person at test time: the crop, and the 2D pose within it."""

import numpy as np

from posesyn_core.geometry.crops import apply_affine
from posesyn_core.values import FloatArray, Image
from posesyn_crowdnet.crops import Floats, View, crop_matrix, cut
from posesyn_crowdnet.joints import Names, to_superset
from posesyn_crowdnet.network import CROP, HEATMAP


def network_inputs(
    image: Image, box: FloatArray, joints: Floats, names: Names, confidence: float
) -> dict[str, FloatArray]:
    """``images`` (3, 256, 256), ``joints`` (30, 2) in 0..64 and ``joints_mask`` (30, 1) for the square ``box``.

    ``joints`` (J, 3) are x, y in pixels of the image and confidence. A joint is used if that is above ``confidence``
    and it lies in the crop; how sure it is makes no difference beyond that, as published.
    """
    place, mask = pose_in_crop(joints, names, box, confidence, image.shape[1])
    return {"images": cut(image, box), "joints": place[:, :2], "joints_mask": mask}


def pose_in_crop(
    joints: Floats, names: Names, box: FloatArray, confidence: float, width: int
) -> tuple[FloatArray, FloatArray]:
    """The 30 joints in the crop (30, 3: x, y in heatmap units, confidence), and which are used (30, 1).

    Joints that the set lacks are where the image's corner is, with confidence 0.
    """
    full = to_superset(joints, names)
    place = apply_affine(crop_matrix(box, View(), width), full[:, :2]) * (HEATMAP / CROP)
    used = (full[:, 2] > confidence) & ((place >= 0) & (place < HEATMAP)).all(1)
    return np.column_stack([place, full[:, 2]]).astype(np.float32), used[:, None].astype(np.float32)
