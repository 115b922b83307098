"""Published files: loaded by strict names, refused with one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from posesyn_champ.weights import ChampWeights, load_networks, random_networks
from posesyn_core.errors import UserError

State = dict[str, Tensor]


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "pretrained_models")


def change(path: Path, edit: Callable[[State], State]) -> None:
    torch.save(edit(torch.load(path, weights_only=True)), path)


def without(prefix: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def test_what_is_loaded_is_what_was_written(folder: Path) -> None:
    loaded, original = load_networks(str(folder)), random_networks()
    for ours, theirs in zip(loaded.all(), original.all(), strict=True):
        found, expected = ours.state_dict(), theirs.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert not ours.training and not any(weight.requires_grad for weight in ours.parameters())


def test_only_the_wanted_encoders_are_read(copied: Path) -> None:
    (copied / "champ" / "guidance_encoder_depth.pth").unlink()
    assert list(load_networks(str(copied), ["normal", "dwpose"]).encoders) == ["normal", "dwpose"]
    with pytest.raises(UserError, match=r"guidance_encoder_depth\.pth' is missing; download it"):
        load_networks(str(copied))


def test_a_missing_folder_tells_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not hold Champ.*download https.*image_encoder/ and sd-vae-ft-mse/"):
        load_networks(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "edit", "complaint"),
    [
        ("denoising_unet", without("mid_block.resnets.1"), r"Champ denoising_unet network: \d+ missing \(mid_block"),
        ("denoising_unet", lambda state: {**state, "extra": torch.zeros(1)}, r"1 unexpected \(extra\)"),
        ("motion_module", without("up_blocks.2"), r"Champ motion_module network: \d+ missing"),
        ("motion_module", lambda state: {**state, "conv_in.bias": torch.zeros(1)}, "1 of another shape"),
        ("reference_unet", lambda state: {**state, "conv_in.bias": torch.zeros(1)}, "1 of another shape"),
        ("guidance_encoder_normal", without("attentions.0"), r"missing \(attentions\.0"),
    ],
)
def test_files_that_do_not_fit_are_refused(copied: Path, file: str, edit: Callable, complaint: str) -> None:
    path = copied / "champ" / f"{file}.pth"
    change(path, edit)
    with pytest.raises(UserError, match=complaint):
        load_networks(str(copied))
    assert not ChampWeights().check(path).fits and not ChampWeights().check(copied).fits


def test_what_other_releases_add_is_ignored(copied: Path) -> None:
    """An output of the reference network, temporal modules beside the denoising network, DataParallel's prefix."""
    champ = copied / "champ"
    motion = torch.load(champ / "motion_module.pth", weights_only=True)
    change(champ / "reference_unet.pth", lambda state: {**state, "conv_out.bias": torch.zeros(4)})
    change(champ / "denoising_unet.pth", lambda state: {**state, **motion})
    change(champ / "motion_module.pth", lambda s: {"state_dict": {f"module.{name}": t for name, t in s.items()}})
    fit = ChampWeights().check(copied)
    assert fit.fits and "reference_unet: conv_out.bias" in fit.ignored
    loaded = load_networks(str(copied)).denoiser.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in motion.items())


def test_a_vae_with_the_older_names_is_read(copied: Path) -> None:
    """The published VAE's attention has them."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    file = copied / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    for new, name in old.items():
        state = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): value for key, value in state.items()}
    file.unlink()
    torch.save(state, file.with_suffix(".bin"))
    loaded, expected = load_networks(str(copied)).vae.state_dict(), random_networks().vae.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("part", ["image_encoder", "sd-vae-ft-mse"])
def test_a_library_s_network_must_be_complete(copied: Path, part: str) -> None:
    file = next((copied / part).glob("*.safetensors"))
    state = load_file(file)
    dropped = next(name for name in state if name.endswith("weight"))
    file.unlink()
    name = "pytorch_model.bin" if part == "image_encoder" else "diffusion_pytorch_model.bin"
    torch.save({name: tensor for name, tensor in state.items() if name != dropped}, file.with_name(name))
    with pytest.raises(UserError, match=f"{part}'"):
        load_networks(str(copied))
    shutil.rmtree(copied / part)
    with pytest.raises(UserError, match="is missing; download it"):
        load_networks(str(copied))


def test_a_broken_config_is_named(copied: Path) -> None:
    (copied / "stable-diffusion-v1-5" / "unet" / "config.json").write_text('{"layers_per_block": 2}')
    with pytest.raises(UserError, match=r"unet/config\.json' is not the config"):
        load_networks(str(copied))


def test_converted_files_take_the_originals_place(copied: Path) -> None:
    for path in (copied / "champ").glob("*.pth"):
        ChampWeights().convert(path, path.with_suffix(".safetensors"))
        path.unlink()
    loaded, expected = load_networks(str(copied)), random_networks()
    pairs = zip(loaded.denoiser.parameters(), expected.denoiser.parameters(), strict=True)
    assert all(torch.equal(found, wanted) for found, wanted in pairs)


def test_a_file_of_another_name_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    for name in ("denoising_unet", "motion_module", "reference_unet", "guidance_encoder_depth"):
        renamed = tmp_path / "champ" / f"my_{name}.pth"
        renamed.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "champ" / f"{name}.pth", renamed)
        shutil.copytree(folder / "stable-diffusion-v1-5", tmp_path / "stable-diffusion-v1-5", dirs_exist_ok=True)
        fit = ChampWeights().check(renamed)
        assert fit.fits and fit.variant.removeprefix("Champ ") in name
