"""From people in pictures to a lifter's 2D on the normalised screen, and from its 3D back into the picture."""

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.files.images import read_encoded, upright_size
from posesyn_core.geometry.skeletons import convert, joint_set
from posesyn_core.values import Camera, EncodedImage
from posesyn_poseaug.camera import to_screen
from posesyn_poseaug.joints import SMPL16

FOCAL = 2.29 / 2
"""Human3.6M's focal length in widths of the picture, for people whose camera is unknown."""
MARGIN = 0.05
"""A joint further outside the picture than this share of its width is no observation."""
STAND_INS = SMPL16.name
"""Where a joint set lacks Human3.6M's spine, thorax or head, SMPL's spine2, neck and head stand for them, much as
PoseAug takes SPIN's spine and neck on 3DHP."""


@frozen(eq=False)
class Seen:
    """Sixteen joints in a picture: pixels (16, 2), on the normalised screen (16, 2), and the camera that saw them."""

    pixels: NDArray[np.float32]
    screen: NDArray[np.float32]
    camera: Camera
    size: tuple[float, float]


def picture_size(image: EncodedImage, camera: Camera | None) -> tuple[float, float]:
    """Width and height of the picture, from its header; without a picture, twice the camera's principal point.

    SampleError if there is neither.
    """
    if image != b"":
        return upright_size(read_encoded(image))
    if camera is None:
        raise SampleError("there is neither a picture nor a camera: the size of the screen is unknown")
    width, height = (2 * float(value) for value in camera.principal_point)
    if not (width > 0 and height > 0):
        raise SampleError(f"the camera's principal point is at {width / 2:g}, {height / 2:g}: no middle of a picture")
    return width, height


def see(
    points: NDArray[Any], known: NDArray[np.bool_], source: str, own: str, image: EncodedImage, camera: Camera | None
) -> Seen:
    """Joints of the set ``source`` in pixels as a lifter of the set ``own`` takes them.

    SampleError naming what is missing, or the joint that lies outside the picture.
    """
    pixels, labelled = sixteen(points, known, source, own)
    names = joint_set(own).joints
    if not labelled.all():
        missing = ", ".join(name for name, there in zip(names, labelled, strict=True) if not there)
        raise SampleError(f"a lifter needs all its joints in 2D; missing here: {missing}")
    width, height = picture_size(image, camera)
    slack = MARGIN * width
    outside = ((pixels < -slack) | (pixels > np.array([width, height]) + slack)).any(1)
    if outside.any():
        at = int(outside.argmax())
        raise SampleError(f"the {names[at]} lies outside the picture, at {pixels[at, 0]:.0f}, {pixels[at, 1]:.0f}")
    screen = to_screen(pixels.astype(np.float32), width, height)
    centre = np.array([width / 2, height / 2], np.float32)
    return Seen(pixels, screen, camera or Camera(np.full(2, FOCAL * width, np.float32), centre), (width, height))


def sixteen(
    points: NDArray[Any], known: NDArray[np.bool_] | None, source: str, own: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Joints (J, D) of a set as the lifter's (16, D) and which are known, with stand-ins for the trunk's."""
    found, labelled = convert(points, known, source, own)
    if not labelled.all():
        others, there = convert(points, known, source, STAND_INS)
        found, labelled = np.where(labelled[:, None], found, others), labelled | there
    return found.astype(np.float32), labelled


def place(joints: NDArray[np.floating], pixels: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """The translation (3,) metres with which joints (J, 3) come nearest to where they are seen (J, 2), in the sense of
    linear least squares in x - X z / f. SampleError if that puts them at or behind the camera."""
    ray = (np.asarray(pixels, np.float64) - camera.principal_point) / camera.focal_length
    solid = np.array(joints, np.float64)
    rows = np.zeros((len(solid), 2, 3))
    rows[:, 0, 0] = rows[:, 1, 1] = 1
    rows[:, :, 2] = -ray
    wanted = ray * solid[:, 2:] - solid[:, :2]
    found = np.linalg.lstsq(rows.reshape(-1, 3), wanted.reshape(-1), rcond=None)[0]
    if not np.isfinite(found).all() or (solid[:, 2] + found[2]).min() <= 0:
        raise SampleError("the pose fits its 2D joints only at or behind the camera")
    return np.asarray(found, np.float64)
