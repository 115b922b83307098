"""Several looks at a person inside one exported network: each crop is cut where the look before says.

The network gets a wide crop about the person, and its middle, which the first look sees, once more: in bytes, that
engines make numbers of where they need them, and of which TensorRT can't take a part. Squares are tensors (B, 4) in
pixels of the wide crop: x and y of the centre, side, clockwise rotation (see ``posesyn_blazepose.rois``, whose
arithmetic this is in torch, without any choice that would depend on the data in the flow of control).
"""

from fractions import Fraction

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from posesyn_blazepose.network import SIZE, LandmarkNetwork, refined
from posesyn_blazepose.rois import MARGIN, STEADY
from posesyn_core.errors import UserError

WHITE = 255
"""The brightest level of a byte."""
POSE = 33
"""Landmarks of the pose; the next two say where to look next."""


@frozen
class Wide:
    """A wide crop: its ``side``, of which the ``first`` look's square takes the middle, both in its pixels."""

    side: int
    first: int

    @property
    def middle(self) -> slice:
        """Rows, or columns, of the first look's square."""
        return slice((self.side - self.first) // 2, (self.side + self.first) // 2)

    @property
    def room(self) -> float:
        """The wide crop's side over that of the first look's square."""
        return self.side / self.first


LANDMARKS_WIDE = Wide(392, 336)
"""BlazePose's own. With the starter's, a third larger, "full" finds as many of the limb joints in photographs (77.1 and
77.0 %, PCK@0.2 of the torso, 37 people, 13 boxes each)."""
STARTERS_WIDE = Wide(448, 336)
"""The starter's, whose second look's square may lie anywhere."""


def first_square(crops: Tensor, wide: Wide) -> Tensor:
    """The upright square (1, 4) of the first look, the same in all pictures, of the type of its ``crops``."""
    return crops.new_tensor([[wide.side / 2, wide.side / 2, wide.first, 0.0]])


def turns(squares: Tensor) -> Tensor:
    """R (B, 2, 2)."""
    cos, sin = squares[:, 3].cos(), squares[:, 3].sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


class Middle(nn.Module):
    """The first look's crop: the wide crop's middle, made smaller.

    Its place is always the same, so the bilinear crop is a product with constant weights: each 21 rows and columns of
    336, for one, become 16 of 256.
    """

    weights: Tensor

    def __init__(self, wide: Wide) -> None:
        super().__init__()
        step = Fraction(wide.first, SIZE)
        places = torch.arange(step.denominator)[:, None] * float(step)
        weights = (1 - (places - torch.arange(step.numerator)).abs()).clamp(min=0)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, middle: Tensor) -> Tensor:
        """Middles (B, 3, first, first) of wide crops, bytes -> what :class:`Cropper` would cut out at
        :func:`first_square` (B, 3, 256, 256)."""
        blocks = SIZE // len(self.weights)
        columns = middle.to(self.weights.dtype).unflatten(3, (blocks, -1))
        narrow = (columns @ (self.weights.mT / WHITE)).flatten(3)
        return (self.weights @ narrow.unflatten(2, (blocks, -1))).flatten(2, 3)


class Cropper(nn.Module):
    """Cuts squares out; a module of its own, which half-precision engines leave in float32."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        steps = torch.arange(SIZE, dtype=torch.float32) - SIZE / 2
        self.register_buffer("steps", torch.stack([steps, torch.ones_like(steps)], -1), persistent=False)

    def forward(self, images: Tensor, squares: Tensor) -> Tensor:
        """Wide crops (B, 3, W, W), bytes, and squares in them -> crops (B, 3, 256, 256) in 0..1: bilinear, the border
        repeated outside.

        Places beyond the border are moved onto it first: ONNX Runtime samples twice as fast where zeros are padded.
        Their grid is the product of one row of places and the step from row to row.
        """
        side = images.shape[-1]
        across, down = (turns(squares).mT * (squares[:, 2] * 2 / (SIZE * side))[:, None, None]).split(1, 1)
        middle = squares[:, None, :2] * (2 / side) + (1 / side - 1)
        row = self.steps @ torch.cat([across, middle], 1)
        grid = self.steps @ torch.cat([down.repeat(1, 1, SIZE), row.flatten(1)[:, None]], 1)
        edge = 1 - 1 / side
        crops = functional.grid_sample(
            images.to(self.steps.dtype),
            grid.clamp(-edge, edge).unflatten(2, (SIZE, 2)),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        return crops / WHITE


def to_wide(points: Tensor, squares: Tensor) -> Tensor:
    """Points (B, J, 2) in pixels of the crops of 256 pixels, in pixels of the wide crop."""
    away = (points - SIZE / 2) * (squares[:, 2] / SIZE)[:, None, None]
    return away @ turns(squares).mT + squares[:, None, :2]


def square_of_points(first: Tensor, second: Tensor) -> Tensor:
    """Squares (B, 4) about ``first`` (B, 2), reaching beyond ``second``, which they turn straight up."""
    x, y = (second - first).unbind(-1)
    side = 2 * MARGIN * (x.square() + y.square() + 1e-6).sqrt()
    return torch.stack([first[:, 0], first[:, 1], side, torch.atan2(x, -y)], -1)


def guarded(before: Tensor, after: Tensor) -> Tensor:
    """``after`` (B, 4), or ``before`` where the side would change by more than ``STEADY``."""
    change = after[:, 2] / before[:, 2]
    return torch.where(((change > STEADY[0]) & (change < STEADY[1]))[:, None], after, before)


class Aim(nn.Module):
    """Where the second look goes: landmarks 33 and 34 say it, exactly enough before their heatmaps refine them."""

    def forward(self, landmarks: Tensor, squares: Tensor) -> Tensor:
        """Landmarks (B, 39, 5) in pixels of the crops of ``squares`` (B, 4), or one for all -> squares (B, 4)."""
        ends = to_wide(landmarks[:, POSE : POSE + 2, :2], squares)
        return guarded(squares, square_of_points(ends[:, 0], ends[:, 1]))


class Told(nn.Module):
    """What the second look's landmarks are in the wide crop, whose ``side`` it is told."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, landmarks: Tensor, world: Tensor, squares: Tensor) -> dict[str, Tensor]:
        """``points`` (B, 33, 2) in sides of the wide crop from its middle, ``world`` (B, 33, 3) metres, turned back
        upright, ``confidence`` (B, 33)."""
        points = to_wide(landmarks[:, :POSE, :2], squares) / self.side - 0.5
        upright = world[:, :POSE, :2] @ turns(squares).mT
        confidence = torch.sigmoid(landmarks[:, :POSE, 3:]).prod(-1)
        return {"points": points, "world": torch.cat([upright, world[:, :POSE, 2:]], -1), "confidence": confidence}


class Looks(nn.Module):
    """Two landmark networks, the second of which looks where the first one says, or once more where it says itself."""

    def __init__(self, first: LandmarkNetwork, second: LandmarkNetwork, looks: int = 2) -> None:
        """``looks``, 2 or more: those of both together."""
        super().__init__()
        self.first, self.second, self.looks = first, second, looks
        self.wide = LANDMARKS_WIDE
        self.middle, self.cropper, self.aim, self.told = Middle(self.wide), Cropper(), Aim(), Told(self.wide.side)

    def forward(self, images: Tensor, inner: Tensor) -> dict[str, Tensor]:
        """Wide crops (B, 3, side, side) and their middles (B, 3, first, first), bytes of RGB -> see :class:`Told`;
        ``flag`` (B,): is there a person?"""
        refuse_coarse(self.second.heatmaps.weight)
        crops = self.middle(inner)
        first = self.first(crops, heatmaps=False)
        squares = self.aim(first["landmarks"], first_square(crops, self.wide))
        for _ in range(self.looks - 2):
            again = self.second(self.cropper(images, squares), heatmaps=False)
            squares = self.aim(again["landmarks"], squares)
        second = self.second(self.cropper(images, squares))
        landmarks = refined(second["landmarks"], second["heatmaps"])
        return {**self.told(landmarks, second["world"], squares), "flag": second["flag"]}


def refuse_coarse(weight: Tensor) -> None:
    """UserError if a network's weights are in bfloat16."""
    if weight.dtype == torch.bfloat16:
        raise UserError("BlazePose's networks lose centimetres in bf16: set the engine's precision to fp16 or fp32")
