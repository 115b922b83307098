"""Tables: what goes in comes out, part by part."""

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posesyn_core import Camera, Motion, PoseEstimate, Sample, ScoredSample, SmplParams
from posesyn_core.pipeline.run import Clip, DrawnFrame, FilteredFrame, Judgement, Selected
from posesyn_core.pipeline.tables import DECODED, Row, Table, from_plain, to_plain
from posesyn_core.values import ClipPlan, LabelledFrame, Verdict

finite = st.floats(-1e6, 1e6, width=32)


def camera() -> Camera:
    return Camera([500, 510], [112, 100])


def smpl() -> SmplParams:
    return SmplParams(np.ones(3), np.full((23, 3), 0.5), np.arange(10), [0, 1, 5])


def sample(image: Path | bytes = Path("a/b.jpg"), **known: object) -> Sample:
    return Sample("set/train/1", image, [0, 0, 10, 20], "coco17", np.ones((17, 2)), np.ones(17), **known)  # type: ignore[arg-type]


def estimate(**known: object) -> PoseEstimate:
    return PoseEstimate(np.ones((24, 3)), np.zeros((24, 2)), camera(), **known)  # type: ignore[arg-type]


def scored(**known: object) -> ScoredSample:
    return ScoredSample(sample(**known), 1.5, [np.nan] * 17, estimate(smpl=smpl()))  # type: ignore[arg-type]


def plan() -> ClipPlan:
    rows = 4
    return ClipPlan(
        "c", "m", "s", "a person", sample(), estimate(smpl=smpl()), camera(), 20.0, 2**62, 3.5, np.ones((rows, 3)),
        np.ones((rows, 23, 3)), np.ones(10), np.ones((rows, 3)), np.ones((rows, 24, 3)), np.ones((rows, 24, 2)),
    )  # fmt: skip


def drawn() -> tuple[DrawnFrame, ...]:
    return (
        DrawnFrame(Path("x/0.jpg"), True, Judgement(estimate(smpl=smpl()), Verdict(True, 80.0))),
        DrawnFrame(Path("x/1.jpg"), False, Judgement(estimate(), Verdict(False, np.inf, "not finite"))),
        DrawnFrame(Path("x/2.jpg"), False, Judgement(fault="the motion leaves the image")),
    )


def same(left: object, right: object) -> bool:
    """Equality that looks into arrays."""
    a, b = to_plain(left), to_plain(right)

    def equal(x: object, y: object) -> bool:
        if isinstance(x, dict) and isinstance(y, dict):
            return x.keys() == y.keys() and all(equal(x[k], y[k]) for k in x)
        if isinstance(x, list | tuple) and isinstance(y, list | tuple):
            return len(x) == len(y) and all(map(equal, x, y))
        if isinstance(x, np.ndarray):
            return np.array_equal(x, np.asarray(y), equal_nan=True)
        return x == y

    return equal(a, b)


def test_every_row_class_survives_the_disk(tmp_path: Path) -> None:
    joints2d, joints3d = np.ones((24, 2)), np.ones((24, 3))
    frame = LabelledFrame("f", b"\x00jpg", [0, 0, 1, 1], joints2d, np.ones(24), camera(), joints3d, smpl())
    values = [
        scored(camera=camera(), joints3d=np.ones((24, 3)), smpl=smpl()),
        scored(image=b"\xff\xd8"),
        Selected("hard", 3, scored()),
        Motion("m", "s", "walks", np.random.default_rng(0).normal(size=(7, 22, 3))),
        Clip(plan(), drawn(), 224, 200, '{"name": "tpe_error"}', ("depth", "normal")),
        FilteredFrame("c", 2, frame, Verdict(False, 130.5, "too far")),
    ]
    for number, value in enumerate(values):
        table = Table(tmp_path / str(number), type(value))
        table.write_part(0, [Row("u", value), Row("v", rejected="broken")])
        back = list(table.rows())
        assert back[0].value is not None and same(back[0].value, value)
        assert back[1] == Row("v", rejected="broken")
        assert list(table.rejections()) == [("v", "broken")]


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.just(22), st.just(3)), elements=finite), st.text())
def test_plain_and_back_is_the_identity(joints: np.ndarray, caption: str) -> None:
    motion = Motion("m", "s", caption, joints)
    assert same(from_plain(to_plain(motion), Motion), motion)


def test_a_table_of_before_a_field_came_is_read_with_its_default() -> None:
    joints = np.ones((24, 3))
    frame = LabelledFrame("f", b"", [0, 0, 1, 1], np.ones((24, 2)), np.ones(24), joints3d=joints, caption="walks")
    row = to_plain(FilteredFrame("c", 0, frame, Verdict(True, 1.5)))
    del row["frame"]["confidence3d"]
    assert same(from_plain(row, FilteredFrame).frame, frame)
    del row["frame"]["box"]
    with pytest.raises(KeyError, match="box"):
        from_plain(row, FilteredFrame)


def test_pick_column_and_values_read_across_parts(tmp_path: Path) -> None:
    table = Table(tmp_path, Motion)
    motions = [Motion(f"m{i}", f"s{i}", "", np.full((2, 22, 3), i)) for i in range(5)]
    table.write_part(1, [Row(m.id, m) for m in motions[3:]])
    table.write_part(0, [*[Row(m.id, m) for m in motions[:3]], Row("bad", rejected="no")])
    assert [m.id for m in table.values()] == ["m0", "m1", "m2", "m3", "m4"]
    assert list(table.column("sample_id")) == [(f"m{i}", f"s{i}") for i in range(5)]
    assert list(table.lengths("joints")) == [2 * 22 * 3] * 5
    picked = table.pick(["m4", "m1", "bad", "absent"])
    assert table.pick(["m4", "m1"], [table.part(0)]).keys() == {"m1"}
    assert picked.keys() == {"m1", "m4"} and picked["m4"].joints[0, 0, 0] == 4


def test_a_part_of_many_rows_is_decoded_few_at_a_time(tmp_path: Path) -> None:
    """What lives long makes the garbage collector look through the whole process."""
    table = Table(tmp_path, ScoredSample)
    table.write_part(0, [Row(f"u{number:03d}", scored()) for number in range(8 * DECODED + 1)])
    rows, most = table.rows(), 0
    gc.collect()
    before = len(gc.get_objects())
    for number, row in enumerate(rows):
        assert row.unit == f"u{number:03d}" and row.value is not None
        if number % DECODED == 1:
            most = max(most, len(gc.get_objects()) - before)
    assert number == 8 * DECODED
    assert most < 2 * DECODED * 100  # dicts and lists of a row


def test_a_field_within_a_value_is_read_alone(tmp_path: Path) -> None:
    table = Table(tmp_path, Clip)
    table.write_part(0, [Row("a", Clip(plan(), drawn(), 224, 200)), Row("b", rejected="no")])
    assert list(table.column("plan.residual_mm")) == [("a", 3.5)]
    assert list(table.column("plan.camera.focal_length")) == [("a", [500.0, 510.0])]
    assert list(table.lengths("frames")) == [3]
