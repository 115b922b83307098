"""Weight files: our own, the official layout, and everything that can be wrong with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.statistics import Statistics, measure
from posesyn_t2mgpt.transformer import T2MTransformer
from posesyn_t2mgpt.vqvae import MotionVqVae
from posesyn_t2mgpt.weights import T2MGptWeights, load_weights, save_weights

Models = tuple[Statistics, MotionVqVae, T2MTransformer]


@pytest.fixture
def official(tmp_path: Path, models: Models) -> Path:
    """A folder as the official release lays it out."""
    torch.save({"net": models[1].state_dict()}, tmp_path / "net_last.pth")
    torch.save({"trans": models[2].state_dict()}, tmp_path / "net_best_fid.pth")
    np.save(tmp_path / "mean.npy", np.arange(263.0))
    np.save(tmp_path / "std.npy", np.full(263, 0.02))
    return tmp_path


def test_own_file_gives_the_models_back(weights_file: Path, models: Models) -> None:
    weights = load_weights(str(weights_file))
    assert weights.text_encoder == "hashed"
    pairs = [(weights.vqvae(), models[1]), (weights.transformer(), models[2])]
    for loaded, saved in pairs:
        assert not loaded.training
        for name, tensor in saved.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    assert weights.transformer().shape.heads == 2
    assert torch.equal(weights.statistics().std, torch.ones(263).double())


def test_official_folder(official: Path, models: Models) -> None:
    weights = load_weights(str(official))
    assert weights.text_encoder == "clip"
    assert weights.transformer(heads=2).shape == models[2].shape
    assert weights.vqvae().shape == models[1].shape
    assert weights.statistics().mean.tolist() == list(range(263))


def test_the_official_folders_as_they_unpack(official: Path, tmp_path: Path, models: Models) -> None:
    """A clone of the repository whose scripts have run; the sets for KIT-ML lie beside those for HumanML3D."""
    clone = tmp_path / "T2M-GPT"
    meta = "checkpoints/t2m/VQVAEV3_CB1024_CMT_H1024_NRES3/meta"
    for name, place in {
        "net_last.pth": "pretrained/VQVAE",
        "net_best_fid.pth": "pretrained/VQTransformer_corruption05",
        "mean.npy": meta,
        "std.npy": meta,
    }.items():
        (clone / place).mkdir(parents=True, exist_ok=True)
        (official / name).rename(clone / place / name)
    other = clone / "checkpoints/kit/VQVAEV3_CB1024_CMT_H1024_NRES3/meta"
    other.mkdir(parents=True)
    np.save(other / "mean.npy", np.zeros(251))
    weights = load_weights(str(clone))
    assert weights.statistics().mean.tolist() == list(range(263))
    assert weights.transformer(heads=2).shape == models[2].shape
    lacks = Registry.discover().find(Kind.MOTION, "t2mgpt").component.lacks
    assert lacks is not None and not [f for f in lacks(T2MGptConfig(str(clone))) if "text encoder" not in f]
    (clone / meta / "std.npy").unlink()
    assert any("lacks std.npy" in fault for fault in lacks(T2MGptConfig(str(clone))))


def test_humanml3d_statistics_are_refused(shared: Path, official: Path) -> None:
    """The published data set's own file scales root motion by 25; the evaluator's is the right one."""
    pack = shared / "parity"
    for source, target in (("Mean", "mean"), ("Std", "std")):
        (official / f"{target}.npy").write_bytes((pack / "humanml" / f"{source}.npy").read_bytes())
    with pytest.raises(UserError, match=r"HumanML3D's own Std\.npy"):
        load_weights(str(official)).statistics()
    for name in ("mean", "std"):
        (official / f"{name}.npy").write_bytes((pack / "t2mgpt" / f"t2m_{name}.npy").read_bytes())
    assert load_weights(str(official)).statistics().std[0] < 0.001


def test_vqvae_alone(tmp_path: Path, models: Models) -> None:
    path = tmp_path / "vq.safetensors"
    save_weights(path, models[0], models[1])
    assert load_weights(str(path)).vqvae().shape == models[1].shape
    with pytest.raises(UserError, match="add the transformer's checkpoint"):
        load_weights(str(path)).transformer()


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "std.npy").unlink(), "put mean.npy and std.npy"),
        (lambda folder: np.save(folder / "std.npy", np.ones(251)), r"not \(263,\)"),
        (lambda folder: np.save(folder / "std.npy", np.zeros(263)), "not positive"),
        (lambda folder: np.save(folder / "mean.npy", np.full(263, np.nan)), "not finite"),
        (lambda folder: np.save(folder / "std.npy", np.full(263, 0.36)), "HumanML3D's own Std.npy.*25 times"),
        (lambda folder: np.save(folder / "t2m_std.npy", np.ones(263)), "'std' twice, once in t2m_std.npy"),
        (lambda folder: (folder / "net_last.pth").unlink(), "add the VQ-VAE's checkpoint"),
        (lambda folder: _truncate(folder / "net_last.pth"), "net_last.pth.*ends early"),
        (lambda folder: (folder / "net_last.pth").write_bytes(b""), "net_last.pth.*zero bytes"),
        (lambda folder: (folder / "std.npy").write_bytes(b"?"), "std.npy.*is it complete"),
        (lambda folder: torch.save({"model": {}}, folder / "net_last.pth"), "no tensors under 'net' or 'trans'"),
        (lambda folder: torch.save([Path("x")], folder / "net_last.pth"), "net_last.pth"),
        (lambda folder: _resize(folder / "net_last.pth", "vqvae.decoder.model.6.bias"), "does not fit.*model.6.bias"),
        (lambda folder: _resize(folder / "net_last.pth", "vqvae.encoder.model.0.weight", 16, 251, 3), "model.0.weight"),
        (lambda folder: _drop(folder / "net_best_fid.pth", "trans_head.ln_f.bias"), "does not fit.*ln_f.bias"),
    ],
)
def test_bad_files(official: Path, spoil: Spoil, message: str) -> None:
    spoil(official)
    with pytest.raises(UserError, match=f"(?s){message}"):
        weights = load_weights(str(official))
        weights.statistics(), weights.vqvae(), weights.transformer(heads=2)


def test_truncated_safetensors(weights_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights_file.read_bytes())
    _truncate(copy)
    with pytest.raises(UserError, match=r"copy\.safetensors.*not a complete safetensors"):
        load_weights(str(copy))


@pytest.mark.parametrize("name", ["nowhere", "nowhere.pth", "."])
def test_no_weights(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no weights at"):
        load_weights(str(tmp_path / name))


def test_heads_must_divide(official: Path) -> None:
    with pytest.raises(UserError, match="3 heads don't divide the 16 channels"):
        load_weights(str(official)).transformer(heads=3)


def test_statistics_share_one_deviation_per_group() -> None:
    rows = torch.randn(500, 263) * torch.linspace(0.1, 5, 263) + 3
    statistics = measure(rows)
    torch.testing.assert_close(statistics.mean, rows.mean(0))
    assert statistics.std[4:67].unique().numel() == 1
    torch.testing.assert_close(statistics.std[4], rows[:, 4:67].std(0).mean())
    torch.testing.assert_close(statistics.denormalize(statistics.normalize(rows)), rows, atol=1e-4, rtol=1e-4)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _edit(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(next(iter(content.values())))
    torch.save(content, path)


def _resize(path: Path, name: str, *shape: int) -> None:
    """As the checkpoints for KIT's 251 features have it."""
    _edit(path, lambda state: state.update({name: torch.zeros(*(shape or (251,)))}))


def _drop(path: Path, name: str) -> None:
    _edit(path, lambda state: state.pop(name))


def test_checked_and_converted_like_other_weights(
    official: Path, weights_file: Path, models: Models, tmp_path: Path
) -> None:
    """``posesyn weights check|convert t2mgpt``: each official checkpoint, the folder of both, and a file of ours."""
    found = Registry.discover().find(Kind.MOTION, "t2mgpt").component.weights
    assert found is not None
    weights = found()
    held = {
        official / "net_last.pth": "VQ-VAE", official / "net_best_fid.pth": "transformer",
        official: "VQ-VAE and transformer", weights_file: "VQ-VAE and transformer",
    }  # fmt: skip
    for path, parts in held.items():
        fit = weights.check(path)
        assert fit.fits
        assert fit.variant == f"T2M-GPT ({parts}, other sizes)"
    weights.convert(official, tmp_path / "both.safetensors")
    converted = load_weights(str(tmp_path / "both.safetensors"))
    assert converted.text_encoder == "clip"
    assert converted.statistics().mean.tolist() == list(range(263))
    for loaded, saved in ((converted.vqvae(), models[1]), (converted.transformer(heads=2), models[2])):
        for name, tensor in saved.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


def test_what_does_not_fit_is_named(official: Path, models: Models, tmp_path: Path) -> None:
    state = models[1].state_dict()
    del state["vqvae.decoder.model.0.weight"]
    state["vqvae.other"] = torch.zeros(2)
    torch.save({"net": state}, tmp_path / "cut.pth")
    fit = T2MGptWeights().check(tmp_path / "cut.pth")
    assert fit.missing == ("vqvae.decoder.model.0.weight",)
    assert fit.unexpected == ("vqvae.other",)
    save_file({"encoder.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    other = T2MGptWeights().check(tmp_path / "other.safetensors")
    assert not other.fits
    assert other.unexpected == ("encoder.weight",)
    for path in ("cut.pth", "other.safetensors"):
        with pytest.raises(UserError, match=path):
            T2MGptWeights().convert(tmp_path / path, tmp_path / "out.safetensors")
