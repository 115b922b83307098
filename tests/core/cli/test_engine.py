"""``posesyn engine build|verify|bench`` on engines that need nothing else (``export`` is tested with ONNX)."""

import re

import pytest

from posesyn_core.cli import main


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["engine", *arguments])
    return capsys.readouterr().out


def test_verify_prints_how_far_an_engine_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "verify", "spin", "--engine", "torch", "--set", "weights=random", "--batch", "1", "4")
    assert "spin on torch (fp32): joints differ by 0.0000 mm at most" in out
    assert "accepted: 0.0000 mm of 0.1 allowed" in out
    out = said(capsys, "verify", "t2mgpt", "--engine", "torch")
    assert "tokens agree" in out and "accepted" in out


def test_verify_exits_with_2_if_an_engine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "engine",
                "verify",
                "spin",
                "--set",
                "weights=random",
                "--engine",
                "torch",
                "--precision",
                "bf16",
                "--tolerance",
                "0.0001",
            ]
        )
    assert stop.value.code == 2
    assert "spin on torch (bf16) is refused" in capsys.readouterr().err


def test_build_makes_an_engine_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "build", "t2mgpt", "--engine", "torch").startswith("t2mgpt on torch (fp32) is ready after ")


@pytest.mark.slow
def test_bench_prints_a_table_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "bench", "spin", "--set", "weights=random", "--batches", "1,2", "--seconds", "0.1")
    assert re.search(r"\nrecommended: (eager torch|\w+, [0-9.]+ times as fast)", out)
    assert re.search(r"takes about 1 s \([2345] engines, 2 batch sizes, 1 networks, 0\.1 s each\)", out)
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    assert {cells[0].strip() for cells in rows} >= {"torch", "compile"}
    assert all(float(cells[4]) > 0 for cells in rows)
    assert [float(cells[4]) for cells in rows if cells[0].strip() == "torch"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["verify", "posecode"], "no estimator named 'posecode'"),
        (["verify", "spin", "--engine", "steam"], "no engine named 'steam'"),
        (["verify", "spin", "--batch", "4", "2"], "smallest"),
        (["bench", "spin", "--batches", "a"], "such as 1,8,32"),
        (["verify", "spin", "--engine", "torch", "--set", "weigths=x"], "'weigths'"),
    ],
)
def test_mistakes_are_named(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["engine", *arguments])
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err
