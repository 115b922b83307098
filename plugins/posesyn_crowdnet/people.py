"""One annotated person, as all of 3DCrowdNet's training data looks before it is augmented."""

from collections.abc import Mapping

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from posesyn_core.geometry.joints import frame_in
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import Camera, EncodedImage, LabelledFrame, Sample, SmplParams
from posesyn_crowdnet.crops import Floats, as_xywh
from posesyn_crowdnet.joints import COCO, DETECTED, HUMAN36M, MPII, MUCO, SUPERSET, Names

NEIGHBOUR = 0.1
"""People whose tight boxes overlap by this much (intersection over union) disturb each other's 2D detections."""


@frozen
class Fit:
    """SMPL in a person's camera: axis-angles ``pose`` (24, 3), ``betas`` (10,), ``transl`` (3,) metres.

    ``world`` (3, 3) is for Human3.6M, whose parameters are of the world's frame: the root's rotation is already turned
    into the camera, ``transl`` too, but it still lacks (world - 1) times the pelvis, about which SMPL does not turn.
    Without ``shape_known`` only the pose is to be learnt.
    """

    pose: Floats
    betas: Floats
    transl: Floats
    camera: Camera
    world: Floats | None = None
    shape_known: bool = True


def fit_of(smpl: SmplParams, camera: Camera) -> Fit:
    """SMPL's parameters as a Fit."""
    pose = np.concatenate([smpl.global_orient[None], smpl.body_pose]).astype(np.float64)
    betas, transl = smpl.betas.astype(np.float64), smpl.transl.astype(np.float64)
    return Fit(pose, betas, transl, camera, shape_known=smpl.shape_known)


@frozen
class Person:
    """``names`` (J) are the official names of the joints ``points`` (J, 2, pixels), of which some are ``valid`` (J,).

    ``box`` and ``tight`` are x, y, width, height in pixels: what is to be cut out (before it is squared), and the
    person's extent. ``points3d`` (J, 3) metres are in the camera frame, in 3D sets alone, and ``weights3d`` (J,) those
    of its joints: 0 = unknown. Without the pelvis they are relative to the middle of the hips.
    ``shown`` (J,) are the joints that the network gets as input. ``neighbours`` (N, 17, 3) are COCO's joints (x, y,
    valid) of people who overlap this one. ``official_mpii`` turns on what the official MPII loader forgets: it leaves
    pose and camera joints of the fit as they are when the picture is turned, and does not take the pelvis from them.
    ``checked`` asks for the fit to be compared with ``points3d``.
    """

    id: str
    image: EncodedImage
    width: int
    height: int
    box: Floats
    tight: Floats
    names: Names
    points: Floats
    valid: NDArray[np.bool_]
    points3d: Floats | None = None
    weights3d: Floats = field()
    fit: Fit | None = None
    shown: NDArray[np.bool_] = field()
    neighbours: Floats = field(factory=lambda: np.zeros((0, len(COCO), 3)))
    official_mpii: bool = False
    checked: bool = False

    @weights3d.default
    def _ones(self) -> Floats:
        return np.ones(len(self.names))

    @shown.default
    def _all(self) -> NDArray[np.bool_]:
        return np.ones(len(self.names), bool)


def sample_of(person: Person, name: str) -> Sample:
    """An annotated person as PoseSyn's sample of that id, in the set of ``JOINT_SETS`` that the joints are in.

    Human3.6M's SMPL parameters are left out: placing them in the camera takes the body that they were fitted with.
    """
    joint_set = next(known for known, names in JOINT_SETS.items() if person.names[: len(names)] == names)
    count = len(JOINT_SETS[joint_set])  # appended middles of joints are left out
    valid = person.valid[:count]
    x, y, w, h = person.box
    return Sample(
        id=name,
        image=person.image,
        box=np.array([x, y, x + w, y + h], np.float32),
        joint_set=joint_set,
        keypoints2d=np.where(valid[:, None], person.points[:count], 0),
        confidence=valid.astype(np.float32),
        keypoints3d=None if person.points3d is None else person.points3d[:count].astype(np.float32),
        camera=None if person.fit is None else person.fit.camera,
        smpl=None if person.fit is None or person.fit.world is not None else _smpl(person.fit),
    )


def _smpl(fit: Fit) -> SmplParams:
    pose, betas, transl = (values.astype(np.float32) for values in (fit.pose, fit.betas, fit.transl))
    return SmplParams(pose[0], pose[1:], betas, transl)


JOINT_SETS: Mapping[str, Names] = {"mpii16": MPII, "coco17": COCO, "h36m17": HUMAN36M, "muco21": MUCO}
"""The annotated sets, which PoseSyn has too."""


def person_of(frame: LabelledFrame, width: int, height: int) -> Person:
    """A frame's labels as SMPL's joints. The network is shown those that a 2D detector would find."""
    frame = frame_in(frame, SMPL24.name)
    names = SUPERSET[: len(SMPL24)]
    box, solid = as_xywh(frame.box), frame.labels3d().astype(np.float64)
    return Person(
        id=frame.id,
        image=frame.image,
        width=width,
        height=height,
        box=box,
        tight=box,
        names=names,
        points=frame.joints2d.astype(np.float64),
        valid=frame.confidence > 0,
        points3d=None if frame.joints3d is None else solid[:, :3],
        weights3d=solid[:, 3],
        fit=None if frame.smpl is None or frame.camera is None else fit_of(frame.smpl, frame.camera),
        shown=np.array([name in DETECTED for name in names]),
    )
