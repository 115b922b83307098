"""``posesyn weights``: what it says of a file, and what it writes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from posesyn_core.cli import main
from posesyn_spin.network import Sizes, SpinNetwork
from posesyn_spin.weights import Setting, save_network


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A small SPIN checkpoint in the official layout."""
    save_network(SpinNetwork(Sizes(width=4, layers=(1, 1, 1, 1), hidden=8)), Setting(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["weights", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_check_names_the_variant(capsys: pytest.CaptureFixture[str], official: Path) -> None:
    assert output(capsys, "check", "spin", str(official)) == (0, "fits: SPIN (width 4, blocks 1-1-1-1)\n", "")


def test_check_lists_what_does_not_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    code, listed, message = output(capsys, "check", "spin", str(tmp_path / "other.safetensors"))
    assert code == 2
    assert "does not fit: SPIN (ResNet-50)" in listed
    assert "  unexpected  encoder.weight" in listed
    assert "  missing     ... and 311 more" in listed
    assert "does not fit spin" in message


def test_convert_writes_the_official_names(capsys: pytest.CaptureFixture[str], official: Path, tmp_path: Path) -> None:
    code, said, _ = output(capsys, "convert", "spin", str(official), str(tmp_path / "out" / "w.safetensors"))
    assert code == 0
    assert said.startswith(str(tmp_path / "out" / "w.safetensors"))
    state = torch.load(official, weights_only=True)["model"]
    converted = load_file(tmp_path / "out" / "w.safetensors")
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "spin", "missing.pt"), "missing.pt' does not exist"),
        (("check", "folder", "w.pt"), "no component 'folder' with weights is installed; there are: "),
        (("convert", "spin", "w.pt", "w.pth"), "name the file w.safetensors"),
    ],
)
def test_mistakes_are_sentences(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    code, _, said = output(capsys, *arguments)
    assert code == 2
    assert message in said


def test_a_file_that_does_not_fit_is_not_converted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    code, _, message = output(
        capsys, "convert", "spin", str(tmp_path / "other.safetensors"), str(tmp_path / "o.safetensors")
    )
    assert code == 2
    assert "331 missing" in message
    assert not (tmp_path / "o.safetensors").exists()
