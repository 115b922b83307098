"""The other people in a person's picture, hidden from estimators that look at the crop of one person.

Where people overlap, a crop shows several, and an estimator may find the wrong one. With the recipe's
``neighbours = "masked"`` the others are covered by a flat colour, as far as their labels tell where they are: by a body
drawn about their 2D joints or, without labels, by their boxes. What may be the person itself stays.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from posesyn_core.files.images import encode_bmp, load_image
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import Image, LabelledFrame, Neighbour, Sample, SampleOrRejection, Url

Shown = TypeVar("Shown", Sample, LabelledFrame)
Key = Path | Url | bytes

TRUNK = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top", "upper_neck", "smpl_head", "h36m_head")
THICKNESS = 0.4
"""Of limbs and round the trunk, by the trunk's length."""
HEAD_RADIUS = 0.35
"""Of the head, likewise."""
TRUNK_SHARE = 0.3
"""The trunk's length by the box's longer side, where shoulders or hips are not labelled."""
LEAST_JOINTS = 4
"""With fewer labels a person is where its box is."""


def with_neighbours(read: Callable[[], Iterable[SampleOrRejection]]) -> Iterator[SampleOrRejection]:
    """What ``read`` yields, each sample with the others of the same picture as its ``neighbours``.

    It is read twice, so that people of a picture need not follow each other; their boxes and joints are kept in memory
    meanwhile. A picture is known by its path, or by its bytes.
    """
    people: dict[Key, list[tuple[str, Neighbour]]] = defaultdict(list)
    for entry in read():
        if isinstance(entry, Sample):
            other = Neighbour(entry.box, entry.joint_set, entry.keypoints2d, entry.confidence)
            people[_key(entry)].append((entry.id, other))
    for entry in read():
        if isinstance(entry, Sample):
            others = tuple(other for name, other in people[_key(entry)] if name != entry.id)
            yield evolve(entry, neighbours=others) if others else entry
        else:
            yield entry


def of_each_other(people: Sequence[Sample]) -> tuple[Sample, ...]:
    """The people of one picture, each with the others as its neighbours."""
    known = [Neighbour(one.box, one.joint_set, one.keypoints2d, one.confidence) for one in people]
    return tuple(evolve(one, neighbours=(*known[:at], *known[at + 1 :])) for at, one in enumerate(people))


def _key(sample: Sample) -> Key:
    return blake2b(sample.image, digest_size=16).digest() if isinstance(sample.image, bytes) else sample.image


def hidden(shown: Shown) -> Shown:
    """The sample or frame with its picture as bytes in which its neighbours are covered; as it is without any.

    SampleError if the picture can't be read.
    """
    if not shown.neighbours:
        return shown
    image = load_image(shown.image)
    points = shown.keypoints2d if isinstance(shown, Sample) else shown.joints2d
    own = Neighbour(shown.box, shown.joint_set, points, shown.confidence)
    return evolve(shown, image=encode_bmp(covered(image, own, shown.neighbours)), neighbours=())


def covered(image: Image, person: Neighbour, others: Iterable[Neighbour]) -> Image:
    """A copy of the picture in which ``others`` are of its mean colour, but for what may be the ``person``."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for other in others:
        mask |= region(other, image.shape[:2])
    result = image.copy()
    result[(mask > 0) & (region(person, image.shape[:2]) == 0)] = image.reshape(-1, 3).mean(0).round()
    return result


def region(person: Neighbour, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W), 1 where the person may be: a body about the labelled joints, or with too few of them the box."""
    mask = np.zeros(size, np.uint8)
    known = (person.confidence > 0) & np.isfinite(person.keypoints2d).all(-1)
    if known.sum() < LEAST_JOINTS:
        (x0, y0), (x1, y1) = np.round(person.box.reshape(2, 2)).astype(int)
        mask[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = 1
        return mask
    names = joint_set(person.joint_set).points
    reach = 4 * max(size)
    points = np.clip(np.where(known[:, None], person.keypoints2d, 0), -reach, reach).round().astype(int)
    place = {name: points[at] for at, name in enumerate(names) if known[at]}
    length = _trunk_length(place, person.box)
    thickness = max(1, round(THICKNESS * length))
    for parent, child in joint_set(person.joint_set).bones:
        if known[parent] and known[child]:
            cv2.line(mask, points[parent], points[child], 1, thickness)
    trunk = np.array([place[name] for name in TRUNK if name in place]).reshape(-1, 2)
    if len(trunk) > 2:
        hull = cv2.convexHull(trunk)
        cv2.fillConvexPoly(mask, hull, 1)
        cv2.polylines(mask, [hull], True, 1, thickness)
    for name in HEAD:
        if name in place:
            cv2.circle(mask, place[name], max(1, round(HEAD_RADIUS * length)), 1, -1)
    return mask


def _trunk_length(place: dict[str, NDArray[np.int_]], box: NDArray[np.floating]) -> float:
    """Pixels from the shoulders to the hips; at least what a person of that box seen along the trunk would have."""
    usual = TRUNK_SHARE * float((box[2:] - box[:2]).max())
    if not all(name in place for name in TRUNK):
        return usual
    corners = np.array([place[name] for name in TRUNK])
    return max(float(np.linalg.norm(corners[:2].mean(0) - corners[2:].mean(0))), 0.5 * usual)
