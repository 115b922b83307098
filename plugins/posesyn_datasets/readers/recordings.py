"""Recordings as the official releases of Human3.6M and MPI-INF-3DHP hold them: one camera's video, joints per frame.

The frames are decoded from the video, or lie beside each other as pictures that were extracted before. The camera is
fitted to the recording's own 2D and 3D joints by least squares, as mmpose does for MPI-INF-3DHP's test set: the
official calibrations lie in other archives, in other forms, and an ideal pinhole fits the joints best this way where
the lens distorts.
"""

from collections.abc import Iterator

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.files.films import decoded, fault
from posesyn_core.files.locating import Pictures
from posesyn_core.values import Camera, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each
from posesyn_datasets.readers.checks import Floats, pinhole
from posesyn_datasets.readers.npz3d import person
from posesyn_datasets.readers.video import JPEG_QUALITY

FITTED = 200
"""Frames that the camera is fitted to, spread over the recording."""
WORST_FIT = 0.05
"""Median distance of the projected joints from their labels, as a share of these' extent: more, and they don't belong
together. A lens' distortion is below 0.01."""


@frozen(eq=False)
class Recording:
    """One person before one camera in N frames.

    ``name`` is that of the frames, which are numbered from 1 behind it; ``labels`` (N, J, 3) x, y in pixels and
    confidence; ``joints`` (N, J, 3) metres, camera frame, to which the camera is fitted. ``truth`` (N, J, 3) is what
    samples have as theirs, by default the same. Below the folder ``files``, the frames are in ``video``, or else where
    ``pictures`` (a name with a format field for the number) says.
    """

    name: str
    labels: Floats
    joints: Floats
    joint_set: str
    files: Pictures
    video: str = ""
    pictures: str = ""
    truth: Floats = field()

    @truth.default
    def _joints(self) -> Floats:
        return self.joints


def fitted_camera(joints: Floats, labels: Floats) -> Camera:
    """The pinhole camera that sees ``joints`` (N, J, 3) at ``labels`` (N, J, 2); SampleError if none does.

    Linear least squares of u z = f x + c z in either direction.
    """
    if len(joints) != len(labels):
        raise SampleError(f"{len(labels)} frames in 2D, but {len(joints)} in 3D")
    shown = slice(None, None, max(1, len(joints) // FITTED))
    points, pixels = joints[shown].reshape(-1, 3), labels[shown].reshape(-1, 2)
    known = np.isfinite(points).all(1) & np.isfinite(pixels).all(1)
    points, pixels = points[known], pixels[known]
    if len(points) < 3 or (points[:, 2] <= 0).any():
        raise SampleError("the 3D joints are not in front of a camera: is it the file of camera coordinates?")
    both = [np.linalg.lstsq(points[:, [axis, 2]], pixels[:, axis] * points[:, 2], rcond=None)[0] for axis in range(2)]
    (fx, cx), (fy, cy) = both
    camera = pinhole((fx, fy), (cx, cy))
    seen = points[:, :2] / points[:, 2:] * (fx, fy) + (cx, cy)
    if np.median(np.linalg.norm(seen - pixels, axis=1)) > WORST_FIT * np.ptp(pixels, axis=0).max():
        raise SampleError("the 2D and the 3D joints don't belong together: no camera maps one to the other")
    return camera


def samples(recording: Recording, wanted: NDArray[np.intp], prefix: str) -> Iterator[SampleOrRejection]:
    """The frames whose numbers (from 0) are ``wanted``, ascending; ids: ``<prefix>/<name>_<number from 1>``.

    A recording whose joints or video can't be used is yielded as (id, reason), and so is the rest of one whose video
    ends early.
    """
    try:
        if not len(wanted):
            raise SampleError("it has no frame that counts")
        camera = fitted_camera(recording.joints, recording.labels[..., :2])
    except SampleError as error:
        yield f"{prefix}/{recording.name}", str(error)
        return

    def build(sample_id: str, entry: tuple[int, str | bytes]) -> Sample:
        at, frame = entry
        image = recording.files.at(frame) if isinstance(frame, str) else frame
        return person(sample_id, image, recording.labels[at], recording.truth[at], camera, recording.joint_set)

    done = 0
    for at, image in _pictures(recording, wanted):
        if isinstance(image, SampleError):
            yield f"{prefix}/{recording.name}", str(image)
            return
        done += 1
        yield from build_each([(f"{prefix}/{recording.name}_{at + 1:06d}", (at, image))], build)
    if done < len(wanted):
        yield f"{prefix}/{recording.name}", f"the video ends before frame {wanted[done] + 1} of {len(recording.joints)}"


def _pictures(recording: Recording, wanted: NDArray[np.intp]) -> Iterator[tuple[int, str | bytes | SampleError]]:
    """(number from 0, a picture or its name) of the wanted frames; a SampleError where the video can't be decoded."""
    if not recording.video:
        yield from ((int(at), recording.pictures.format(at + 1)) for at in wanted)
        return

    from posesyn_core.files.images import encode_jpeg

    numbers = set(wanted.tolist())
    try:
        video = recording.files.at(recording.video)
    except SampleError as error:
        yield 0, error
        return
    try:
        for at, image in decoded(video, numbers.__contains__, as_stored=True):
            yield at, encode_jpeg(image, JPEG_QUALITY)
    except Exception as error:  # whatever a damaged file leads FFmpeg and its binding to
        yield 0, SampleError(f"the video {video.name} can't be decoded: {fault(error)}")
