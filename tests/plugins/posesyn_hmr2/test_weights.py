"""Weight files: the official layout, what is ignored in it, and what is refused."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from posesyn_core.body.model import Body
from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.checkpoints import read_checkpoint, read_metadata, write_state_dict
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_hmr2.network import Hmr2Network
from posesyn_hmr2.weights import SMALL, Hmr2Weights, load_network
from tests.plugins.posesyn_hmr2.conftest import make

State = dict[str, torch.Tensor]


def smpl_of(body: Body) -> State:
    """The body as the official module keeps it."""
    count = len(body.v_template)
    return {
        "smpl.v_template": body.v_template,
        "smpl.shapedirs": body.shapedirs,
        "smpl.posedirs": body.posedirs,
        "smpl.J_regressor": body.J_regressor,
        "smpl.lbs_weights": body.weights,
        "smpl.faces_tensor": body.faces,
        "smpl.parents": torch.tensor(SMPL24.parents),
        "smpl.joint_regressor_extra": torch.full((19, count), 1 / count),
        "smpl.joint_map": torch.arange(25),
        "smpl.vertex_joint_selector.extra_joints_idxs": torch.arange(21),
    }


@pytest.fixture
def state() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(Hmr2Network(SMALL).state_dict())


def lightning(state: State, path: Path, **more: Any) -> Path:
    """A file with the top-level keys of the official one."""
    content = {"epoch": 35, "global_step": 1_000_000, "pytorch-lightning_version": "1.8.1", "state_dict": state}
    torch.save(
        {**content, "loops": {}, "callbacks": {}, "optimizer_states": [{}, {}], "lr_schedulers": [], **more}, path
    )
    return path


def test_the_official_file_brings_its_body(state: State, body: Body, tmp_path: Path) -> None:
    everything = {**state, **smpl_of(body), "initialized": torch.tensor(True)}
    path = lightning(everything, tmp_path / "official.ckpt")
    fit = Hmr2Weights().check(path)
    assert fit.fits
    assert len(fit.ignored) == 11
    assert "zero token" in fit.variant
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoseSynWarning)
        estimator = make(weights=str(path))
    torch.testing.assert_close(estimator.joints.body.v_template, body.v_template)
    rotations, betas = torch.eye(3).repeat(1, 24, 1, 1), torch.ones(1, 10)
    torch.testing.assert_close(
        estimator.joints.body.pose(rotations, betas).vertices, body.pose(rotations, betas).vertices
    )
    assert estimator.joints.known[25:].all()  # by the checkpoint's regressor


def test_the_copy_of_smpl_is_never_written(state: State, body: Body, tmp_path: Path) -> None:
    path = lightning({**state, **smpl_of(body)}, tmp_path / "official.ckpt")
    Hmr2Weights().convert(path, tmp_path / "converted.safetensors")
    make(weights=str(path)).save(tmp_path / "saved.ckpt")
    assert read_checkpoint(tmp_path / "converted.safetensors").keys() == state.keys()
    assert read_checkpoint(tmp_path / "saved.ckpt")["state_dict"].keys() == state.keys()
    assert read_metadata(tmp_path / "converted.safetensors")["body"] == "smpl"
    with pytest.raises(UserError, match="set the option body to your SMPL file"):
        make(weights=str(tmp_path / "converted.safetensors"))


def test_a_file_for_inference_alone_loads(state: State, tmp_path: Path) -> None:
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("discriminator.")}
    path = lightning(bare, tmp_path / "bare.ckpt")
    assert Hmr2Weights().check(path).fits
    network = load_network(str(path)).network
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    torch.testing.assert_close(network.state_dict()["backbone.pos_embed"], state["backbone.pos_embed"])


def test_the_decoders_other_mode_is_recognised(tmp_path: Path) -> None:
    refining = Hmr2Network(evolve(SMALL, refines=True))
    path = lightning(dict(refining.state_dict()), tmp_path / "mean_shape.ckpt")
    fit = Hmr2Weights().check(path)
    assert fit.fits
    assert "mean_shape token" in fit.variant
    loaded = load_network(str(path), rounds=3).network.sizes
    assert (loaded.refines, loaded.rounds) == (True, 3)


def test_a_backbone_of_other_heads_is_refused(tmp_path: Path) -> None:
    """ViT-B's heads are 64 wide: computing with ours would be wrong without notice."""
    other = Hmr2Network(evolve(SMALL, channels=128, head_channels=64))
    path = lightning(dict(other.state_dict()), tmp_path / "vit_b.ckpt")
    assert not Hmr2Weights().check(path).fits
    with pytest.raises(UserError, match=r"vit_b\.ckpt.* not those of a HMR 2\.0 \(ViT-H"):
        load_network(str(path))


def test_a_missing_part_is_named(state: State, tmp_path: Path) -> None:
    del state["smpl_head.decpose.bias"]
    with pytest.raises(UserError, match=r"1 missing \(smpl_head\.decpose\.bias\)"):
        load_network(str(lightning(state, tmp_path / "incomplete.ckpt")))


def test_a_backbone_alone_is_refused(state: State, tmp_path: Path) -> None:
    backbone = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    write_state_dict(backbone, tmp_path / "vitpose.safetensors")
    with pytest.raises(UserError, match="vitpose"):
        load_network(str(tmp_path / "vitpose.safetensors"))
