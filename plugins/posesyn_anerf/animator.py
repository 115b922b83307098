"""The component ``anerf``: a field's person in the poses of a plan, and the people whom it brings for that."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from posesyn_anerf.cameras import Floats, to_c2w
from posesyn_anerf.config import AnerfConfig
from posesyn_anerf.pictures import read_h5
from posesyn_anerf.posing import invert, pose
from posesyn_anerf.rendering import View, renderer_of
from posesyn_anerf.weights import Loaded, load_field
from posesyn_core.body.model import load_body
from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.engines.precision import DTYPES
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.files.locating import in_order
from posesyn_core.files.reading import read_npz, reading
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.values import Actor, Camera, ClipPlan, FloatArray, Image, Sample, SmplParams

REACH = (0.8, 2.5)
"""Field units from the pelvis between which the farthest joint of a T-pose may lie: SURREAL's feet are at 1.7."""
LARGEST_DIFFERENCE = 0.05
"""Metres by which a joint of a plan may differ from the field's own, or its labels are of another person."""
CLOTHED = 1.12
"""A person's height by that of the joints."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class AnerfAnimator:
    """Draws a field's person; see :class:`~posesyn_anerf.config.AnerfConfig`.

    Fits ``Animator`` and ``Accelerated``, and brings its own people. What no paper says of PoseGen's and "Ours-N"'s
    drawings is an option here: the people are the field's one person, seen by ``people`` cameras that stand in a
    circle about the T-pose, ``elevation`` degrees above it, so far off that the standing person fills ``share`` of the
    picture's height; a motion begins with the heading of its reference and stays where the reference is, but for its
    rise and fall; behind it is white, or a photograph; the box is that of the joints (as of all frames of a run).
    The field's world is the camera's frame, whose y points down as the world's does: an elevated camera tilts the
    bounding cylinder alone. Labels are the skeleton's, divided by ``unit``.

    Thread-safe: nothing is kept between clips.
    """

    def __init__(self, config: AnerfConfig) -> None:
        """Load the field. UserError for a bad option, a missing file or weights that don't fit."""
        self.config = config
        self.loaded: Loaded = load_field(config.weights, config.legacy)
        person = self.loaded.person
        self.unit = config.unit or person.unit
        self.rest_pose = self._rest_pose()
        self.renderer = renderer_of(
            self.loaded, config.coarse, config.fine, self.unit, skip=config.skip, chunk=config.chunk,
            device=config.device, dtype=DTYPES[config.precision],
        )  # fmt: skip
        _check_reach(self.rest_pose)

    @property
    def skeleton(self) -> FloatArray:
        """(24, 3) the T-pose in metres, y up, pelvis at 0."""
        return (self.rest_pose / self.unit).astype(np.float32)

    def actors(self) -> Sequence[Actor]:
        """The person from all sides, on the backgrounds in turn. UserError if there is no background."""
        behind = backgrounds(self.config.background, self.config.size)
        return [self._actor(at, behind[at % len(behind)]) for at in range(self.config.people)]

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image of the reference's size per frame; the reference's picture is what is behind.

        SampleError for a plan of another skeleton, or one that is not finite or leaves what the field was made for.
        """
        behind = load_image(plan.reference.image)
        frames = self._frames(plan)
        for skts in frames:
            size = behind.shape[0], behind.shape[1]
            view = View(skts, to_c2w(np.eye(4)), plan.camera.focal_length, plan.camera.principal_point, size)
            colours, opacity = self.renderer.render(view)
            drawn = 255 * colours + (1 - opacity[..., None]) * behind
            yield np.clip(drawn, 0, 255).astype(np.uint8)

    def networks(self) -> list[ExportableModule]:
        """The field's networks, on samples."""
        return self.renderer.networks()

    def use(self, calls: Mapping[str, NetworkCall]) -> None:
        """Compute with these from now on; the names are those of :meth:`networks`."""
        self.renderer.use(calls)

    def _frames(self, plan: ClipPlan) -> Floats:
        """World -> joint (L, 24, 4, 4) of the plan's frames, in field units."""
        angles = np.concatenate([plan.global_orient[:, None], plan.body_pose], axis=1).astype(np.float64)
        place = self.unit * plan.joints3d[:, 0].astype(np.float64)
        if not np.isfinite(angles).all() or not np.isfinite(place).all():
            raise SampleError("the plan's bodies have numbers that are not finite")
        rest = torch.from_numpy(self.rest_pose).double()
        frames = pose(axis_angle_to_matrix(torch.from_numpy(angles)), rest, torch.from_numpy(place))
        joints = frames[..., :3, 3].numpy() / self.unit
        apart = np.linalg.norm(joints - plan.joints3d, axis=-1).max()
        if apart > LARGEST_DIFFERENCE:
            raise SampleError(
                f"the plan is of another skeleton than the field's (a joint lies {1000 * apart:.0f} mm apart): lay "
                "motions onto the animator's own people"
            )
        return invert(frames).numpy()

    def _rest_pose(self) -> FloatArray:
        """The T-pose in field units, pelvis at 0: of the option, the weights, or the body."""
        config, known = self.config, self.loaded.person.rest_pose
        if config.skeleton:
            known = read_skeleton(Path(config.skeleton).expanduser())
        if known is None:
            body = load_body(Path(config.body).expanduser() if config.body else None)
            known = self.unit * body.rest_joints(torch.zeros(1, 10))[0].numpy()
        rest: FloatArray = np.asarray(known, np.float32)
        return rest - rest[:1]

    def _actor(self, number: int, behind: bytes) -> Actor:
        config, person, size = self.config, self.loaded.person, self.config.size
        focal = config.focal * size
        heading = Rotation.from_rotvec([0, 2 * np.pi * number / config.people, 0])
        tilt = Rotation.from_euler("x", config.elevation, degrees=True) * Rotation.from_euler("x", np.pi)
        joints = (tilt * heading).apply(self.skeleton)
        height = float(np.ptp(self.skeleton[:, 1])) * CLOTHED
        middle = (joints.min(axis=0) + joints.max(axis=0)) / 2
        place = np.array([0, 0, focal * height / (config.share * size)]) - middle
        camera = Camera(np.full(2, focal), np.full(2, (size - 1) / 2))
        seen = project(joints + place, camera.focal_length, camera.principal_point)
        known = person.betas is not None
        betas = person.betas if person.betas is not None else np.zeros(10, np.float32)
        smpl = SmplParams((tilt * heading).as_rotvec(), np.zeros((23, 3), np.float32), betas, place, shape_known=known)
        name = f"anerf/{Path(config.weights).stem}/{number:02d}"
        sample = Sample(name, behind, joint_boxes(seen), "smpl24", seen, np.ones(24, np.float32), camera=camera)
        return Actor(sample, smpl, camera, self.skeleton)


def _check_reach(rest_pose: FloatArray) -> None:
    far = float(np.abs(rest_pose).max())
    if not REACH[0] <= far <= REACH[1]:
        raise UserError(
            f"the skeleton is out of the field's reach: its T-pose's farthest joint lies {far:.2f} field units from "
            f"the pelvis, where {REACH[0]} to {REACH[1]} are a person's; set the animator's 'unit' (field units per "
            "metre) or 'skeleton'"
        )


def read_skeleton(path: Path) -> FloatArray:
    """A field's T-pose (24, 3) of the official data file or of an .npz with ``rest_pose``.

    UserError if there is none in it.
    """
    if path.suffix in (".h5", ".hdf5"):
        return np.asarray(read_h5(path).rest_pose, np.float32)
    expected = "an npz with rest_pose (24, 3)"
    with reading(path, "skeleton", expected):
        rest = np.asarray(read_npz(path, "skeleton", expected, ("rest_pose",))["rest_pose"], np.float32)
    rest = rest.reshape(-1, *rest.shape[-2:])[0] if rest.ndim > 1 else rest
    if rest.shape != (24, 3) or not np.isfinite(rest).all():
        raise UserError(f"skeleton {str(path)!r} must be {expected}; its rest_pose is {rest.shape}")
    return rest


def backgrounds(chosen: str, size: int) -> list[bytes]:
    """The PNGs of ``size`` pixels that stand behind the people: "white", "black", a picture, or all of a folder.

    Pictures are cut to a square about their middle. UserError if there is none.
    """
    plain = {"white": 255, "black": 0}
    if chosen in plain:
        return [encode_png(np.full((size, size, 3), plain[chosen], np.uint8))]
    path = Path(chosen).expanduser()
    paths = [each for each in in_order(path.iterdir()) if each.suffix.lower() in PICTURES] if path.is_dir() else [path]
    if not paths or not all(each.is_file() for each in paths):
        raise UserError(
            f"the animator's background {chosen!r} is neither white, black, a picture nor a folder with pictures"
        )
    return [encode_png(_square(load_image(each), size)) for each in paths]


def _square(image: Image, size: int) -> Image:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
