"""Several people in one picture: which are neighbours, and what is covered of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.files.images import encode_png, load_image
from posesyn_core.inference.neighbours import covered, hidden, region, with_neighbours
from posesyn_core.inference.predict import predict
from posesyn_core.values import Camera, Neighbour, PoseEstimate, Sample, SampleOrRejection

# A person who stands upright with arms spread, 100 pixels tall about (0, 0), COCO's joints.
STANDING = np.array(
    [
        *((0, -45), (2, -47), (-2, -47), (4, -46), (-4, -46), (10, -30), (-10, -30), (25, -28), (-25, -28)),
        *((40, -30), (-40, -30), (7, 5), (-7, 5), (7, 28), (-7, 28), (7, 50), (-7, 50)),
    ],
    np.float32,
)
SIZE = (120, 240)


def somebody(x: float, labelled: bool = True) -> Neighbour:
    points = STANDING + np.array([x, 58])
    box = [*points.min(0), *points.max(0)]
    return Neighbour(box, "coco17", points, np.full(17, labelled))  # type: ignore[arg-type]


def sample(name: str, who: Neighbour, image: bytes | Path) -> Sample:
    return Sample(name, image, who.box, who.joint_set, who.keypoints2d, who.confidence)


def picture() -> np.ndarray:
    """Noise, so that what is covered shows."""
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(-1)


def test_a_neighbour_is_covered_and_the_person_is_not() -> None:
    image, left, right = picture(), somebody(60), somebody(180)
    where = changed(image, covered(image, left, [right]))
    assert not where[:, :120].any()
    joints = right.keypoints2d.round().astype(int)
    assert where[joints[:, 1], joints[:, 0]].all()
    assert where.mean() < 0.25  # a body, not half of the picture


def test_where_both_may_be_the_person_stays() -> None:
    image, front, behind = picture(), somebody(100), somebody(120)
    where = changed(image, covered(image, front, [behind]))
    joints = front.keypoints2d.round().astype(int)
    assert not where[joints[:, 1], joints[:, 0]].any()
    assert where[:, 145:].any()


@pytest.mark.parametrize("labelled", [True, False])
def test_people_without_labels_are_where_their_box_is(labelled: bool) -> None:
    who = somebody(60, labelled)
    mask = region(who, SIZE)
    x0, y0, x1, y1 = who.box.round().astype(int)
    assert (mask[y0 : y1 + 1, x0 : x1 + 1] == 1).all() != labelled
    assert mask.sum() > 0


def test_boxes_that_reach_out_of_the_picture_are_cut() -> None:
    box = [-50, -50, 20, 20]
    nobody = Neighbour(box, "coco17", np.zeros((17, 2)), np.zeros(17))  # type: ignore[arg-type]
    assert region(nobody, SIZE).sum() == 21 * 21
    assert region(evolve(nobody, box=[-50, -50, -20, -20]), SIZE).sum() == 0


def test_people_of_one_picture_are_neighbours(tmp_path: Path) -> None:
    """Wherever they stand in the data set; others are not, and rejections pass."""
    one, other = tmp_path / "1.png", encode_png(picture())
    entries: list[SampleOrRejection] = [
        sample("a", somebody(60), one), ("broken", "no picture"), sample("b", somebody(60), other),
        sample("c", somebody(180), one), sample("d", somebody(180), bytes(other)), sample("e", somebody(60), b"else"),
    ]  # fmt: skip

    def read() -> Iterator[SampleOrRejection]:
        return iter(entries)

    found = list(with_neighbours(read))
    assert found[1] == entries[1]
    counts = {entry.id: len(entry.neighbours) for entry in found if isinstance(entry, Sample)}
    assert counts == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 0}
    first = found[0]
    assert isinstance(first, Sample)
    np.testing.assert_array_equal(first.neighbours[0].keypoints2d, somebody(180).keypoints2d)


def test_estimators_see_the_picture_with_neighbours_covered() -> None:
    seen: list[np.ndarray] = []

    class Looks:
        def predict(self, samples: list[Sample]) -> list[PoseEstimate]:
            seen.extend(load_image(each.image) for each in samples)
            return [PoseEstimate(np.ones((24, 3)), np.ones((24, 2)), Camera([1, 1], [0, 0])) for _ in samples]

    image, left, right = picture(), somebody(60), somebody(180)
    alone = sample("left", left, encode_png(image))
    together = evolve(alone, neighbours=(right,))
    next(iter(predict(Looks(), [[alone, together]])))
    np.testing.assert_array_equal(seen[0], image)
    np.testing.assert_array_equal(seen[1], covered(image, left, [right]))
    assert hidden(alone) is alone and hidden(together).neighbours == ()
