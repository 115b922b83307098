"""Checkpoint files: what is read, what is refused, and how a misfit is told."""

import collections
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    compare,
    load_state_dict,
    needs_smpl,
    read_checkpoint,
    read_metadata,
    read_state_dict,
    write_state_dict,
)


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


class Config(dict):  # type: ignore[type-arg]
    """Like yacs' CfgNode: items and attributes."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        self.__dict__["frozen"] = True


class Node:
    """Like omegaconf's nodes: an object with a state."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


@pytest.fixture
def settings() -> Iterator[dict[str, Any]]:
    """Objects of packages that are not there when they are read."""
    modules = {"yacs": types.ModuleType("yacs"), "yacs.config": types.ModuleType("yacs.config")}
    modules |= {"omegaconf": types.ModuleType("omegaconf"), "omegaconf.nodes": types.ModuleType("omegaconf.nodes")}
    modules["yacs.config"].CfgNode = Config  # type: ignore[attr-defined]
    modules["omegaconf.nodes"].AnyNode = Node  # type: ignore[attr-defined]
    homes = {Config: ("yacs.config", "CfgNode"), Node: ("omegaconf.nodes", "AnyNode")}
    before = {cls: (cls.__module__, cls.__qualname__) for cls in homes}
    sys.modules.update(modules)
    for cls, (module, name) in homes.items():
        cls.__module__, cls.__qualname__ = module, name
    defaults = collections.defaultdict(dict)
    yield {"cfg": Config(a=1, b=Config(c=Node([1, dict]))), "kind": Any, "cache": defaults, "at": Path("x")}
    for cls, (module, name) in before.items():
        cls.__module__, cls.__qualname__ = module, name


def forget(*names: str) -> None:
    for name in names:
        sys.modules.pop(name)


def test_a_lightning_checkpoint_with_settings_objects(
    tmp_path: Path, network: nn.Sequential, settings: dict[str, Any]
) -> None:
    content = {"state_dict": network.state_dict(), "hyper_parameters": settings, "epoch": 3, "best": np.float64(0.5)}
    torch.save(content, tmp_path / "a.ckpt")
    forget("yacs.config", "yacs", "omegaconf.nodes", "omegaconf")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert read_checkpoint(tmp_path / "a.ckpt")["epoch"] == 3
    state = read_state_dict(tmp_path / "a.ckpt", "state_dict")
    assert compare(state, network).fits
    assert "yacs" not in sys.modules
    with pytest.raises(pickle.UnpicklingError):  # nothing stays admitted
        torch.load(tmp_path / "a.ckpt", weights_only=True)


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


class Shell:
    def __reduce__(self) -> tuple[object, ...]:
        import os

        return (os.system, ("touch touched",))


@pytest.mark.parametrize("payload", [Payload(), Shell()])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_tampered_file_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: nn.Sequential, payload: object, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": network.state_dict(), "extra": payload}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"evil\.pt.* can't be read: it asks for"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path: Path, network: nn.Sequential, name: str, kept: float) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(UserError, match=rf"weights .*{name}") as raised:
        read_state_dict(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(1).expand(1 << 38), "for which the file has too little"),
        (torch.eye(3).to_sparse(), "no plain array"),
        (torch.zeros(3, dtype=torch.complex64), "no plain array"),
        (torch.zeros(3, device="meta"), "no plain array"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, tensor: torch.Tensor, reason: str) -> None:
    torch.save({"a": torch.zeros(2), "b": tensor}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"w\.pt' can't be used: b .*{reason}"):
        read_state_dict(tmp_path / "w.pt")


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"model": {"a": 3}}, tmp_path / "numbers.pt")
    (tmp_path / "text.pt").write_text("hello")
    for name in ("list.pt", "numbers.pt"):
        with pytest.raises(UserError, match=r"hold no state dict under 'model'"):
            read_state_dict(tmp_path / name, "model")
    with pytest.raises(UserError, match=r"text\.pt.* can't be read"):
        read_state_dict(tmp_path / "text.pt")
    with pytest.raises(UserError, match="does not exist"):
        read_state_dict(tmp_path / "none.pt")


def test_half_precision_is_widened_and_the_parallel_prefix_dropped(tmp_path: Path, network: nn.Sequential) -> None:
    half = {f"module.{name}": tensor.half() for name, tensor in network.state_dict().items() if tensor.dim()}
    half["module.1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"epoch": 1, "network": half}, tmp_path / "w.pth.tar")
    state = read_state_dict(tmp_path / "w.pth.tar", "network")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    load_state_dict(network, state, compare(state, network), tmp_path / "w.pth.tar")
    torch.testing.assert_close(network[0].weight.half().float(), network[0].weight)
    assert network[1].num_batches_tracked == 7


def test_a_misfit_is_told_name_by_name(network: nn.Sequential) -> None:
    state = dict(network.state_dict())
    del state["0.bias"]
    state |= {"1.weight": torch.zeros(5), "extra": torch.zeros(1), "smpl.faces": torch.zeros(1)}
    with torch.device("meta"):
        twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    fit = compare(state, twin, variant="small", ignored=["smpl.*"])
    assert fit.missing == ("0.bias",)
    assert fit.unexpected == ("extra",)
    assert fit.ignored == ("smpl.faces",)
    assert fit.wrong_shape == ("1.weight: (5,) in the file, (4,) in the network",)
    with pytest.raises(UserError, match=r"'f\.pt' are not those of a small network: 1 missing \(0\.bias\); 1 unexp"):
        load_state_dict(network, state, fit, Path("f.pt"))


def test_optional_names_may_lack(network: nn.Sequential) -> None:
    state = {name: tensor + 1 for name, tensor in network.state_dict().items() if "num_batches" not in name}
    assert not compare(state, network).fits
    fit = compare(state, network, optional=["*.num_batches_tracked"])
    load_state_dict(network, state, fit, Path("f.pt"))
    assert torch.equal(network[0].bias, state["0.bias"])


def test_written_state_dicts_read_again(tmp_path: Path, network: nn.Sequential) -> None:
    write_state_dict(network.state_dict(), tmp_path / "w.safetensors", {"body": "smpl"}, torch.float16)
    assert read_metadata(tmp_path / "w.safetensors") == {"body": "smpl"}
    assert read_checkpoint(tmp_path / "w.safetensors")["0.weight"].dtype == torch.float16
    assert compare(read_state_dict(tmp_path / "w.safetensors"), network).fits


@pytest.mark.parametrize(("metadata", "expected"), [({}, True), ({"body": "smpl"}, True), ({"body": "free"}, False)])
def test_published_weights_need_smpl_and_ours_say_so(
    tmp_path: Path, network: nn.Sequential, metadata: dict[str, str], expected: bool
) -> None:
    write_state_dict(network.state_dict(), tmp_path / "w.safetensors", metadata)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert needs_smpl(tmp_path / "w.safetensors") is expected
    assert needs_smpl(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("page.pt", "web page"),
        ("pointer.pt", "git lfs pull"),
        ("targz.pt", "gzip archive"),
        ("half.pt", "ends early"),
        ("empty.pt", "zero bytes"),
    ],
)
def test_bad_downloads_are_named_for_what_they_are(shared: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        read_state_dict(shared / "field/bad-downloads" / name)
    assert name in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_what_a_weight_file_is_called_does_not_matter(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0)}
    save_file(state, tmp_path / "a.pth")
    torch.save({"model": state}, tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        assert torch.equal(read_state_dict(tmp_path / name, "model")["a"], state["a"])
    assert read_metadata(tmp_path / "b.safetensors") == {}


def test_a_checkpoint_that_asks_for_code_is_refused_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(Vecho\ntR.")  # torch's format of before 1.6
    with pytest.raises(UserError, match=r"evil\.pt") as caught:
        read_state_dict(tmp_path / "evil.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_do_not_fit(tmp_path: Path, network: nn.Sequential, value: float) -> None:
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["0.weight"][1, 2] = value
    fit = compare(state, network)
    assert not fit.fits and fit.not_finite == ("0.weight",)
    with pytest.raises(UserError, match=r"1 with NaN or infinity \(0\.weight\)"):
        load_state_dict(network, state, fit, tmp_path / "weights.pt")


def test_a_mask_may_be_infinite_but_not_nan() -> None:
    network = nn.Linear(2, 2)
    network.register_buffer("mask", torch.zeros(2))
    state = {**network.state_dict(), "mask": torch.tensor([0.0, -torch.inf])}
    assert compare(state, network).fits
    assert compare({**state, "mask": torch.tensor([0.0, torch.nan])}, network).not_finite == ("mask",)
