"""``posesyn predict`` on the command line."""

from pathlib import Path

import pytest

from posesyn_core.cli import main
from tests.tiny import people


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    sample = people(1)[0]
    assert isinstance(sample.image, Path)
    (tmp_path / "photo.jpg").write_bytes(sample.image.read_bytes())
    return tmp_path / "photo.jpg"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["predict", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_prints_what_it_wrote(capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--box", "20,10,90,110", "--mesh", "--out", str(out), "--set", "weights=random")
    code, said, _ = output(capsys, str(photo), *arguments)
    assert code == 0
    assert said.splitlines() == [str(out / name) for name in ("photo.overlay.jpg", "photo.json", "photo.0.obj")]
    assert all(Path(line).stat().st_size for line in said.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--box", "1,2,3"), "'1,2,3' is not four numbers"),
        (("--estimator", "nobody"), "no estimator named 'nobody'"),
        (("--engine", "nothing"), "no engine named 'nothing'"),
        (("--set", "colour=1"), "colour"),
        (("--weights", "missing.pt"), "missing.pt"),
        (("--body", "missing.npz"), "missing.npz"),
        (("--box", "900,900,990,990"), "lies outside the image"),
    ],
)
def test_mistakes_are_sentences(
    capsys: pytest.CaptureFixture[str], photo: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, said = output(capsys, str(photo), *arguments)
    assert code == 2
    assert message in said
    assert "Traceback" not in said
