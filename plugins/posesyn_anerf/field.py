"""A-NeRF, an articulated radiance field of one person: encoding, network, samples along rays, compositing.

"A-NeRF: Articulated Neural Radiance Fields for Learning Human Shape, Appearance, and Pose" (Su et al., NeurIPS 2021),
as its code does it. A point is seen from all 24 joints of the posed skeleton (``local_points``), whose distances and
directions are encoded with frequencies and cut off far from the joint (:class:`CutoffEncoding`); a multilayer
perceptron turns them into density and colour (:class:`Network`). A ray through a vertical cylinder about the person
gets equally spaced samples, then finer ones where the first found something (``sample_fine``), and is the weighted sum
of what they show (``composite``); :func:`render_rays` is the whole.

Lengths are in the field's own unit (about 1.78 a metre for SURREAL); y points down; a ray's direction is not
normalised, so that depths along it are those of the camera. All is batched over R rays of S samples, of the dtype of
its arguments, and free of data-dependent control flow: no ``searchsorted``, no branch on values.
"""

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from posesyn_anerf.reach import near_bones

JOINTS = 24
EMPTY = -1e4
"""Raw density of what is known to be empty, so that no noise makes it anything."""
LAST_INTERVAL = 1e10
"""Length of the interval behind the last sample: any density there makes the ray opaque."""


@frozen
class FieldSizes:
    """What a field's weights are shaped by; the defaults are SURREAL's. ``codes`` is the size of a frame's code."""

    depth: int = 8
    width: int = 256
    skip: int = 4
    point_frequencies: int = 7
    view_frequencies: int = 4
    frames: int = 0
    codes: int = 0
    single: bool = False

    @property
    def point_values(self) -> int:
        """Encoded distances, then the directions of the joints as they are."""
        return JOINTS * (1 + 2 * self.point_frequencies) + 3 * JOINTS

    @property
    def view_values(self) -> int:
        return 3 * JOINTS * (1 + 2 * self.view_frequencies)


class CutoffEncoding(nn.Module):
    """Rows [x; sin x; cos x; sin 2x; cos 2x; ...] of values that belong to joints, weighed by their joint's nearness.

    The raw row is weighed, too. ``tau`` is how sharply, ``cutoff_dist`` (24,) where nearness ends; buffers, which
    training moves and checkpoints keep.
    """

    cutoff_dist: Tensor
    tau: Tensor

    def __init__(self, frequencies: int, cutoff: float = 0.5, tau: float = 20.0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.register_buffer("cutoff_dist", torch.full((JOINTS,), cutoff))
        self.register_buffer("tau", torch.tensor(tau))

    def weights(self, distance: Tensor) -> Tensor:
        """(..., 24) nearness, 1 at the joint ... 0 far off, of ``distance`` (..., 24)."""
        return 1 - torch.sigmoid(self.tau * (distance - self.cutoff_dist))

    def forward(self, values: Tensor, distance: Tensor) -> Tensor:
        """(..., K, 24) or (..., 24 * k) values, joint by joint, to (..., (1 + 2 frequencies) * their number)."""
        per_joint = values.shape[-1] // JOINTS
        rows = [values]
        for power in range(self.frequencies):
            rows += [torch.sin(values * 2**power), torch.cos(values * 2**power)]
        weights = self.weights(distance).repeat_interleave(per_joint, dim=-1)
        return (torch.stack(rows, dim=-2) * weights[..., None, :]).flatten(-2)


class FrameCodes(nn.Module):
    """A learnt code for each frame of the training (changing light, what the pose does not explain)."""

    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        self.codes = nn.Embedding(frames, size)

    def forward(self, index: Tensor) -> Tensor:
        """(R,) or (R, 1) frames -> (R, size); outside of training, a batch of negative ones alone has the mean code.

        (R, 3) is (frame, other frame, how far towards the other).
        """
        index = index[:, None] if index.dim() == 1 else index
        if index.shape[1] == 3:
            first, second = (self.codes(index[:, at].long().clamp(min=0)) for at in (0, 1))
            return torch.lerp(first, second, index[:, 2:].to(first))
        own = self.codes(index[:, 0].long().clamp(min=0))
        if self.training:
            return own
        return torch.where((index < 0).all(), self.codes.weight.mean(dim=0), own)


class Network(nn.Module):
    """Density and colour of encoded points; the names are the official checkpoint's."""

    def __init__(self, sizes: FieldSizes) -> None:
        super().__init__()
        self.sizes = sizes
        points, width = sizes.point_values, sizes.width
        inputs = [points] + [width + points * (at == sizes.skip) for at in range(sizes.depth - 1)]
        self.pts_linears = nn.ModuleList(nn.Linear(count, width) for count in inputs)
        self.alpha_linear = nn.Linear(width, 1)
        self.feature_linear = nn.Linear(width, width)
        self.views_linears = nn.ModuleList([nn.Linear(width + sizes.view_values + sizes.codes, width // 2)])
        self.rgb_linear = nn.Linear(width // 2, 3)
        self.framecodes = FrameCodes(sizes.frames, sizes.codes) if sizes.codes else None

    def hidden(self, points: Tensor) -> Tensor:
        """(..., width) of encoded points (..., P), which enter again, in front, behind layer ``skip``."""
        found = points
        for at, layer in enumerate(self.pts_linears):
            found = relu(layer(found))
            if at == self.sizes.skip:
                found = torch.cat([points, found], dim=-1)
        return found

    def density(self, hidden: Tensor) -> Tensor:
        """(...) raw density."""
        return self.alpha_linear(hidden)[..., 0]

    def colour(self, hidden: Tensor, views: Tensor) -> Tensor:
        """(..., 3) raw colours; ``views`` (..., V): encoded directions, with the code behind them if there is one."""
        seen = torch.cat([self.feature_linear(hidden), views], dim=-1)
        return self.rgb_linear(relu(self.views_linears[0](seen)))

    def forward(self, points: Tensor, views: Tensor) -> Tensor:
        """(..., 4): raw red, green, blue and density."""
        hidden = self.hidden(points)
        return torch.cat([self.colour(hidden, views), self.density(hidden)[..., None]], dim=-1)


class Field(nn.Module):
    """Both networks with their encodings; ``network_fine`` is ``network_fn`` itself where one serves for both."""

    def __init__(self, sizes: FieldSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.network_fn = Network(sizes)
        self.network_fine = self.network_fn if sizes.single else Network(sizes)
        self.embed = CutoffEncoding(sizes.point_frequencies)
        self.embeddirs = CutoffEncoding(sizes.view_frequencies)

    def encode_points(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded points (..., P) and distances (..., 24) of points as the joints see them (..., 24, 3)."""
        distance = local.norm(dim=-1)
        directions = normalize(local, dim=-1, eps=1e-12).flatten(-2)
        return torch.cat([self.embed(distance, distance), directions], dim=-1), distance

    def encode_views(self, network: Network, turned: Tensor, distance: Tensor, frame: Tensor | None) -> Tensor:
        """Encoded ray directions (..., V), each weighed by the point's nearness, and the frame's code.

        ``turned`` (..., 24, 3) are the rays' directions as the joints see them, ``frame`` (..., 1) the frames' indices.
        """
        encoded = self.embeddirs(normalize(turned, dim=-1, eps=1e-12).flatten(-2), distance)
        if network.framecodes is None:
            return encoded
        assert frame is not None, "this field was trained with a code for each frame: say which (-1 = their mean)"
        codes = network.framecodes(frame.reshape(-1, 1)).expand(frame.numel(), -1).reshape(*frame.shape[:-1], -1)
        return torch.cat([encoded, codes.to(encoded)], dim=-1)

    def forward(self, network: Network, local: Tensor, turned: Tensor, frame: Tensor | None = None) -> Tensor:
        """(..., 4) raw colours and density of points and ray directions as the joints see them, (..., 24, 3) each."""
        points, distance = self.encode_points(local)
        return network(points, self.encode_views(network, turned, distance, frame))


# What the joints see


def local_points(points: Tensor, skts: Tensor) -> Tensor:
    """(R, S, 24, 3) of world points (R, S, 3); ``skts`` (R, 24, 4, 4) world -> joint."""
    return torch.einsum("rjab,rsb->rsja", skts[..., :3, :3], points) + skts[:, None, :, :3, 3]


def local_directions(directions: Tensor, skts: Tensor) -> Tensor:
    """(R, 24, 3) of ray directions (R, 3)."""
    return torch.einsum("rjab,rb->rja", skts[..., :3, :3], directions)


def joints_of(skts: Tensor) -> Tensor:
    """The joints' places (R, 24, 3) in the world."""
    return -(skts[..., :3, :3].mT @ skts[..., :3, 3:])[..., 0]


# Samples along rays


@frozen(eq=False)
class Span:
    """Depths (R,) at which rays enter and leave their cylinders, and which of them hit it."""

    near: Tensor
    far: Tensor
    hits: Tensor


def near_far(origins: Tensor, directions: Tensor, cylinder: Tensor, near: float = 0.0, far: float = 1.0) -> Span:
    """Where rays (R, 3) enter and leave vertical cylinders (R, 5: x, z, radius, top, bottom), as depths (R,).

    Rays that miss get the mean of those that hit, so their colour depends on which are rendered together.
    """
    start = (origins + near * directions)[:, ::2]
    length = directions[:, ::2].norm(dim=-1)
    unit = directions[:, ::2] / length[:, None]
    to_axis = cylinder[:, :2] - start
    along = (to_axis * unit).sum(dim=-1)
    off = to_axis[:, 0] * unit[:, 1] - to_axis[:, 1] * unit[:, 0]
    squared = cylinder[:, 2] ** 2 - off**2
    hits = squared >= 0
    half = squared.clamp(min=0).sqrt()
    enters = torch.where(half < along, near + (along - half) / length, torch.full_like(along, near))
    return Span(_mean_where_missed(enters, hits), _mean_where_missed(near + (along + half) / length, hits), hits)


def _mean_where_missed(values: Tensor, hits: Tensor) -> Tensor:
    mean = torch.where(hits, values, torch.zeros_like(values)).sum() / hits.sum().clamp(min=1)
    return torch.where(hits, values, mean)


def sample_coarse(near: Tensor, far: Tensor, count: int, jitter: Tensor | None = None) -> Tensor:
    """Depths (R, count), equally spaced with both ends; ``jitter`` (R, count) in 0..1 moves each within its cell."""
    steps = torch.linspace(0, 1, count, dtype=near.dtype, device=near.device)
    depths = near[:, None] * (1 - steps) + far[:, None] * steps
    if jitter is None:
        return depths
    middles = (depths[:, 1:] + depths[:, :-1]) / 2
    low, high = torch.cat([depths[:, :1], middles], dim=1), torch.cat([middles, depths[:, -1:]], dim=1)
    return low + (high - low) * jitter


def sample_fine(depths: Tensor, weights: Tensor, count: int, single: bool, draws: Tensor | None = None) -> Tensor:
    """More depths (R, count) where coarse ``weights`` (R, N) at ``depths`` are large: inverse of their distribution.

    ``draws`` (R, count) in 0..1 are equally spaced if not given. For one network the weights are widened first, since
    it evaluates the new samples alone. The cell of a draw is counted, not searched: the number of borders not above it.
    """
    bins = (depths[:, 1:] + depths[:, :-1]) / 2
    density = (_widened(weights) if single else weights)[:, 1:-1] + 1e-5
    cumulated = torch.cumsum(density / density.sum(dim=-1, keepdim=True), dim=-1)
    borders = torch.cat([torch.zeros_like(cumulated[:, :1]), cumulated], dim=-1)
    if draws is None:
        draws = torch.linspace(0, 1, count, dtype=depths.dtype, device=depths.device).expand(len(depths), count)
    above = (borders[:, None, :] <= draws[:, :, None]).sum(dim=-1)
    low, high = (above - 1).clamp(min=0), above.clamp(max=borders.shape[1] - 1)
    start, width = borders.gather(1, low), borders.gather(1, high) - borders.gather(1, low)
    share = (draws - start) / torch.where(width < 1e-5, torch.ones_like(width), width)
    return bins.gather(1, low) + share * (bins.gather(1, high) - bins.gather(1, low))


def _widened(weights: Tensor) -> Tensor:
    padded = torch.cat([weights[:, :1], weights, weights[:, -1:]], dim=1)
    larger = torch.maximum(padded[:, :-1], padded[:, 1:])
    return (larger[:, :-1] + larger[:, 1:]) / 2 + 0.01


# Compositing


@frozen(eq=False)
class Composite:
    """Colour, opacity, depth and disparity of R rays, and the weight and opacity of their S samples."""

    rgb: Tensor
    acc: Tensor
    depth: Tensor
    disparity: Tensor
    weights: Tensor
    alpha: Tensor


def composite(
    raw: Tensor, depths: Tensor, directions: Tensor, noise: Tensor | None = None, density_scale: float = 1.0
) -> Composite:
    """Rays from raw colours and densities (R, S, 4) at ``depths`` (R, S).

    ``noise`` (R, S) is added to the density in training. Colours are stretched by 0.1 % beyond 0..1.
    """
    last = torch.full_like(depths[:, :1], LAST_INTERVAL)
    intervals = torch.cat([depths[:, 1:] - depths[:, :-1], last], dim=1) * directions.norm(dim=-1, keepdim=True)
    density = raw[..., 3] / density_scale + (0 if noise is None else noise)
    alpha = 1 - torch.exp(-relu(density) * intervals)
    passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], dim=1), dim=1)[:, :-1]
    weights = alpha * passed
    total = weights.sum(dim=1)
    depth = (weights * depths).sum(dim=1)
    disparity = 1 / (depth / (total + 1e-10)).clamp(min=1e-10)
    disparity = torch.where(total.abs() <= 1e-8, torch.zeros_like(disparity), disparity)
    rgb = (weights[..., None] * (torch.sigmoid(raw[..., :3]) * 1.002 - 0.001)).sum(dim=1)
    return Composite(rgb, total.clamp(max=1), depth, disparity, weights, alpha)


# The whole


@frozen(eq=False)
class Draws:
    """The random numbers of a training step, each (R, samples): see :func:`sample_coarse`, :func:`composite`."""

    jitter: Tensor
    fine: Tensor
    noise_coarse: Tensor
    noise_fine: Tensor


@frozen(eq=False)
class Rays:
    """R rays: origins and directions (R, 3), the skeleton (R, 24, 4, 4) and cylinder (R, 5) of each one's pose, and
    the frame (R, 1) whose code it has, if the field has codes."""

    origins: Tensor
    directions: Tensor
    skts: Tensor
    cylinders: Tensor
    frames: Tensor | None = None


@frozen(eq=False)
class Rendered:
    """Coarse and fine picture of rays, with the depths at which they were sampled and the networks' raw outputs."""

    coarse: Composite
    fine: Composite
    span: Span
    depths: Tensor
    fine_depths: Tensor
    all_depths: Tensor
    order: Tensor
    raw_coarse: Tensor
    raw_second: Tensor


def render_rays(
    field: Field,
    rays: Rays,
    coarse: int,
    fine: int,
    draws: Draws | None = None,
    density_scale: float = 1.0,
    reach: Tensor | None = None,
) -> Rendered:
    """Render rays with ``coarse`` and ``fine`` samples; deterministic without ``draws``.

    With ``reach`` (24,) samples farther from the bones are taken for empty, and the field is not asked.
    """
    span = near_far(rays.origins, rays.directions, rays.cylinders)
    turned = local_directions(rays.directions, rays.skts)[:, None]
    joints = None if reach is None else joints_of(rays.skts)

    def look(network: Network, depths: Tensor) -> Tensor:
        points = rays.origins[:, None] + rays.directions[:, None] * depths[..., None]
        frames = None if rays.frames is None else rays.frames[:, None].expand(-1, depths.shape[1], -1)
        if joints is None or reach is None:
            local = local_points(points, rays.skts)
            return field(network, local, turned.expand_as(local), frames)
        ray, sample = near_bones(points, joints, reach).nonzero(as_tuple=True)
        local = local_points(points[ray, sample][:, None], rays.skts[ray])[:, 0]
        raw = field(network, local, turned[ray, 0], None if frames is None else frames[ray, sample])
        empty = raw.new_tensor([0.0, 0.0, 0.0, EMPTY]).expand(*depths.shape, 4)
        return empty.index_put((ray, sample), raw)

    depths = sample_coarse(span.near, span.far, coarse, draws.jitter if draws else None)
    raw = look(field.network_fn, depths)
    first = composite(raw, depths, rays.directions, draws.noise_coarse if draws else None, density_scale)
    weights = first.weights.detach()
    added = sample_fine(depths.detach(), weights, fine, field.sizes.single, draws.fine if draws else None)
    every, order = torch.sort(torch.cat([depths, added], dim=1), dim=1, stable=True)
    if field.sizes.single:
        second = look(field.network_fn, added)
        merged = torch.cat([raw, second], dim=1).gather(1, order[..., None].expand(-1, -1, 4))
    else:
        merged = second = look(field.network_fine, every)
    final = composite(merged, every, rays.directions, draws.noise_fine if draws else None, density_scale)
    return Rendered(first, final, span, depths, added, every, order, raw, second)
