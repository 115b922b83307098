"""Weights that come with PoseSyn, and files of others."""

from pathlib import Path

import pytest
import torch

from posesyn_blazepose.weights import SHIPPED, BlazePoseWeights, StarterWeights, load_landmarks, save_network
from posesyn_core.errors import UserError


@pytest.mark.parametrize(("name", "megabytes"), [("lite", 3), ("full", 7), ("detector", 6)])
def test_what_ships_fits_and_is_small(name: str, megabytes: int) -> None:
    path = SHIPPED / f"{name}.safetensors"
    fit = BlazePoseWeights().check(path)
    assert fit.fits and fit.variant == name
    assert path.stat().st_size < megabytes * 1e6
    for beside in ("LICENSE", "NOTICE", "README.md"):
        assert (SHIPPED / beside).is_file()


def test_the_starter_fits() -> None:
    assert StarterWeights().check(SHIPPED / "starter.safetensors").fits


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    network = load_landmarks("random")
    save_network(network, tmp_path / "w.safetensors")
    again = load_landmarks(str(tmp_path / "w.safetensors"))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tflite.* does not exist"):
        load_landmarks(str(tmp_path / "nowhere.tflite"))
    (tmp_path / "other.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"other\.tflite.* is not a TensorFlow Lite file"):
        load_landmarks(str(tmp_path / "other.tflite"))
    with pytest.raises(UserError, match="person detector"):
        load_landmarks(str(SHIPPED / "detector.safetensors"))
