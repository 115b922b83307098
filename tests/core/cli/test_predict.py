"""``posesyn predict`` on the command line."""

import json
from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.files.films import write_film
from posesyn_core.files.images import load_image
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
    arguments = (
        "--box",
        "20,10,90,110",
        "--format",
        "json",
        "--format",
        "obj",
        "--out",
        str(out),
        "--set",
        "weights=random",
    )
    code, said, _ = output(capsys, str(photo), *arguments)
    assert code == 0
    assert said.splitlines() == [str(out / name) for name in ("photo.overlay.jpg", "photo.json", "photo.0.obj")]
    assert all(Path(line).stat().st_size for line in said.splitlines())


def test_neighbours_are_hidden_on_demand(capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path) -> None:
    boxes = ("--box", "8,8,90,110", "--box", "40,20,120,120")
    found = []
    for name, flags in (("seen", ()), ("hidden", ("--mask-neighbours",))):
        assert output(capsys, str(photo), *boxes, *flags, "--out", str(tmp_path / name))[0] == 0
        (described,) = (tmp_path / name).glob("*.json")
        found.append([person["joints2d"] for person in json.loads(described.read_text())["people"]])
    assert len(found[0]) == len(found[1]) == 2
    assert all(seen != hidden for seen, hidden in zip(*found, strict=True))


def test_people_are_found_and_a_bad_file_does_not_end_it(
    capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path
) -> None:
    """The rendered person fills the picture; the detector looks for faces and may miss it, which is told."""
    bad, out = tmp_path / "bad.jpg", tmp_path / "out"
    bad.write_text("no picture")
    code, said, told = output(capsys, str(bad), str(photo), "--out", str(out), "--set", "weights=random")
    assert code == 0
    assert [Path(line).name for line in said.splitlines()] == ["photo.overlay.jpg", "photo.json"]
    assert "bad.jpg: not an image" in told and "1 of 2 pictures could not be read" in told
    assert "weights random" in told
    people_found = json.loads((out / "photo.json").read_text())["people"]
    assert people_found or "photo.jpg: nobody found" in told
    code, said, told = output(capsys, str(photo), "--whole-picture", "--out", str(out), "--set", "weights=random")
    (whole,) = json.loads((out / "photo.json").read_text())["people"]
    assert code == 0 and whole["box"] == [0, 0, 127, 127]
    code, _, told = output(capsys, str(bad), "--out", str(out), "--set", "weights=random")
    assert code == 2 and "no picture that can be read" in told and "Traceback" not in told


def test_a_video_gives_a_film_and_files_of_each_person(
    capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path
) -> None:
    clip, bad, out = tmp_path / "clip.mp4", tmp_path / "bad.mp4", tmp_path / "out"
    write_film(clip, [load_image(photo)] * 4, 10.0)
    bad.write_bytes(b"no film")
    options = ("--whole-picture", "--stride", "2", "--out", str(out), "--set", "weights=random")
    code, said, told = output(capsys, str(bad), str(clip), *options, "--format", "json", "--format", "bvh")
    assert code == 0 and "bad.mp4' can't be decoded" in told
    assert [Path(line).name for line in said.splitlines()] == ["clip.overlay.mp4", "clip.json", "clip.0.bvh"]
    assert "Frames: 2\nFrame Time: 0.20000000\n" in (out / "clip.0.bvh").read_text()
    code, _, told = output(capsys, str(bad), *options)
    assert code == 2 and "can't be decoded" in told and "Traceback" not in told


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
