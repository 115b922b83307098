"""How good a field is: its pictures of poses that it was not trained on, and how far its person goes from the bones."""

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_anerf.field import Field, joints_of, local_points
from posesyn_anerf.pictures import Pictures
from posesyn_anerf.reach import PARENTS, WIDEST, nearest_bone
from posesyn_anerf.rendering import Density, Renderer, View
from posesyn_core.errors import UserError
from posesyn_core.seeds import rng
from posesyn_core.values import FloatArray, Image

THICKNESS = 0.02
"""Field units of matter that must be seen, if there is any, ..."""
SEEN = 0.05
"""... by hiding so much of what is behind it."""
SLACK = 0.02
"""Field units that are added to what was found."""
POINTS, POSES = 600, 12
"""Points about each bone, and poses, that are looked at."""


@frozen
class Measures:
    """PSNR in decibels over whole pictures, and over the pixels about the person alone."""

    whole: float
    person: float
    pictures: int


def psnr(difference: NDArray[np.floating]) -> float:
    """Of differences of colours 0..1."""
    return float(-10 * np.log10(max(float(np.square(difference).mean()), 1e-10)))


def drawn(renderer: Renderer, pictures: Pictures, at: int) -> Image:
    """The field's picture in place of picture ``at``, on the same background."""
    size = pictures.images.shape[1:3]
    view = View(
        pictures.skts[pictures.pose[at]], pictures.c2w[at], pictures.focal[at], pictures.centre[at], (size[0], size[1])
    )
    colours, opacity = renderer.render(view)
    behind = pictures.backgrounds[pictures.background[at]]
    return np.clip(255 * colours + (1 - opacity[..., None]) * behind, 0, 255).astype(np.uint8)


def measure(
    renderer: Renderer, pictures: Pictures, poses: NDArray[np.intp], limit: int
) -> tuple[Measures, list[tuple[Image, Image]]]:
    """Compare the field with pictures of ``poses``, ``limit`` of them, evenly spread; with pairs (true, drawn)."""
    shown = pictures.of_poses(poses)
    if not len(shown):
        raise UserError("no picture shows a pose that was held out: raise --held-out")
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, min(limit, len(shown))).astype(int))]
    pairs = [(pictures.images[at], drawn(renderer, pictures, at)) for at in chosen]
    differences = [(one.astype(np.float64) - other) / 255 for one, other in pairs]
    about = [difference[pictures.sampling[at]] for difference, at in zip(differences, chosen, strict=True)]
    measures = Measures(psnr(np.stack(differences)), psnr(np.concatenate(about)), len(chosen))
    return measures, pairs


def measured_reach(field: Field, skts: NDArray[np.floating], unit: float, seed: int = 0) -> FloatArray:
    """(24,) how far the person goes from each bone, field units, over some of the poses ``skts`` (P, 24, 4, 4)."""
    generator = rng(seed, "reach", "anerf")
    chosen = generator.choice(len(skts), min(POSES, len(skts)), replace=False)
    widest = WIDEST * unit
    found = torch.zeros(24)
    density = Density(field, field.network_fine)
    for at in chosen:
        pose = torch.from_numpy(np.asarray(skts[at], np.float32))[None]
        joints = joints_of(pose)
        points = _about(joints[0], widest, generator)
        with torch.inference_mode():
            raw = density(local_points(points[None], pose))["density"][0]
        matter = 1 - torch.exp(-raw.clamp(min=0) * THICKNESS) > SEEN
        distance, bone = nearest_bone(points[None], joints, widest)
        for number in range(24):
            here = distance[0][matter & (bone[0] == number)]
            if len(here):
                found[number] = torch.maximum(found[number], here.quantile(0.999))
    return np.minimum(found.numpy() + SLACK, widest.numpy()).astype(np.float32)


def _about(joints: torch.Tensor, radii: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Points (N, 3) in balls of ``radii`` about places on the bones between ``joints`` (24, 3)."""
    share = torch.from_numpy(generator.random((24, POINTS, 1), dtype=np.float32))
    on_bone = joints[PARENTS][:, None] + share * (joints - joints[PARENTS])[:, None]
    way = torch.from_numpy(generator.standard_normal((*share.shape[:2], 3), dtype=np.float32))
    far = torch.from_numpy(generator.random(share.shape, dtype=np.float32)) ** (1 / 3)
    return (on_bone + way / way.norm(dim=-1, keepdim=True) * far * radii[:, None, None]).flatten(0, 1)
