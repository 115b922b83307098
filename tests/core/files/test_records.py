"""Values on disk: what comes back is what was written."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.files.records import PACKED, Records, decode, encode
from posesyn_core.values import Camera, FileSlice, LabelledFrame, Neighbour, SmplParams


@frozen(eq=False)
class Part:
    numbers: NDArray[np.float64]


@frozen(eq=False)
class Thing:
    id: str
    image: Path | bytes | FileSlice
    mask: NDArray[np.bool_] | None
    part: Part | None
    names: tuple[str, ...] = ()
    count: int = 0
    share: float = 0.5
    done: bool = False


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if attrs.has(type(a)) and type(a) is type(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(a)))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def frame(number: int) -> LabelledFrame:
    rng = np.random.default_rng(number)
    joints = rng.normal(size=(24, 3)).astype(np.float32)
    return LabelledFrame(
        id=f"a/{number}",
        image=b"\xff\xd8" * number if number % 2 else Path(f"pictures/{number}.jpg"),
        box=joints[:4, 0],
        joints2d=joints[:, :2],
        confidence=joints[:, 2],
        camera=Camera(joints[0, :2], joints[1, :2]),
        joints3d=None if number % 3 else joints,
        smpl=SmplParams(joints[0], joints[:23], joints[:10, 0], joints[1], "female"),
        error_mm=float("nan") if number % 5 == 0 else 3.25,
        caption='a "person" läuft\n',
        neighbours=(Neighbour(joints[:4, 1], "coco17", joints[:17, :2], joints[:17, 2]),) * (number % 3),
    )


def test_frames_come_back_as_they_were(tmp_path: Path) -> None:
    records = Records(LabelledFrame, tmp_path / "new")
    for number in range(20):
        records.append(frame(number))
    assert len(records) == 20
    for number in (19, 0, 7, -1):
        wanted = frame(number % 20)
        found = records[number]
        assert found.error_mm is not None
        assert np.isnan(found.error_mm) if wanted.id in ("a/0", "a/5", "a/10", "a/15") else found.error_mm == 3.25
        assert same(attrs.evolve(found, error_mm=0.0), attrs.evolve(wanted, error_mm=0.0))
    assert [each.id for each in records[5:9:2]] == ["a/5", "a/7"]
    with pytest.raises(IndexError):
        records[20]
    assert [each.id for each in records] == [f"a/{number}" for number in range(20)]


@pytest.mark.parametrize(
    "thing",
    [
        lambda: Thing("x", FileSlice(Path("a.tar"), 512, 3), np.ones((80, 80), bool), Part(np.array([1.5, np.nan]))),
        lambda: Thing("", b"", None, None, ("a", "b"), 3, 0.25, True),
        lambda: Thing("y", Path("p"), np.zeros((2, 2), bool), Part(np.zeros((0, 17, 3)))),
    ],
)
def test_items_of_a_plugin_come_back_too(thing: Callable[[], Thing]) -> None:
    assert same(decode(encode(thing()), Thing), thing())


def test_masks_are_small() -> None:
    mask = np.zeros((1000, 1000), bool)
    mask[200:800, 300:500] = True
    assert mask.nbytes > PACKED
    assert len(encode(Thing("x", b"", mask, None))) < 10_000


def test_what_a_record_cannot_hold_is_told() -> None:
    with pytest.raises(TypeError, match="no dict"):
        encode(Thing("x", b"", None, None, names={}))  # type: ignore[arg-type]


def test_what_comes_back_can_be_written_to() -> None:
    found = decode(encode(Thing("x", b"", np.zeros(3, bool), None)), Thing)
    assert found.mask is not None
    found.mask[0] = True


def test_several_threads_read_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    records = Records(LabelledFrame, tmp_path)
    for number in range(30):
        records.append(frame(number))
    assert not list(tmp_path.iterdir())
    with ThreadPoolExecutor(4) as pool:
        assert [f.id for f in pool.map(records.__getitem__, [*range(30)] * 5)] == [f"a/{n}" for n in range(30)] * 5
