"""``posesyn sweep``: Table 5's column "Pass" of a finished filter."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from posesyn_core.cli import main
from posesyn_core.pipeline.run import FilteredFrame, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.values import FilterVerdict, LabelledFrame, Verdict

ERRORS = (30.0, 80.0, 119.0, 121.0, float("nan"))


def judged(folder: Path, *settings: str) -> Run:
    run = create_run(folder, parse_recipe('dataset = "folder"', settings), Registry.discover())
    rows = []
    for at, error in enumerate(ERRORS):
        frame = LabelledFrame(f"c/{at}", Path("gone.jpg"), [0, 0, 1, 1], np.zeros((24, 2)), np.ones(24))  # type: ignore[arg-type]
        rows.append(Row(frame.id, FilteredFrame("c", at, frame, Verdict(error <= 120, error))))
    run.frames.write_part(0, [*rows, Row("c/9", rejected="the motion leaves the image")])
    run.finish("filter", run.summary("filter") or {})
    run.finish("filter", {})
    return run


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]


def test_each_threshold_has_its_share_beside_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep", str(judged(tmp_path / "run").folder), "--taus", "160,120,80,25"])
    assert [row for row in lines(capsys) if row] == [
        ["160 mm", "4", "80.0 %", "64.0 %"],
        ["120 mm (chosen)", "3", "60.0 %", "45.7 %"],
        ["80 mm", "2", "40.0 %", "28.2 %"],
        ["25 mm", "0", "0.0 %", ""],
    ]


def test_a_sum_is_not_compared_with_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = judged(tmp_path / "run", "filter.reduction=sum")
    main(["sweep", str(run.folder)])
    assert all(row[3] == "" for row in lines(capsys) if row)


def test_without_judged_frames_there_is_nothing_to_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = judged(tmp_path / "run")
    run.frames.write_part(0, [Row("c/0", rejected="the motion leaves the image")])
    run.finish("filter", run.summary("filter") or {})
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", str(run.folder)])
    assert "could judge no frame" in capsys.readouterr().err


AGREEMENTS = (0.02, 0.08, 0.12, 0.5, float("nan"))
BOTH = "filter=[{name='tpe_error'}, {name='keypoint_agreement', judge='blazepose', limit=0.1}]"


def judged_twice(folder: Path) -> Run:
    run = judged(folder, BOTH)
    rows = []
    for at, (error, distance) in enumerate(zip(ERRORS, AGREEMENTS, strict=True)):
        frame = LabelledFrame(f"c/{at}", Path("gone.jpg"), [0, 0, 1, 1], np.zeros((24, 2)), np.ones(24))  # type: ignore[arg-type]
        parts = (
            FilterVerdict("tpe_error", error <= 120, error),
            FilterVerdict("keypoint_agreement", distance <= 0.1, distance),
        )
        rows.append(Row(frame.id, FilteredFrame("c", at, frame, Verdict(False, error, "", parts))))
    run.frames.write_part(0, rows)
    run.finish("filter", {})
    return run


def test_each_of_several_filters_is_swept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(judged_twice(tmp_path / "run").folder)
    main(["sweep", folder, "--filter", "keypoint_agreement"])
    assert [row[:3] for row in lines(capsys) if row] == [
        ["0.2 of the height", "3", "60.0 %"],
        ["0.15 of the height", "3", "60.0 %"],
        ["0.1 of the height (chosen)", "2", "40.0 %"],
        ["0.075 of the height", "1", "20.0 %"],
        ["0.05 of the height", "1", "20.0 %"],
    ]
    main(["sweep", folder, "--taus", "120"])
    assert [row for row in lines(capsys) if row] == [["120 mm (chosen)", "3", "60.0 %", "45.7 %"]]
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", folder, "--filter", "other"])
    assert "it has tpe_error, keypoint_agreement" in capsys.readouterr().err


def test_each_of_several_filters_has_columns_of_its_own(tmp_path: Path) -> None:
    run = judged_twice(tmp_path / "run")
    (part,) = run.frames.parts()
    table = parquet.read_table(part)
    for name, errors, limit in (("tpe_error", ERRORS, 120), ("keypoint_agreement", AGREEMENTS, 0.1)):
        assert np.array_equal(table[f"{name}_error"].to_numpy(), errors, equal_nan=True)
        assert table[f"{name}_keep"].to_pylist() == [error <= limit for error in errors]
        assert f"{name}_reason" in table.column_names
    assert [row.verdict.parts[1].error for row in run.frames.values()][:4] == list(AGREEMENTS[:4])
    (alone,) = judged(tmp_path / "alone").frames.parts()
    assert not any(name.startswith("tpe_error") for name in parquet.read_table(alone).column_names)
