"""Weight files: the shipped one, the official layout, our own, and what is refused."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from posesyn_core.errors import UserError
from posesyn_spin.network import Sizes, SpinNetwork, sizes_of
from posesyn_spin.weights import STARTER, load_network, save_network

TINY = Sizes(width=4, layers=(1, 2, 1, 1), hidden=8)


@pytest.fixture
def network() -> SpinNetwork:
    return SpinNetwork(TINY)


def equal(one: SpinNetwork, other: SpinNetwork, tolerance: float = 0.0) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance) for name in ours
    )


@pytest.mark.parametrize(("name", "size"), [("w.safetensors", 96), ("w.pt", 224)])
def test_saved_weights_load_again(network: SpinNetwork, tmp_path: Path, name: str, size: int) -> None:
    save_network(network, 96, tmp_path / name)
    again, image_size = load_network(str(tmp_path / name))
    assert equal(network, again)
    assert image_size == size  # the official layout has no place for it; its crops are 224 pixels
    assert sizes_of(network.state_dict()) == TINY


def test_the_official_layout_holds_the_state_dict_under_model(network: SpinNetwork, tmp_path: Path) -> None:
    save_network(network, 224, tmp_path / "w.pt")
    content = torch.load(tmp_path / "w.pt", weights_only=True)
    assert content["model"].keys() == network.state_dict().keys()


def test_half_precision_is_widened(network: SpinNetwork, tmp_path: Path) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    again, _ = load_network(str(tmp_path / "half.safetensors"))
    assert {tensor.dtype for tensor in again.parameters()} == {torch.float32}
    assert equal(network, again, tolerance=1e-3)


def test_the_shipped_weights_are_small_and_load() -> None:
    assert STARTER.stat().st_size < 6_000_000
    network, image_size = load_network("starter")
    assert image_size == 96
    assert network.init_cam[0, 0] > 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights of spin .*nowhere\.pt.* does not exist"):
        load_network(str(tmp_path / "nowhere.pt"))


def test_weights_of_another_model_are_refused(network: SpinNetwork, tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"not those of a SPIN network.*conv1\.weight"):
        load_network(str(tmp_path / "other.safetensors"))
    state = {name: value for name, value in network.state_dict().items() if name != "decpose.bias"}
    save_file(state, tmp_path / "incomplete.safetensors")
    with pytest.raises(UserError, match=r"not those of a SPIN network.*decpose\.bias"):
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
        with pytest.raises(UserError, match="can't be read as tensors alone"):
            load_network(str(tmp_path / name))
    assert not (tmp_path / "touched").exists()


def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"model": 3}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match="no state dict under 'model'"):
        load_network(str(tmp_path / "odd.pt"))
