"""The values that flow between stages: frozen attrs classes over numpy arrays.

Every array field states its shape (letters are free sizes: J joints, L frames), unit and frame. The camera frame is
x right, y down, z away from the camera, in metres. Images are uint8 RGB (H, W, 3); pixel centres have integer
coordinates. A field's shape is checked on construction, and arrays are made read-only.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import Factory, field, frozen
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from posesyn_core.values.fields import FloatArray as FloatArray
from posesyn_core.values.fields import Image as Image
from posesyn_core.values.fields import array as array
from posesyn_core.values.fields import same_joints
from posesyn_core.values.places import EncodedImage as EncodedImage
from posesyn_core.values.places import FileSlice as FileSlice
from posesyn_core.values.places import Url as Url


@frozen
class Camera:
    """A pinhole camera for the full image: pixel = focal_length * (x, y) / z + principal_point."""

    focal_length: FloatArray = array((2,), "focal lengths (fx, fy), pixels")
    principal_point: FloatArray = array((2,), "principal point (cx, cy), pixels of the full image")


@frozen
class SmplParams:
    """Pose, shape and place of one body in the camera frame (SMPL's parametrisation).

    ``gender`` says whose ``betas`` they are: "neutral", which estimators predict, or "female" or "male", in which some
    data sets give their truth. ``shape_known`` False says that they only come near a body of other proportions: no
    shape is to be learnt from them.
    """

    global_orient: FloatArray = array((3,), "axis-angle of the root, camera frame")
    body_pose: FloatArray = array((23, 3), "axis-angle of joints 1..23 relative to their parents")
    betas: FloatArray = array((10,), "shape coefficients, unit variance")
    transl: FloatArray = array((3,), "translation added to the posed body, metres, camera frame")
    gender: str = "neutral"
    shape_known: bool = True


@frozen
class Neighbour:
    """Another person in a sample's picture, as far as the data set knows it."""

    box: FloatArray = array((4,), "person box x0, y0, x1, y1, pixels")
    joint_set: str  # type: ignore[misc]  # as above
    keypoints2d: FloatArray = array(("J", 2), "labelled 2D joints, pixels of the full image")
    confidence: FloatArray = array(("J",), "0 = not labelled, 1 = labelled and visible")


@frozen
class Detected:
    """2D joints that a detector found of a person, as a data set ships them beside its truth."""

    joint_set: str
    keypoints2d: FloatArray = array(("J", 2), "2D joints, pixels of the full image")
    confidence: FloatArray = array(("J",), "0 = not found ... 1 = certain")


@frozen
class Sample:
    """One person in one image, with what a data set says of them.

    ``id`` is stable across runs: "data set/split/person". ``image`` is a path, an address, or the encoded bytes;
    :func:`posesyn_core.files.images.load_image` decodes it.
    2D keypoints stay in the data set's own ``joint_set`` (a name in :mod:`posesyn_core.geometry.skeletons`); a joint
    without a label has confidence 0. ``joints3d``, ``keypoints3d`` and ``smpl`` are ground truth and present only where
    the data set has it: ``joints3d`` where its bodies are SMPL's, ``keypoints3d`` where it measured joints of its own
    set. ``head_size`` is what PCKh scales with, in pixels. ``detected`` are a 2D detector's joints that the data set
    ships, for estimators that take such as input. ``neighbours`` are the others in the picture, where
    the recipe wants them hidden from estimators.
    """

    id: str
    image: EncodedImage
    box: FloatArray = array((4,), "person box x0, y0, x1, y1, pixels")
    joint_set: str  # type: ignore[misc]  # mypy takes array() for a default
    keypoints2d: FloatArray = array(("J", 2), "labelled 2D joints, pixels of the full image")
    confidence: FloatArray = array(("J",), "0 = not labelled, 1 = labelled and visible")
    camera: Camera | None = None
    joints3d: FloatArray | None = array(
        (24, 3), "true SMPL-24 joints, metres, camera frame, root-relative", optional=True
    )
    smpl: SmplParams | None = None
    keypoints3d: FloatArray | None = array(
        ("J", 3), "true 3D joints of ``joint_set``, metres, camera frame, NaN = unknown", optional=True
    )
    head_size: float | None = None
    neighbours: tuple[Neighbour, ...] = ()
    detected: Detected | None = None


@frozen
class PoseEstimate:
    """What an estimator says of one sample, in a joint set of its own (:mod:`posesyn_core.geometry.skeletons`).

    A joint that it does not know is NaN, in 2D, in 3D or in both, or has ``confidence`` 0. What needs a whole SMPL
    pose completes an estimate first (:mod:`posesyn_core.body.completion`); ``residual_mm`` then says how far the body
    fitted to it is from the joints that it knows, on average.
    """

    joints3d: FloatArray = array(("J", 3), "joints, metres, camera frame, relative to the root of ``joint_set``")
    joints2d: FloatArray = array(("J", 2), "joints, pixels of the full image (their projection with ``camera``)")
    camera: Camera  # type: ignore[misc]  # as above
    smpl: SmplParams | None = None
    joint_set: str = "smpl24"
    confidence: FloatArray | None = array(
        ("J",), "0 = unknown ... 1 = certain; None = all joints that are not NaN are known", optional=True
    )
    residual_mm: float | None = None

    def __attrs_post_init__(self) -> None:
        """ValueError if 2D, 3D and confidence are not of as many joints."""
        same_joints(self.joints2d, joints3d=self.joints3d, confidence=self.confidence)


@frozen
class Keypoints:
    """What a 2D pose estimator says of one sample, in its own joint set."""

    points: FloatArray = array(("J", 2), "2D joints, pixels of the full image")
    confidence: FloatArray = array(("J",), "0 = not seen ... 1 = certain")


@frozen
class Detections:
    """The N people that a detector finds in one picture, surest first."""

    boxes: FloatArray = array(("N", 4), "person boxes x0, y0, x1, y1, pixels of the upright picture")
    scores: FloatArray = array(("N",), "0 ... 1 = certain")


@frozen
class ScoredSample:
    """A sample's Eq. 1 error with the pseudo-label that it was computed from.

    ``compared`` is the joint set of ``joint_errors``: the sample's own, unless an estimator's joints stood in for the
    labels.
    """

    sample: Sample
    error: float
    joint_errors: FloatArray = array(
        ("J",), "unweighted error per joint of ``compared``, crop pixels (3D labels: mm), NaN = no label"
    )
    estimate: PoseEstimate  # type: ignore[misc]  # as above
    compared: str = field(default=Factory(lambda self: self.sample.joint_set, takes_self=True))


@frozen
class MotionRequest:
    """What a motion generator is asked for: one motion about one hard sample (Eq. 5).

    ``guidance`` chooses what conditions the motion: "full" (text and initial pose), "text_only", "pose_only".
    """

    id: str
    sample_id: str
    caption: str
    seed: int
    pose: FloatArray | None = array((22, 3), "pseudo-label pose, metres, y up, any place and heading", optional=True)
    guidance: str = "full"
    min_frames: int = 40
    max_frames: int = 196


@frozen
class Motion:
    """A motion synthesised around one hard sample.

    A generator that knows the rotations of its bodies gives them with ``body_pose``: then no body is fitted to the
    joints (Eq. 8). With ``global_orient``, which is in the camera's frame already, the orientation is kept, too, and
    not aligned with the reference's (Eq. 9).
    """

    id: str
    sample_id: str
    caption: str
    joints: FloatArray = array(("L", 22, 3), "HumanML3D-22 joints, metres, y up, floor at y = 0")
    fps: float = 20.0
    seed: int = 0
    provenance: str = ""
    body_pose: FloatArray | None = array(
        ("L", 23, 3), "axis-angle of SMPL's joints 1..23 relative to their parents", optional=True
    )
    global_orient: FloatArray | None = array(("L", 3), "axis-angle of the root, camera frame", optional=True)

    def __attrs_post_init__(self) -> None:
        """ValueError if joints and rotations are not of as many frames, or there is an orientation alone."""
        for name, given in (("body_pose", self.body_pose), ("global_orient", self.global_orient)):
            if given is not None and len(given) != len(self.joints):
                wanted = (len(self.joints), *given.shape[1:])
                raise ValueError(f"{name} must have shape {wanted}, a frame for each of joints, not {given.shape}")
        if self.global_orient is not None and self.body_pose is None:
            raise ValueError("global_orient goes with body_pose: joints alone leave the rest of the rotations open")


@frozen
class ClipPlan:
    """A motion laid onto a reference person, ready to be drawn: one SMPL body per frame in the reference's camera.

    This is all that an animator needs; its labels (joints3d, joints2d) follow from it and are exact by construction.
    """

    id: str
    motion_id: str
    sample_id: str
    caption: str
    reference: Sample
    reference_estimate: PoseEstimate
    camera: Camera
    fps: float
    seed: int
    residual_mm: float
    global_orient: FloatArray = array(("L", 3), "axis-angle, camera frame")
    body_pose: FloatArray = array(("L", 23, 3), "axis-angle relative to the parents")
    betas: FloatArray = array((10,), "shape of the reference person")
    transl: FloatArray = array(("L", 3), "metres, camera frame")
    joints3d: FloatArray = array(("L", 24, 3), "posed joints, metres, camera frame (absolute)")
    joints2d: FloatArray = array(("L", 24, 2), "their projection, pixels")


@frozen
class Actor:
    """Somebody whom an animator brings along: a reference person in place of an easy sample.

    ``sample`` is the picture into which clips are drawn, of their size, with the person's box; ``camera`` sees it.
    ``smpl`` is how the person stands there at first. Its ``betas`` mean something only with ``shape_known``, and if the
    run's body, given them, has this ``skeleton``.
    """

    sample: Sample
    smpl: SmplParams
    camera: Camera
    skeleton: FloatArray = array((24, 3), "SMPL's joints in the T-pose, metres, y up, the pelvis anywhere")


@frozen
class LabelledFrame:
    """One training pair: an image of a person with the labels that are known for it.

    Labels are in ``joint_set``: SMPL's for synthesised frames, which have everything; a data set's own for real ones,
    of which a 2D-labelled image has ``joints3d`` and ``smpl`` None. Where only some 3D joints were measured, they are
    those of ``confidence3d``. 3D joints are relative to the root of their set, or where that is unknown, to the middle
    of the hips (:func:`posesyn_core.geometry.skeletons.shared_root`), and so must be what is compared with them.
    :func:`posesyn_core.geometry.joints.frame_in` gives a frame in another joint set.
    ``error_mm`` is the Eq. 6 error of the estimator that filtered the frame. ``neighbours`` are others in the picture
    that are to be hidden from it.
    """

    id: str
    image: EncodedImage
    box: FloatArray = array((4,), "person box x0, y0, x1, y1, pixels")
    joints2d: FloatArray = array(("J", 2), "joints, pixels of the full image")
    confidence: FloatArray = array(("J",), "1 = labelled, 0 = unknown")
    camera: Camera | None = None
    joints3d: FloatArray | None = array(("J", 3), "metres, camera frame, relative to the root", optional=True)
    smpl: SmplParams | None = None
    error_mm: float | None = None
    caption: str = ""
    source: str = ""
    confidence3d: FloatArray | None = array(
        ("J",), "1 = in ``joints3d``, 0 = unknown; None = all of ``joints3d`` are known", optional=True
    )
    joint_set: str = "smpl24"
    neighbours: tuple[Neighbour, ...] = ()

    def __attrs_post_init__(self) -> None:
        """ValueError if 2D, 3D and confidences are not of as many joints."""
        same_joints(self.joints2d, confidence=self.confidence, joints3d=self.joints3d, confidence3d=self.confidence3d)

    def labels3d(self) -> FloatArray:
        """(J, 4): x, y, z of ``joints3d`` and their confidence; all 0 where a joint is unknown."""
        if self.joints3d is None:
            return np.zeros((len(self.joints2d), 4), np.float32)
        known = np.ones(len(self.joints3d), np.float32) if self.confidence3d is None else self.confidence3d
        return np.column_stack([np.where(known[:, None] > 0, self.joints3d, 0), known]).astype(np.float32)


@frozen
class EvaluationProtocol:
    """What is measured on a data set, and how its official evaluation compares.

    ``metrics`` are names of ``posesyn_core.training.protocols.METRICS``, "pve", or "nmje" (AGORA: MPJPE divided by the
    F1 score of detection, here 2 r / (1 + r) with the share r of people for whom there is an estimate). ``joints`` and
    ``root`` are joints of the set in which the truth is given; empty = all that the estimate has too (of SMPL-24
    without the hands), and the set's own root. With ``regressed`` both sides are the 17 joints of Human3.6M that its
    regressor takes from the SMPL mesh, where truth and estimate have SMPL parameters and the user gave the regressor's
    file; failing those, SMPL's own joints are compared instead. ``pckh`` is the share of the head size within which a
    2D joint counts as found.
    """

    metrics: tuple[str, ...] = ("mpjpe", "pa_mpjpe", "pve")
    joints: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    regressed: bool = False
    pckh: float = 0.5


@frozen
class FilterVerdict:
    """What one of several filters says of a frame; ``filter`` is its name, or the recipe's label of it."""

    filter: str
    keep: bool
    error: float
    reason: str = ""


@frozen
class Verdict:
    """A filter's judgement of one frame.

    Where several filters judge, it is that of all: ``parts`` has what each says, and ``error`` is the first one's.
    """

    keep: bool
    error: float
    reason: str = ""
    parts: tuple[FilterVerdict, ...] = ()


@frozen(eq=False)
class Pixels(NDArrayOperatorsMixin):
    """A picture for a network, kept as bytes: ``pixels`` (H, W, C) uint8, and what each value means in each channel.

    ``levels`` (C, 256) float32 holds brightness, mean and deviation. As an array it is the picture that the network
    takes, (C, H, W) float32, and numpy computes with it as with that. A device is sent the bytes, and looks the values
    up itself: to the same bits.
    """

    pixels: NDArray[np.uint8]
    levels: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the array."""
        height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the array."""
        return self.levels.dtype

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = (np.asarray(value) if isinstance(value, Pixels) else value for value in inputs)
        return getattr(ufunc, method)(*plain, **options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        picture = np.empty(self.shape, self.dtype)
        self.fill(picture)
        return picture if dtype is None else picture.astype(dtype, copy=False)

    def fill(self, picture: NDArray[np.float32]) -> None:
        """Write the array into ``picture`` (C, H, W): a batch's, whose memory then needs no copy."""
        import cv2

        for channel, levels, place in zip(cv2.split(self.pixels), self.levels, picture, strict=True):
            cv2.LUT(channel, levels, dst=place)

    def __getitem__(self, place: Any) -> NDArray[Any]:
        part: NDArray[Any] = np.asarray(self)[place]
        return part


Inputs = Mapping[str, NDArray[Any] | Pixels]
"""What a network or a loss is given of one sample, without batch axis."""


@frozen
class Prepared:
    """One sample made ready for the network: ``tensors`` without batch axis, ``context`` for ``decode``."""

    tensors: Inputs
    context: Any


SampleOrRejection = Sample | tuple[str, str]
"""What a reader yields: a sample, or (id, reason) for an entry that it had to reject."""
