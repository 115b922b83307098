"""Pictures of a field, as published but without the work that shows nothing.

The samples are those of :func:`posesyn_anerf.field.render_rays`. Left out are the rays that pass no bone, the samples
of the others that are far from all bones, those of the fine pass where the coarse one found nothing, or something
opaque before it, and the colours of samples that weigh nothing. ``skip`` off renders the whole bounding box.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_anerf.cameras import RENDERED, Floats, cylinders, pixel_box, pixel_rays, to_extrinsic
from posesyn_anerf.field import (
    EMPTY,
    Field,
    Network,
    composite,
    local_directions,
    local_points,
    near_far,
    sample_coarse,
    sample_fine,
)
from posesyn_anerf.reach import PARENTS, WIDEST, near_bones
from posesyn_anerf.weights import Loaded
from posesyn_core.contracts.engines import ExportableModule, NetworkCall

COARSE, FINE, COLOUR = "coarse", "fine", "colour"
"""The networks, as engines call them; a field of one network has no coarse one."""
ROWS = 4096
"""Samples that an engine's network takes at a time."""
FAINT = 1e-3
"""What weighs less, or is seen by less light, shows nothing in 8 bits."""


class Density(nn.Module):
    """Raw density (B, K) and hidden layer (B, K, W) of points as the joints see them (B, K, 24, 3)."""

    def __init__(self, field: Field, network: Network) -> None:
        super().__init__()
        self.field, self.network = field, network

    def forward(self, local: Tensor) -> dict[str, Tensor]:
        hidden = self.network.hidden(self.field.encode_points(local)[0])
        return {"density": self.network.density(hidden), "hidden": hidden}


class Colour(nn.Module):
    """Raw colours (B, K, 3) from the hidden layer, the point and the ray's direction as the joints see them.

    Codes of frames, if the field has them, are their mean: no frame of the training is drawn.
    """

    def __init__(self, field: Field, network: Network) -> None:
        super().__init__()
        self.field, self.network = field, network

    def forward(self, hidden: Tensor, local: Tensor, turned: Tensor) -> dict[str, Tensor]:
        mean = torch.full((*local.shape[:-2], 1), -1, device=local.device) if self.field.sizes.codes else None
        views = self.field.encode_views(self.network, turned, local.norm(dim=-1), mean)
        return {"rgb": self.network.colour(hidden, views)}


@frozen(eq=False)
class View:
    """A pose ``skts`` (24, 4, 4), world -> joint, and the camera that sees it: ``c2w`` (4, 4), ``focal`` and ``centre``
    (2,) and ``size`` (H, W) in pixels."""

    skts: Floats
    c2w: Floats
    focal: Floats
    centre: Floats
    size: tuple[int, int]

    @property
    def joints(self) -> Floats:
        """(24, 3) in the world."""
        return np.linalg.inv(self.skts)[:, :3, 3]


class Renderer:
    """Renders views of a field with so many ``coarse`` and ``fine`` samples, ``chunk`` rays at once.

    ``reach`` (24,) bounds the person about the bones. Networks compute in ``dtype``, all else in float32.
    """

    def __init__(
        self, field: Field, coarse: int, fine: int, reach: Tensor, *, skip: bool = True, chunk: int = 4096,
        device: str = "cpu", dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.field, self.coarse, self.fine = field.to(device), coarse, fine
        self.reach, self.skip, self.chunk = reach.to(device), skip, chunk
        self.device, self.dtype = torch.device(device), dtype
        self.modules = modules_of(self.field)
        self.calls: dict[str, NetworkCall] = {name: self._eager(module) for name, module in self.modules.items()}

    def networks(self) -> list[ExportableModule]:
        """The networks for engines: rows of ``ROWS`` samples."""
        draw = torch.Generator().manual_seed(0)
        shape = (2, ROWS, 24, 3)
        local, turned = (torch.randn(shape, generator=draw) for _ in range(2))
        hidden = torch.rand(*shape[:2], self.field.sizes.width, generator=draw)
        inputs = {COLOUR: {"hidden": hidden, "local": local, "turned": turned}}
        return [
            ExportableModule(name, module, inputs.get(name, {"local": local}), keep_fp32=("field.embed",))
            for name, module in self.modules.items()
        ]

    def use(self, calls: Mapping[str, NetworkCall]) -> None:
        """Compute with these from now on."""
        self.calls = {name: _in_rows(call) for name, call in calls.items()}

    def render(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Colours (H, W, 3), weighed by opacity, and opacity (H, W), of the person alone."""
        colours, opacity = np.zeros((*view.size, 3), np.float32), np.zeros(view.size, np.float32)
        pixels = self.pixels(view)
        for part in np.split(pixels, range(self.chunk, len(pixels), self.chunk)):
            if len(part):
                with torch.inference_mode():
                    rgb, acc = self._rays(view, part)
                colours[part[:, 1], part[:, 0]], opacity[part[:, 1], part[:, 0]] = rgb.cpu(), acc.cpu()
        return colours, opacity

    def pixels(self, view: View) -> NDArray[np.intp]:
        """The pixels (P, 2: x, y) that may show the person."""
        extrinsic, joints = to_extrinsic(view.c2w), view.joints
        (cylinder,) = cylinders(joints[None], RENDERED)
        low, high = pixel_box(cylinder, extrinsic, list(view.focal), view.size, list(view.centre))
        box = np.stack(np.meshgrid(*(np.arange(*ends) for ends in zip(low, high, strict=True))), axis=-1).reshape(-1, 2)
        if not self.skip or not len(box):
            return box
        shown = silhouette(joints @ extrinsic[:3, :3].T + extrinsic[:3, 3], self.reach.cpu().numpy(), view)
        return box[shown[box[:, 1], box[:, 0]]]

    def _rays(self, view: View, pixels: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Colours (P, 3) and opacity (P,) of pixels (P, 2)."""
        numbers = (*pixel_rays(view.c2w, pixels, view.focal, view.centre), view.skts, view.joints)
        origins, directions, skts, joints = (torch.tensor(n, dtype=torch.float32, device=self.device) for n in numbers)
        cylinder = torch.from_numpy(cylinders(view.joints[None], RENDERED)).to(origins).expand(len(origins), -1)
        rays = _Rays(origins, directions, skts, joints[None], local_directions(directions, skts[None]))
        span = near_far(origins, directions, cylinder)
        depths = sample_coarse(span.near, span.far, self.coarse)
        first = self._look(FINE if self.field.sizes.single else COARSE, rays, depths, self._near(rays, depths))
        found = composite(first.raw(), depths, directions)
        added = sample_fine(depths, found.weights, self.fine, self.field.sizes.single)
        every, order = torch.sort(torch.cat([depths, added], dim=1), dim=1, stable=True)
        if self.field.sizes.single:
            second = self._look(FINE, rays, added, self._promising(rays, added, depths, found.alpha))
            samples = first.merged(second, order)
        else:
            samples = self._look(FINE, rays, every, self._promising(rays, every, depths, found.alpha))
        final = composite(samples.raw(), every, directions)
        return self._coloured(rays, samples, final.weights), final.acc

    def _near(self, rays: "_Rays", depths: Tensor) -> Tensor:
        """(R, S) which samples may be of the person."""
        if not self.skip:
            return torch.ones_like(depths, dtype=torch.bool)
        return near_bones(rays.points(depths), rays.joints, self.reach)

    def _promising(self, rays: "_Rays", depths: Tensor, coarse: Tensor, alpha: Tensor) -> Tensor:
        """(R, S) which samples of the fine pass may show anything, after the coarse pass's ``alpha`` (R, N)."""
        if not self.skip:
            return torch.ones_like(depths, dtype=torch.bool)
        passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], dim=1), dim=1)[:, :-1]
        light = torch.cat([passed[:, :1], passed[:, :-1]], dim=1)  # before the sample before
        wide = nn.functional.pad(alpha, (1, 2))
        lively = torch.stack([wide[:, at : at + alpha.shape[1]] for at in range(4)]).amax(dim=0)
        cell = ((coarse[:, None] <= depths[..., None]).sum(dim=-1) - 1).clamp(min=0)
        shown = (light > FAINT) & (lively > FAINT)
        return shown.gather(1, cell) & near_bones(rays.points(depths), rays.joints, self.reach)

    def _look(self, name: str, rays: "_Rays", depths: Tensor, where: Tensor) -> "_Samples":
        """Densities of the samples at ``depths`` (R, S), of which those ``where`` (R, S) are computed."""
        ray, sample = where.nonzero(as_tuple=True)
        points = rays.origins[ray] + rays.directions[ray] * depths[ray, sample][:, None]
        local = local_points(points[None], rays.skts[None])
        found = self.calls[name]({"local": local})
        density = depths.new_full(depths.shape, EMPTY).index_put((ray, sample), found["density"][0])
        place = torch.full(depths.shape, -1, device=depths.device)
        place[ray, sample] = torch.arange(len(ray), device=depths.device)
        return _Samples(density, place, found["hidden"][0], local[0])

    def _coloured(self, rays: "_Rays", samples: "_Samples", weights: Tensor) -> Tensor:
        """(R, 3): the samples' colours by their ``weights`` (R, S)."""
        counts = (weights > (FAINT if self.skip else 0)) & (samples.place >= 0)
        ray, sample = counts.nonzero(as_tuple=True)
        place = samples.place[ray, sample]
        inputs = {"hidden": samples.hidden[place], "local": samples.local[place], "turned": rays.turned[ray]}
        raw = self.calls[COLOUR]({key: value[None] for key, value in inputs.items()})["rgb"][0]
        seen = weights[ray, sample][:, None] * (torch.sigmoid(raw) * 1.002 - 0.001)
        return torch.zeros(len(weights), 3, device=weights.device).index_add(0, ray, seen)

    def _eager(self, module: nn.Module) -> NetworkCall:
        half = self.dtype != torch.float32

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            with torch.autocast(self.device.type, self.dtype if half else None, enabled=half):
                return {name: tensor.float() for name, tensor in module(**tensors).items()}

        return call


def renderer_of(loaded: Loaded, coarse: int = 0, fine: int = 0, unit: float = 0.0, **options: Any) -> Renderer:
    """A renderer with the samples and the reach that the field's file tells, where none are given (0)."""
    person = loaded.person
    reach = WIDEST * (unit or person.unit) if person.reach is None else torch.from_numpy(person.reach)
    return Renderer(loaded.field, coarse or person.coarse, fine or person.fine, reach, **options)


def modules_of(field: Field) -> dict[str, nn.Module]:
    """What is exported of a field."""
    coarse = {} if field.sizes.single else {COARSE: Density(field, field.network_fn)}
    fine = field.network_fine
    return {**coarse, FINE: Density(field, fine), COLOUR: Colour(field, fine)}


@frozen(eq=False)
class _Rays:
    """R rays of one pose, with what the joints see of their directions, ``turned`` (R, 24, 3)."""

    origins: Tensor
    directions: Tensor
    skts: Tensor
    joints: Tensor
    turned: Tensor

    def points(self, depths: Tensor) -> Tensor:
        return self.origins[:, None] + self.directions[:, None] * depths[..., None]


@frozen(eq=False)
class _Samples:
    """Raw densities (R, S); ``place`` (R, S) is the row of ``hidden`` and ``local`` of those computed, else -1."""

    density: Tensor
    place: Tensor
    hidden: Tensor
    local: Tensor

    def raw(self) -> Tensor:
        """As :func:`composite` takes them; the colours are not known yet."""
        return nn.functional.pad(self.density[..., None], (3, 0))

    def merged(self, other: "_Samples", order: Tensor) -> "_Samples":
        """These samples and others, in ``order`` (R, S)."""
        shift = torch.where(other.place >= 0, other.place + len(self.hidden), other.place)
        return _Samples(
            torch.cat([self.density, other.density], dim=1).gather(1, order),
            torch.cat([self.place, shift], dim=1).gather(1, order),
            torch.cat([self.hidden, other.hidden]),
            torch.cat([self.local, other.local]),
        )


def _in_rows(call: NetworkCall) -> NetworkCall:
    """An engine's network for any number of samples: (1, K, ...) goes through it in rows of ``ROWS``."""

    def through(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        count = next(iter(tensors.values())).shape[1]
        parts: list[Mapping[str, Tensor]] = []
        for start in range(0, max(count, 1), ROWS):
            part = {name: _padded(tensor[:, start : start + ROWS]) for name, tensor in tensors.items()}
            parts.append(call(part))
        return {name: torch.cat([part[name] for part in parts], dim=1)[:, :count] for name in parts[0]}

    return through


def _padded(tensor: Tensor) -> Tensor:
    whole = tensor.new_zeros(1, ROWS, *tensor.shape[2:])
    whole[:, : tensor.shape[1]] = tensor
    return whole


def silhouette(joints: Floats, radii: Floats, view: View) -> NDArray[np.bool_]:
    """(H, W): where thick bones between ``joints`` (24, 3), camera frame, are seen; everywhere if one is too near."""
    depth = joints[:, 2] - 2 * radii
    if depth.min() <= 0 or depth[PARENTS].min() <= 0:
        return np.ones(view.size, bool)
    pixels = joints[:, :2] / joints[:, 2:] * view.focal + view.centre
    slant = np.linalg.norm(joints, axis=1) / joints[:, 2]
    mask = np.zeros(view.size, np.uint8)
    for at, parent in enumerate(PARENTS):
        nearest = min(joints[at, 2], joints[parent, 2]) - radii[at]
        thick = 2 * radii[at] * max(view.focal) / nearest * max(slant[at], slant[parent]) + 3
        ends = [tuple(round(float(value)) for value in pixels[joint]) for joint in (parent, at)]
        cv2.line(mask, ends[0], ends[1], 1, int(np.ceil(thick)))
    return mask.astype(bool)
