"""A person rendered from nine cameras: pictures to train a field on where nobody has any.

The free body, in clothes that are colours of its surface, does what recorded people did; half of the poses are put
together from the limbs of several. White surrounds it, and the cameras stand in a circle, as SURREAL's of A-NeRF.
"""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from posesyn_anerf.cameras import STORED, Floats, around, cylinders, to_c2w
from posesyn_anerf.pictures import Pictures
from posesyn_anerf.posing import invert, pose
from posesyn_core.body.fitting import fit_smpl
from posesyn_core.body.model import Body
from posesyn_core.body.parts import PART_NAMES
from posesyn_core.body.render import composite, diffuse, interpolate, normals, render, vertex_normals, window
from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import read_npz, reading
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.seeds import rng
from posesyn_core.values import Camera, FloatArray

UNIT = 1 / 0.56
"""Field units per metre: SURREAL's."""
CAMERAS = 9
SHARE = 0.8
"""Of the picture's height that somebody standing fills."""
DISTANCE = 5.0
"""Metres of the cameras from the person, who turns before them as the motion does."""
LIMBS = ([0, 3, 6, 9], [1, 4, 7, 10], [12, 15, 17, 19, 21], [13, 16, 18, 20, 22])
"""Rows of the body's pose, which begins at joint 1: left and right leg, left and right arm."""
LIGHT, AMBIENT = np.array([0.0, -1.0, 0.0]), 0.6
"""Towards the light, in the world, y down: from above, so that a turn of the person changes nothing that they wear."""
DILATION = 6
"""Pixels by which the masks are widened that training draws from."""
COLOURS = {
    "skin": (214, 160, 122), "hair": (62, 44, 33), "shirt": (176, 42, 48), "stripe": (236, 226, 208),
    "trousers": (48, 66, 118), "shoes": (40, 40, 44),
}  # fmt: skip
SKIN_PARTS, BARE = ("head", "left_hand", "right_hand", "left_lower_arm", "right_lower_arm"), 0.09
"""What no cloth covers; shoes reach so many metres above the soles."""
STRIPE = 0.11
"""Metres between the shirt's stripes."""


@frozen
class Motions:
    """Where poses come from, and how many: a file of motions, so many ``poses`` of it, drawn by ``seed``."""

    path: Path
    poses: int
    seed: int = 0


def draw_pictures(motions: Motions, size: int, betas: FloatArray, body: Body, between: bool = False) -> Pictures:
    """Nine pictures of ``size`` pixels of each pose; picture i shows pose i modulo their number, as SURREAL's.

    ``between``: from the middles between the cameras, to measure on.
    """
    orient, pose_angles = read_poses(motions, body, betas)
    count = len(orient)
    shapes = torch.from_numpy(np.repeat(betas[None], count, axis=0))
    with torch.inference_mode():
        posed = body(torch.from_numpy(orient), torch.from_numpy(pose_angles), shapes)
    pelvis = posed.joints3d[:, :1]
    vertices = (posed.vertices - pelvis).numpy()
    rest = body.rest_joints(shapes[:1])[0].numpy()
    rest = (rest - rest[:1]) * UNIT
    rotations = axis_angle_to_matrix(torch.from_numpy(np.concatenate([orient[:, None], pose_angles], axis=1)).double())
    frames = pose(rotations, torch.from_numpy(rest).double(), torch.zeros(count, 3, dtype=torch.float64))
    focal = SHARE * size * DISTANCE / np.ptp(vertices[..., 1], axis=1).max()
    extrinsic = np.eye(4)
    extrinsic[2, 3] = DISTANCE
    circle = around(to_c2w(extrinsic), 2 * CAMERAS)[int(between) :: 2]
    views = [_view(vertices, camera, focal, size, body) for camera in circle]
    images, masks = (np.concatenate(each) for each in zip(*views, strict=True))
    cameras = circle.copy()
    cameras[:, :3, 3] *= UNIT
    total = CAMERAS * count
    return Pictures(
        images=images,
        masks=masks,
        sampling=binary_dilation(masks > 0, np.ones((1, 3, 3), bool), DILATION),
        backgrounds=np.full((1, size, size, 3), 255, np.uint8),
        background=np.zeros(total, np.intp),
        pose=np.tile(np.arange(count), CAMERAS),
        c2w=np.repeat(cameras, count, axis=0),
        focal=np.full((total, 2), focal),
        centre=np.full((total, 2), size / 2),
        skts=invert(frames).numpy(),
        cylinders=cylinders(frames[..., :3, 3].numpy(), STORED),
        rest_pose=rest,
        betas=betas,
    )


def read_poses(motions: Motions, body: Body, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Root (P, 3) and other joints' (P, 23, 3) axis-angles, y down, of frames of the file; every second one mixed.

    UserError if the file holds no motions.
    """
    expected = "an npz with joints (N, 22, 3) in metres, y up"
    path = existing_file(motions.path, "motions file")
    with reading(path, "motions file", expected):
        joints = read_npz(path, "motions file", expected, ("joints",))["joints"]
    if joints.ndim != 3 or joints.shape[1:] != (22, 3) or not len(joints):
        raise UserError(f"motions file {str(path)!r} must be {expected}; its joints are {joints.shape}")
    generator = rng(motions.seed, "poses", "anerf")
    chosen = joints[np.sort(generator.choice(len(joints), motions.poses, replace=len(joints) < motions.poses))]
    shapes = torch.from_numpy(np.repeat(betas[None], len(chosen), axis=0))
    fit = fit_smpl(body, torch.from_numpy(chosen[:, None].astype(np.float32)), betas=shapes)
    orient, angles = fit.global_orient[:, 0].numpy(), fit.body_pose[:, 0].numpy().copy()
    for limb in LIMBS:
        angles[1::2, limb] = angles[generator.permutation(len(angles))[: len(angles) // 2]][:, limb]
    down = Rotation.from_euler("x", np.pi) * Rotation.from_rotvec(orient)
    return down.as_rotvec().astype(np.float32), angles.astype(np.float32)


def _view(vertices: Floats, c2w: Floats, focal: float, size: int, body: Body) -> tuple[Floats, Floats]:
    """Pictures (P, size, size, 3) and masks (P, size, size) of one camera, in metres."""
    faces, colours = body.faces.numpy().astype(np.int32), clothes(body)
    axes = c2w[:3, :3] * [1, -1, -1]
    camera = Camera(np.full(2, focal), np.full(2, size / 2))
    light = LIGHT @ axes
    images, masks = [], []
    fine = (2 * size, 2 * size)
    for each in vertices:
        seen_from = ((each - c2w[:3, 3]) @ axes).astype(np.float32)
        seen = render(seen_from, faces, window(camera, (0, 0), (size, size), fine), fine)
        shade = diffuse(normals(seen, faces, vertex_normals(seen_from, faces)), light, AMBIENT)
        painted = interpolate(seen, faces, colours) * shade
        images.append(composite(seen, painted, np.full((size, size, 3), 255, np.uint8)))
        whole = np.full((len(seen.pixel), 3), 255.0, np.float32)
        masks.append(composite(seen, whole, np.zeros((size, size, 3), np.uint8))[..., 0])
    return np.stack(images), np.stack(masks)


def clothes(body: Body) -> FloatArray:
    """Colours (V, 3), 0..255, of the body's vertices, by where they lie in the T-pose."""
    rest, faces = body.v_template.numpy(), body.faces.numpy()
    part = np.zeros(len(rest), np.uint8)
    part[faces] = body.part_labels.numpy()[:, None]
    names = np.array(PART_NAMES)[part]
    height = rest[:, 1] - rest[:, 1].min()
    striped = np.floor(rest[:, 1] / STRIPE) % 2 == 0
    chosen = np.where(striped, "stripe", "shirt")
    chosen = np.where(np.char.find(names, "leg") >= 0, "trousers", chosen)
    chosen = np.where(names == "hips", "trousers", chosen)
    chosen = np.where((np.char.find(names, "foot") >= 0) | (height < BARE), "shoes", chosen)
    chosen = np.where(np.isin(names, SKIN_PARTS), "skin", chosen)
    chosen = np.where(names == "scalp", "hair", chosen)
    return np.array([COLOURS[name] for name in chosen], np.float32)
