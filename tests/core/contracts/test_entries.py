"""The guard that every data set's entries pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from posesyn_core import Sample, UserError
from posesyn_core.contracts.entries import entries
from posesyn_core.errors import SampleError
from posesyn_core.values import Camera, SmplParams

GOOD = Sample("a/b/0", Path("a.jpg"), [0, 0, 9, 9], "coco17", np.ones((17, 2)), np.ones(17))
NAN = float("nan")


class Reader:
    """Yields what it is given, and raises what is an error."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def samples(self) -> Iterator[Any]:
        for entry in self.given:
            if isinstance(entry, Exception):
                raise entry
            yield entry


def test_what_is_right_passes_as_it_is() -> None:
    unlabelled = evolve(GOOD, keypoints2d=np.full((17, 2), NAN), confidence=np.zeros(17))
    partly = evolve(GOOD, keypoints3d=np.full((17, 3), NAN))
    given = [GOOD, ("a/b/1", "no visible joint"), unlabelled, partly]
    assert [entry is one for entry, one in zip(entries(Reader(*given)), given, strict=True)][0::2] == [True, True]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"box": [0, 0, NAN, 9]}, "person box"),
        ({"box": [5, 0, 5, 9]}, "person box"),
        ({"keypoints2d": np.full((17, 2), np.inf)}, "labelled joint"),
        ({"keypoints2d": np.full((17, 2), 1e9)}, "labelled joint"),
        ({"box": [0, 0, 1e9, 9]}, "person box"),
        ({"confidence": np.full(17, NAN)}, "confidence"),
        ({"confidence": np.full(17, -1)}, "confidence"),
        ({"camera": Camera([np.inf, 1], [0, 0])}, "camera"),
        ({"camera": Camera([0, 1], [0, 0])}, "camera"),
        ({"joints3d": np.full((24, 3), NAN)}, "3D"),
        ({"keypoints3d": np.full((17, 3), np.inf)}, "3D"),
        ({"smpl": SmplParams(np.zeros(3), np.zeros((23, 3)), np.full(10, NAN), np.zeros(3))}, "body"),
        ({"head_size": 0.0}, "head size"),
        ({"joint_set": "lsp14"}, "17 joints are not those of the joint set 'lsp14'"),
        ({"id": "a\udcff/0"}, "not UTF-8"),
        ({"image": Path("a\udcff.jpg")}, "not UTF-8"),
    ],
)
def test_what_no_run_can_use_is_rejected_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    rejected, good = entries(Reader(evolve(GOOD, **changes), GOOD))
    assert isinstance(rejected, tuple)
    assert reason in rejected[1]
    "".join(rejected).encode()
    assert good is GOOD


def test_text_that_no_table_can_store_is_written_with_escapes() -> None:
    ((name, reason),) = entries(Reader(("a\udcff", "b\ud800")))
    assert (name, reason) == ("a\\udcff", "b\\ud800")


@pytest.mark.parametrize("wrong", [None, 7, ("only one",), ("a", 3), {"id": "a"}])
def test_what_is_neither_names_the_reader(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"test_entries\.Reader\.samples yielded"):
        list(entries(Reader(wrong)))


@pytest.mark.parametrize("error", [OverflowError("int too large"), RecursionError(), EOFError(), SampleError("bad")])
def test_a_reader_that_fails_is_one_sentence(error: Exception) -> None:
    found = entries(Reader(GOOD, error))
    assert next(found) is GOOD
    with pytest.raises(UserError, match=r"test_entries\.Reader\.samples") as caught:
        next(found)
    assert "\n" not in str(caught.value)


def test_a_sentence_of_the_reader_passes() -> None:
    with pytest.raises(UserError, match=r"^the root is missing$"):
        list(entries(Reader(UserError("the root is missing"))))
