"""BlazePose's person detector as a PersonDetector: everyone in the picture, small people too.

MediaPipe looks at the whole picture, and goes on with the first person. Here the picture is also looked at in parts,
which overlap; the landmarks then say whether somebody is there, how large, and who was found twice.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_blazepose.config import DetectorConfig
from posesyn_blazepose.detection import letterboxed, people
from posesyn_blazepose.detector_network import SIZE
from posesyn_blazepose.looker import Seen, look_where_told, mask_in_picture
from posesyn_blazepose.rois import Floats, square_of_points
from posesyn_blazepose.weights import load_detector, load_landmarks
from posesyn_core.values import Detections, Image

OVERLAP = 1.15
"""A part's side over its share of the picture's, so that people at its edges are whole in the next."""
SAME_PLACE, SAME_SIDE = 0.15, 2.0
"""Squares whose centres are nearer than that share of a side, and of similar size, are one person's before any look."""
SAME_PERSON = 0.12
"""The mean distance of the landmarks, of a square's side, below which two people are one."""
PART_OF, SURER = 0.75, 0.2
"""A person whose mask lies so far within those of others, of whom the detector is surer by so much, is part of them."""
SAME_MASK = 0.7
"""The overlap (intersection over union) of their masks from which two people are one."""
UNSURE, ON_MASK, FULL = 0.5, 0.7, 0.8
"""Of whom the detector is less sure than the first, the mask must show an outline: so many of the landmarks lie on it,
and it fills no more of the box."""
SURE = 0.4
"""Visibility x presence from which a landmark counts for the box."""
LEAST_SURE = 6
"""Landmarks that somebody must show to be found."""
SIDE, TOP = 0.08, 0.14
"""How far the box reaches beyond the landmarks, as shares of their longer extent; the top is that of the head."""
HEAD = slice(0, 11)


class BlazePoseDetector:
    """Finds the people of pictures."""

    def __init__(self, config: DetectorConfig) -> None:
        """UserError if the weights can't be loaded."""
        self.config = config
        self.network = load_detector().to(config.device)
        self.landmarks = load_landmarks(config.weights).to(config.device)
        self.first = load_landmarks("lite").to(config.device)
        for network in (self.network, self.landmarks, self.first):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        """The people of each picture, surest first."""
        return [self._find(image) for image in images]

    def _find(self, image: Image) -> Detections:
        squares, scores = self._candidates(image)
        if not len(squares):
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        seen = look_where_told((self.first, self.landmarks), [image] * len(squares), squares, masks=True)
        there = _different(seen, np.flatnonzero(seen.flag >= self.config.min_presence))
        boxes = {at: box for at in there if (box := _box(seen, at, image)) is not None}
        kept = _whole(seen, boxes, scores, image)
        found = np.array([boxes[at] for at in kept], np.float32).reshape(-1, 4)
        return Detections(found, scores[kept].astype(np.float32))

    def _candidates(self, image: Image) -> tuple[Floats, Floats]:
        """Squares (N, 4) that may show a person, and their scores, surest first; those of the same place left out."""
        found: list[tuple[float, Floats]] = []
        for place, part in _parts(image, self.config.tiles):
            pixels = torch.from_numpy(letterboxed(part)).permute(2, 0, 1)[None].float() / (255 / 2) - 1
            assert pixels.shape[-1] == SIZE
            with torch.inference_mode():
                said = self.network(pixels.to(next(self.network.parameters()).device))
            here = people(said["scores"][0].cpu().numpy(), said["boxes"][0].cpu().numpy(), part, self.config.min_score)
            squares = square_of_points(here.points[:, 2] + place, here.points[:, 3] + place)
            found += zip(here.scores, squares, strict=True)
        found.sort(key=lambda one: -one[0])
        kept: list[tuple[float, Floats]] = []
        for score, square in found:
            if not any(_same_place(square, other) for _, other in kept):
                kept.append((float(score), square))
        return np.array([square for _, square in kept]).reshape(-1, 4), np.array([score for score, _ in kept])


def _parts(image: Image, tiles: int) -> Iterator[tuple[Floats, Image]]:
    """The picture, and its parts of 1/2, 1/3 ... of its longer side: the place (2,) of the first pixel, and the
    pixels."""
    height, width = image.shape[:2]
    yield np.zeros(2), image
    for count in range(2, tiles + 1):
        side = min(max(height, width), int(max(height, width) / count * OVERLAP))
        for top in _starts(height, side):
            for left in _starts(width, side):
                yield np.array([left, top], float), np.ascontiguousarray(image[top : top + side, left : left + side])


def _starts(length: int, side: int) -> list[int]:
    """Where parts of ``side`` begin that cover ``length``, each overlapping the next by a third or more."""
    count = max(1, int(np.ceil(length / side * 1.5)))
    return sorted({int(start) for start in np.linspace(0, max(length - side, 0), count)})


def _same_place(one: Floats, other: Floats) -> bool:
    apart, ratio = np.hypot(*(one[:2] - other[:2])), one[2] / other[2]
    return bool(apart < SAME_PLACE * one[2] and 1 / SAME_SIDE < ratio < SAME_SIDE)


def _different(seen: Seen, candidates: np.ndarray) -> list[int]:
    """Those of the candidates (surest first) whose landmarks are not another's before them."""
    kept: list[int] = []
    for at in candidates:
        apart = [np.linalg.norm(seen.points[at] - seen.points[k], axis=1).mean() for k in kept]
        sides = [min(seen.rois[at, 2], seen.rois[k, 2]) for k in kept]
        if all(distance >= SAME_PERSON * side for distance, side in zip(apart, sides, strict=True)):
            kept.append(int(at))
    return kept


def _whole(seen: Seen, boxes: Mapping[int, Floats], scores: Floats, image: Image) -> list[int]:
    """Those (surest first) whom their masks show to be people of their own.

    A bent knee alone may pass for a person, two neighbours' halves for a third, and so may letters on a wall.
    """
    kept: dict[int, NDArray[np.bool_]] = {}
    for at, box in boxes.items():
        assert seen.masks is not None
        mask = mask_in_picture(seen.masks[at], seen.rois[at], image) > 0.5
        if scores[at] < UNSURE and not _outlined(mask, box, seen, at):
            continue
        surer = [other for k, other in kept.items() if scores[k] > scores[at] + SURER]
        part = mask.any() and bool(surer) and (mask & np.any(surer, axis=0)).sum() >= PART_OF * mask.sum()
        same = any((mask & other).sum() > SAME_MASK * (mask | other).sum() for other in kept.values())
        if not part and not same:
            kept[at] = mask
    return list(kept)


def _outlined(mask: NDArray[np.bool_], box: Floats, seen: Seen, at: int) -> bool:
    """Whether a mask (H, W) is where the landmarks are, and leaves room in the box about them."""
    x0, y0, x1, y1 = np.round(box).astype(int)
    places = np.round(seen.points[at][_shown(seen, at, mask.shape)]).astype(int)
    on_mask = mask[places[:, 1], places[:, 0]].mean()
    return bool(on_mask >= ON_MASK and mask[y0 : y1 + 1, x0 : x1 + 1].mean() <= FULL)


def _shown(seen: Seen, at: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which landmarks (33,) of a person are surely seen, inside a picture of that shape."""
    points = seen.points[at]
    inside = (points >= 0) & (points <= np.array([shape[1] - 1, shape[0] - 1]))
    return np.asarray((seen.visibility[at] * seen.presence[at] >= SURE) & inside.all(1))


def _box(seen: Seen, at: int, image: Image) -> Floats | None:
    """The box (4,) about what is seen of a person, inside the picture; None if that is too little."""
    last = np.array([image.shape[1] - 1, image.shape[0] - 1], float)
    points, sure = seen.points[at], _shown(seen, at, image.shape)
    if sure.sum() < LEAST_SURE:
        return None
    low, high = points[sure].min(0), points[sure].max(0)
    extent = (high - low).max()
    low = low - extent * np.array([SIDE, TOP if sure[HEAD].any() else SIDE])
    box = np.concatenate([np.clip(low, 0, last), np.clip(high + extent * SIDE, 0, last)])
    return box if (box[2:] > box[:2]).all() else None
