"""Weight files: the shipped one, the official layout, our own, and what is refused."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from posesyn_core.errors import UserError
from posesyn_spin.network import Sizes, SpinNetwork, sizes_of
from posesyn_spin.weights import SMALL_SETTING, Setting, SpinWeights, load_network, save_network

TINY = Sizes(width=4, layers=(1, 2, 1, 1), hidden=8)


@pytest.fixture
def network() -> SpinNetwork:
    return SpinNetwork(TINY)


def equal(one: SpinNetwork, other: SpinNetwork, tolerance: float = 0.0) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance) for name in ours
    )


@pytest.mark.parametrize(("name", "setting"), [("w.safetensors", SMALL_SETTING), ("w.pt", Setting())])
def test_saved_weights_load_again(network: SpinNetwork, tmp_path: Path, name: str, setting: Setting) -> None:
    save_network(network, SMALL_SETTING, tmp_path / name)
    again, found = load_network(str(tmp_path / name))
    assert equal(network, again)
    assert found == setting  # the official layout has no place for another one than its own
    assert sizes_of(network.state_dict()) == TINY


def test_the_official_layout_holds_the_state_dict_under_model(network: SpinNetwork, tmp_path: Path) -> None:
    save_network(network, Setting(), tmp_path / "w.pt")
    content = torch.load(tmp_path / "w.pt", weights_only=True)
    assert content["model"].keys() == network.state_dict().keys()


def test_half_precision_is_widened(network: SpinNetwork, tmp_path: Path) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    again, _ = load_network(str(tmp_path / "half.safetensors"))
    assert {tensor.dtype for tensor in again.parameters()} == {torch.float32}
    assert equal(network, again, tolerance=1e-3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights of spin .*nowhere\.pt.* does not exist"):
        load_network(str(tmp_path / "nowhere.pt"))


def test_weights_of_another_model_are_refused(network: SpinNetwork, tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"not those of a SPIN \(ResNet-50\) network: 331 missing \(init_pose"):
        load_network(str(tmp_path / "other.safetensors"))
    state = {name: value for name, value in network.state_dict().items() if name != "decpose.bias"}
    save_file(state, tmp_path / "incomplete.safetensors")
    with pytest.raises(UserError, match=r"not those of a SPIN \(width 4.* 1 missing \(decpose\.bias\)"):
        load_network(str(tmp_path / "incomplete.safetensors"))


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="broken"):
        load_network(str(tmp_path / name))


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Payload()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": Payload()}))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(UserError, match="can't be read: it"):
            load_network(str(tmp_path / name))
    assert not (tmp_path / "touched").exists()


def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"model": 3}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match="no state dict under 'model'"):
        load_network(str(tmp_path / "odd.pt"))


def test_a_file_of_the_starters_training_that_names_its_size_alone(network: SpinNetwork, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "w.safetensors", metadata={"image_size": "64"})
    assert load_network(str(tmp_path / "w.safetensors"))[1] == Setting(64, "affine", "free")


def test_check_names_the_variant_and_what_does_not_fit(network: SpinNetwork, tmp_path: Path) -> None:
    save_network(network, SMALL_SETTING, tmp_path / "w.pt")
    fit = SpinWeights().check(tmp_path / "w.pt")
    assert fit.fits
    assert fit.variant == "SPIN (width 4, blocks 1-2-1-1)"
    save_file({"preact.conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.safetensors")
    fit = SpinWeights().check(tmp_path / "other.safetensors")
    assert not fit.fits
    assert fit.unexpected == ("preact.conv1.weight",)
    assert "conv1.weight" in fit.missing


def test_convert_keeps_names_numbers_and_what_the_weights_need(network: SpinNetwork, tmp_path: Path) -> None:
    save_network(network, SMALL_SETTING, tmp_path / "w.pt")
    SpinWeights().convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    again, setting = load_network(str(tmp_path / "w.safetensors"))
    assert equal(network, again)
    assert setting == Setting(224, "official", "smpl")


def test_random_full_has_the_published_size() -> None:
    network, setting = load_network("random-full")
    assert network.sizes == Sizes()
    assert setting == Setting(224, "official", "free")
