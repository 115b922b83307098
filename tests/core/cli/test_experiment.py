"""``posesyn experiment`` and ``posesyn compare`` on a few rendered people."""

import json
from pathlib import Path

import pytest

from posesyn_core.cli import main
from tests.tiny import folder_data_set

TEST = 'test={name="world", part="lab", split="tests", count=4, image_size=128, label="held-out"}'
REAL = 'real=[{name="world", part="lab", split="tests", count=4, image_size=128}]'
TINY = ("finetune.steps=1", "finetune.batch_size=2", "filter.tau=9999", "animate.frame_stride=24", "export.formats=[]")


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(list(arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def settings(*more: str) -> list[str]:
    return [part for setting in (*TINY, TEST, REAL, *more) for part in ("--set", setting)]


def test_a_table_is_printed_with_the_papers_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder_data_set(tmp_path)
    arguments = ["table5", "--recipe", str(recipe), "--taus", "9999,120", "--run", str(tmp_path / "out")]
    code, text, _ = output(capsys, "experiment", *arguments, *settings())
    assert code == 0
    flat = " ".join(text.split())
    assert "threshold" in flat and "tau = 9999" in flat and "45.7 %" in flat and "94.2" in flat
    figures = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["row"] for row in figures] == ["tau = 9999", "tau = 120"]


def test_the_control_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["table3", "--recipe", str(folder_data_set(tmp_path)), "--run", str(tmp_path / "out"), "--no-control"]
    wanted = ["--rows", "control", "--rows", "Real-only", "--rows", "Ours"]
    code, _, _ = output(capsys, "experiment", *arguments, *wanted, *settings())
    assert code == 0
    figures = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["row"] for row in figures if row["figures"]] == ["Real-only (as downloaded)", "Ours"]
    trained = (tmp_path / "out/seed-0/ours/finetune").iterdir()
    assert [path.name for path in trained if path.is_dir()] == ["posesyn"]


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["table3"], "--world free or --recipe"),
        (["table3", "--world", "moon"], "known are free"),
        (["table3", "--recipe", "nowhere.toml"], "nowhere.toml"),
        (["table5", "--world", "free", "--taus", "a,b"], "'a' is not a number above 0"),
    ):
        code, _, message = output(capsys, "experiment", *arguments, "--run", str(tmp_path / "out"))
        assert code == 2 and words in message and "Traceback" not in message


def test_two_checkpoints_are_compared_sample_by_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder_data_set(tmp_path)
    out = tmp_path / "differences.json"
    code, text, _ = output(capsys, "compare", str(recipe), "starter", "random", "--out", str(out), *settings())
    assert code == 0
    assert "MPJPE: (2) - (1) = +" in text and "(1) starter" in text and "95 % interval" in text
    (mpjpe,) = (change for change in json.loads(out.read_text())["held-out"] if change["metric"] == "mpjpe")
    assert mpjpe["second"] > mpjpe["first"] and mpjpe["samples"] == 4
