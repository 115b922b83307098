"""Weights that come with PoseSyn, and files of others."""

import shutil
from pathlib import Path

import pytest
import torch

from posesyn_blazepose import weights
from posesyn_blazepose.weights import (
    SHIPPED,
    BlazePoseWeights,
    StarterWeights,
    checksum,
    load_landmarks,
    load_starter,
    save_network,
    save_starter,
)
from posesyn_core.errors import UserError


@pytest.mark.parametrize(("name", "megabytes"), [("lite", 3), ("full", 7), ("detector", 6)])
def test_what_ships_fits_and_is_small(name: str, megabytes: int) -> None:
    path = SHIPPED / f"{name}.safetensors"
    fit = BlazePoseWeights().check(path)
    assert fit.fits and fit.variant == name
    assert path.stat().st_size < megabytes * 1e6
    for beside in ("LICENSE", "NOTICE", "README.md"):
        assert (SHIPPED / beside).is_file()


def test_the_starter_fits_and_does_not_repeat_the_weights_it_sees_through() -> None:
    path = SHIPPED / "starter.safetensors"
    assert StarterWeights().check(path).fits
    assert path.stat().st_size < 12e6
    assert checksum(load_starter("starter").eyes) == checksum(load_landmarks("full"))


@pytest.fixture
def lone_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter's weights in a folder of their own, which the plugin takes for its own."""
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    return Path(shutil.copy(SHIPPED / "starter.safetensors", tmp_path))


def test_a_starter_without_full_says_what_is_missing(lone_starter: Path) -> None:
    with pytest.raises(UserError, match=r"full\.safetensors.* missing: install PoseSyn again"):
        load_starter("starter")
    with pytest.raises(UserError, match=r"full\.safetensors.* missing"):
        load_starter(str(lone_starter))


def test_a_starter_of_another_full_is_refused(lone_starter: Path) -> None:
    save_network(load_landmarks("random-full"), lone_starter.with_name("full.safetensors"))
    with pytest.raises(UserError, match="trained on other BlazePose weights"):
        load_starter("starter")


def test_a_starter_with_eyes_of_its_own_keeps_them(tmp_path: Path) -> None:
    network = load_starter("random")
    save_starter(network, tmp_path / "w.safetensors", "free")
    assert checksum(load_starter(str(tmp_path / "w.safetensors"))) == checksum(network)


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
