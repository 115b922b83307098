"""The rendered world: a data set of dressed people in procedural places, with exact 2D and 3D truth.

It stands in for the data that a fresh machine does not have: "lab" people do ordinary things in plain rooms, "wild"
people do everything else in cluttered places. Image i depends on (seed, part, split, i) alone. Images are drawn at
first use and kept in a cache folder: a JPEG per image, an npz with the labels per chunk of images.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.body.fitting import fit_smpl
from posesyn_core.body.model import Body, load_body
from posesyn_core.body.render import composite, diffuse, interpolate, normals, render, vertex_normals, window
from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import atomic_path, existing_file, write_atomic
from posesyn_core.files.reading import read_npz, read_text, reading
from posesyn_core.geometry.cameras import project
from posesyn_core.seeds import rng
from posesyn_core.values import Camera, FloatArray, Image, Sample, SmplParams
from posesyn_starter.appearance import Figure, Look, draw_look, dress, paint
from posesyn_starter.config import WorldConfig
from posesyn_starter.poses import sample_poses
from posesyn_starter.scenery import View, cast_shadow, draw_background, occlude, photograph

WORLD_VERSION = 1
"""Part of the cache's key; raise it when the drawing changes."""

CHUNK = 32
"""Images whose bodies are posed in one batch and whose labels lie in one file."""

JPEG_QUALITY = 93

SUPERSAMPLING = 2

LIMBS = ([0, 3, 6, 9], [1, 4, 7, 10], [12, 15, 17, 19, 21], [13, 16, 18, 20, 22])
"""Rows of ``body_pose``, which begins at joint 1: left and right leg, left and right arm."""


@frozen(eq=False)
class People:
    """N posed bodies in front of their cameras: SMPL parameters (N, ...), vertices (N, V, 3) and joints3d (N, 24, 3)
    in the camera frame, metres; focal_length and principal_point (N, 2) pixels; up, ground (N, 3) as in ``View``."""

    global_orient: FloatArray
    body_pose: FloatArray
    betas: FloatArray
    transl: FloatArray
    vertices: FloatArray
    joints3d: FloatArray
    focal_length: FloatArray
    principal_point: FloatArray
    up: FloatArray
    ground: FloatArray
    domain: str
    size: int

    def camera(self, k: int) -> Camera:
        return Camera(self.focal_length[k], self.principal_point[k])


def place_people(
    body: Body,
    root: FloatArray,
    body_pose: FloatArray,
    betas: FloatArray,
    lift: FloatArray,
    domain: str,
    size: int,
    generator: np.random.Generator,
) -> People:
    """Give N bodies a heading, a floor and a camera that shows the whole person.

    ``root`` (N, 3) axis-angle with y up, ``body_pose`` (N, 23, 3) and ``betas`` (N, 10); ``lift`` (N,) metres of the
    lowest point above the floor; ``size`` pixels of the square image.
    """
    count = len(root)
    heading = Rotation.from_rotvec(generator.uniform(-np.pi, np.pi, (count, 1)) * [0, 1, 0])
    tilt, roll = generator.uniform(-3, 8, count), generator.normal(0, 1, count)
    if domain == "wild":
        tilt, roll = generator.uniform(-10, 28, count), generator.normal(0, 4, count)
    facing = Rotation.from_euler("x", np.pi)  # y up, towards the viewer -> the camera frame
    world_to_camera = Rotation.from_euler("xz", np.stack([tilt, roll], axis=1), degrees=True) * facing
    global_orient = (world_to_camera * heading * Rotation.from_rotvec(root)).as_rotvec().astype(np.float32)
    up = world_to_camera.apply([0.0, 1.0, 0.0]).astype(np.float32)

    with torch.inference_mode():
        posed = body(*(torch.from_numpy(part) for part in (global_orient, body_pose, betas)))
    vertices, joints = posed.vertices.numpy(), posed.joints3d.numpy()
    focal_length = size * generator.uniform(1.2, 2.5, count)
    low, high = vertices.min(axis=1), vertices.max(axis=1)
    share = generator.uniform(0.6, 0.92, count)
    distance = focal_length * (high - low)[:, :2].max(axis=1) / (share * size) + (high - low)[:, 2] / 2
    centre = np.zeros((count, 3))
    centre[:, 2] = distance
    room = (1 - share) / 2 * size / focal_length * distance
    centre[:, :2] = generator.uniform(-0.8, 0.8, (count, 2)) * room[:, None]
    transl = (centre - (low + high) / 2).astype(np.float32)
    vertices = vertices + transl[:, None]
    lowest = np.einsum("nvc,nc->nv", vertices, up).min(axis=1) - lift
    middle = joints[:, 0] + transl
    ground = middle + up * (lowest - np.einsum("nc,nc->n", middle, up))[:, None]
    return People(
        global_orient=global_orient,
        body_pose=body_pose,
        betas=betas,
        transl=transl,
        vertices=vertices,
        joints3d=joints + transl[:, None],
        focal_length=np.repeat(focal_length[:, None], 2, 1).astype(np.float32),
        principal_point=np.full((count, 2), (size - 1) / 2, np.float32),
        up=up,
        ground=ground.astype(np.float32),
        domain=domain,
        size=size,
    )


def mix_poses(root: FloatArray, body_pose: FloatArray, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Poses that nobody took, of limbs that somebody moved: each limb from another of the N, and the whole leant over.

    ``root`` (N, 3) and ``body_pose`` (N, 23, 3) axis-angles, y up. The lean is about a level axis, by up
    to half a turn.
    """
    mixed = body_pose.copy()
    for limb in LIMBS:
        mixed[:, limb] = body_pose[generator.permutation(len(root))][:, limb]
    way, angle = generator.uniform(-np.pi, np.pi, len(root)), generator.uniform(0, np.pi, len(root))
    lean = np.stack([np.cos(way), np.zeros_like(way), np.sin(way)], axis=1) * angle[:, None]
    leant = Rotation.from_rotvec(lean) * Rotation.from_rotvec(root)
    return leant.as_rotvec().astype(np.float32), mixed


def draw_view(people: People, k: int, generator: np.random.Generator) -> View:
    """The k-th person's view with a random light from above, coloured a little."""
    up = people.up[k]
    light = generator.normal(0, 1, 3) + up * generator.uniform(0.3, 2.5) + [0, 0, -generator.uniform(0, 1.2)]
    return View(
        camera=people.camera(k),
        size=(people.size, people.size),
        up=up,
        ground=people.ground[k],
        light=(light / np.linalg.norm(light)).astype(np.float32),
        tint=generator.normal(1, 0.06 if people.domain == "wild" else 0.02, 3).astype(np.float32),
        ambient=float(generator.uniform(0.35, 0.75)),
    )


def render_person(figure: Figure, vertices: FloatArray, look: Look, view: View, background: Image) -> Image:
    """Draw a dressed person, vertices (V, 3) in the camera frame, over ``background`` (H, W, 3)."""
    outward = vertex_normals(vertices, figure.faces)
    dressed = dress(look, figure, vertices, outward)
    size = view.size[0] * SUPERSAMPLING, view.size[1] * SUPERSAMPLING
    seen = render(dressed, figure.faces, window(view.camera, (0, 0), view.size, size), size)
    rest = interpolate(seen, figure.faces, figure.rest)
    colours = paint(look, figure, rest, figure.face_part[seen.face])
    shade = diffuse(normals(seen, figure.faces, outward), view.light, view.ambient)
    return composite(seen, colours * shade * view.tint, background)


def draw_image(figure: Figure, people: People, k: int, generator: np.random.Generator) -> Image:
    """The k-th person in a scene: uint8 (size, size, 3)."""
    view = draw_view(people, k, generator)
    look = draw_look(figure, generator)
    background = draw_background(view, people.domain, generator)
    shadowed = cast_shadow(background, people.vertices[k], view, generator.uniform(0.15, 0.6))
    image = render_person(figure, people.vertices[k], look, view, shadowed)
    if people.domain == "wild" and generator.random() < 0.2:
        occlude(image, person_box(people.vertices[k], people.camera(k)), generator)
    return photograph(image, people.domain, generator)


def person_box(vertices: FloatArray, camera: Camera) -> FloatArray:
    """Box (4,) about the projected vertices (V, 3)."""
    pixels = project(vertices, camera.focal_length, camera.principal_point)
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]).astype(np.float32)


class WorldReader:
    """Reads the world, drawing what is not there yet."""

    def __init__(self, config: WorldConfig) -> None:
        if config.mixed and not config.motions:
            raise UserError("the world's 'mixed' puts frames of motions together: name their file in 'motions'")
        self.config = config
        self.name = f"world/{config.part}-{config.split}"
        self.motion = _read_motions(config) if config.motions else None
        self.folder = _cache_root(config) / f"{config.part}-{config.split}-{self._digest()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the world's cache {str(self.folder)!r} can't be made ({error}); set 'folder'") from error

    def _digest(self) -> str:
        """What the images depend on, as a name for their folder."""
        drawn = (WORLD_VERSION, self.config.seed, self.config.image_size)
        key = hashlib.blake2b(repr(drawn).encode(), digest_size=6)
        if self.config.body:
            key.update(existing_file(Path(self.config.body).expanduser(), "body model").read_bytes())
        if self.motion is not None:
            key.update(self.motion.tobytes())
            if self.config.mixed:
                key.update(b"mixed")
        return key.hexdigest()

    def samples(self) -> Iterator[Sample]:
        """The samples in order of their number; chunks are drawn ahead by ``workers`` threads."""
        chunks = range(-(-self.config.count // CHUNK))
        with ThreadPoolExecutor(self.config.workers, "world") as pool:
            waiting: deque[Future[list[Sample]]] = deque()
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self._chunk, chunk))
                    if len(waiting) > self.config.workers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def body(self) -> Body:
        return load_body(Path(self.config.body).expanduser() if self.config.body else None)

    @cached_property
    def figure(self) -> Figure:
        return Figure.of(self.body)

    def _chunk(self, chunk: int) -> list[Sample]:
        """The samples of one chunk, drawn where they are missing."""
        numbers = range(chunk * CHUNK, min((chunk + 1) * CHUNK, self.config.count))
        labels = self.folder / f"labels-{chunk:05d}.npz"
        missing = [i for i in numbers if not self._image(i).exists()]
        if missing or not labels.exists():
            people = self._people(chunk)
            for i in missing:
                image = draw_image(self.figure, people, i % CHUNK, rng(self.config.seed, self._id(i), "image"))
                write_atomic(self._image(i), encode_jpeg(image, JPEG_QUALITY))
            with atomic_path(labels) as temporary:
                np.savez(temporary, allow_pickle=False, **_labels(people))
        with np.load(labels, allow_pickle=False) as file:
            arrays = dict(file)
        return [self._sample(i, {name: column[i % CHUNK] for name, column in arrays.items()}) for i in numbers]

    def _id(self, number: int) -> str:
        return f"{self.name}/{number:06d}"

    def _image(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jpg"

    def _people(self, chunk: int) -> People:
        """Pose and place the people of one chunk."""
        config, generator = self.config, rng(self.config.seed, f"{self.name}/{chunk}", "people")
        betas = generator.normal(0, 0.8, (CHUNK, 10)).astype(np.float32)
        if self.motion is None:
            poses = sample_poses(config.part, CHUNK, generator)
            root, body_pose, lift = poses.root, poses.body_pose, poses.lift
        else:
            joints = self.motion[generator.integers(len(self.motion), size=CHUNK)]
            fit = fit_smpl(self.body, torch.from_numpy(joints[:, None]), betas=torch.from_numpy(betas))
            root, body_pose = fit.global_orient[:, 0].float().numpy(), fit.body_pose[:, 0].float().numpy()
            if config.mixed:
                root, body_pose = mix_poses(root, body_pose, generator)
            lift = np.zeros(CHUNK, np.float32)
        return place_people(self.body, root, body_pose, betas, lift, config.part, config.image_size, generator)

    def _sample(self, number: int, label: dict[str, NDArray]) -> Sample:
        config, size = self.config, self.config.image_size
        camera = Camera(label["focal_length"], label["principal_point"])
        joints2d = project(label["joints3d"], camera.focal_length, camera.principal_point)
        shown = (joints2d >= 0).all(axis=1) & (joints2d <= size - 1).all(axis=1)
        error = rng(config.seed, self._id(number), "annotator").normal(0, config.noise, joints2d.shape)
        sample = Sample(
            id=self._id(number),
            image=self._image(number),
            box=np.clip(label["box"], 0, size - 1),
            joint_set="smpl24",
            keypoints2d=(joints2d + error).astype(np.float32),
            confidence=np.asarray(shown, np.float32),
        )
        if config.labels == "2d":
            return sample
        smpl = SmplParams(label["global_orient"], label["body_pose"], label["betas"], label["transl"])
        return evolve(sample, camera=camera, joints3d=label["joints3d"] - label["joints3d"][:1], smpl=smpl)


def _labels(people: People) -> dict[str, NDArray]:
    names = ("global_orient", "body_pose", "betas", "transl", "joints3d", "focal_length", "principal_point")
    boxes = [person_box(vertices, people.camera(k)) for k, vertices in enumerate(people.vertices)]
    return {**{name: getattr(people, name) for name in names}, "box": np.stack(boxes)}


def _cache_root(config: WorldConfig) -> Path:
    if config.folder:
        return Path(config.folder).expanduser()
    cache = os.environ.get("POSESYN_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "posesyn") / "world"


def _read_motions(config: WorldConfig) -> FloatArray:
    """Every frame (T, 22, 3) of the wanted clips; UserError if there is none."""
    path = existing_file(Path(config.motions).expanduser(), "motions file")
    keys = ("joints", "offsets", "clip", "domain")
    expected = "an npz with joints, offsets, clip and domain"
    with reading(path, "motions file", expected):
        file = read_npz(path, "motions file", expected, keys)
        joints, offsets, clip, domain = (file[name] for name in keys)
    wanted = np.ones(len(clip), bool) if not config.domain else domain == config.domain
    if config.clips:
        wanted &= np.isin(clip, read_text(Path(config.clips).expanduser(), "list of clips").split())
    if not wanted.any():
        raise UserError(f"no motion in {str(path)!r} fits domain {config.domain!r} and clips {config.clips!r}")
    return joints[np.repeat(wanted, np.diff(offsets))].astype(np.float32)
