"""Official snapshots: what they bring, what may be missing, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.body.model import load_body
from posesyn_core.errors import UserError
from posesyn_crowdnet.config import CrowdNetConfig
from posesyn_crowdnet.estimator import CrowdNet
from posesyn_crowdnet.network import BodyBuffers, CrowdNetwork, Sizes
from posesyn_crowdnet.weights import CrowdNetWeights, load_network

VERTICES, FACES = 40, 30
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero")  # of the body's parts: so small a one has none


@pytest.fixture
def network() -> CrowdNetwork:
    """A small network with a small body: some vertices of the free one, one of each part of the body at least."""
    network = CrowdNetwork(Sizes(8, 24, 40, VERTICES, FACES))
    body, buffers = load_body(), network.human_model_layer
    assert isinstance(buffers, BodyBuffers)
    some = torch.arange(0, len(body.v_template), len(body.v_template) // VERTICES)[:VERTICES]
    rows = body.J_regressor[:, some] + 1e-6
    buffers.th_v_template.copy_(body.v_template[some])
    buffers.th_shapedirs.copy_(body.shapedirs[some])
    buffers.th_weights.copy_(body.weights[some])
    buffers.th_J_regressor.copy_(rows / rows.sum(1, keepdim=True))
    buffers.th_faces.copy_(torch.arange(FACES * 3).reshape(FACES, 3) % VERTICES)
    return network


def snapshot(state: dict[str, torch.Tensor], path: Path) -> Path:
    optimiser = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    network = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 9, "network": network, "optimizer": optimiser}, path)
    return path


def test_a_snapshot_brings_its_own_body(network: CrowdNetwork, tmp_path: Path) -> None:
    path = snapshot(network.state_dict(), tmp_path / "snapshot_9.pth.tar")
    fit = CrowdNetWeights().check(path)
    assert fit.fits
    assert fit.ignored == ()
    estimator = CrowdNet(CrowdNetConfig(weights=str(path)))
    assert len(estimator.body.v_template) == VERTICES
    assert estimator.body.shape_space == "smpl"
    for suffix in (".safetensors", ".pth.tar"):
        estimator.save(tmp_path / f"again{suffix}")
        again = CrowdNet(CrowdNetConfig(weights=str(tmp_path / f"again{suffix}")))
        torch.testing.assert_close(again.body.v_template, estimator.body.v_template)
    saved = torch.load(tmp_path / "again.pth.tar", weights_only=True)
    assert saved["network"].keys() == {f"module.{name}" for name in network.state_dict()}
    other = CrowdNet(CrowdNetConfig(weights=str(path), body=""))
    assert other.network.human_model_layer is not None


@pytest.mark.filterwarnings("ignore::posesyn_core.errors.PoseSynWarning")
def test_the_body_and_the_encoder_may_be_missing(network: CrowdNetwork, tmp_path: Path) -> None:
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith(("human_model_layer.", "vposer.vposer.bodyprior_enc"))
        and not name.endswith("num_batches_tracked")
    }
    path = snapshot(state, tmp_path / "bare.pth.tar")
    assert CrowdNetWeights().check(path).fits
    with pytest.raises(UserError, match="set the option body to your SMPL file"):
        CrowdNet(CrowdNetConfig(weights=str(path)))
    assert CrowdNet(CrowdNetConfig(weights=str(path), body="free")).network.human_model_layer is None


def test_the_decoder_may_not(network: CrowdNetwork, tmp_path: Path) -> None:
    state = network.state_dict()
    del state["vposer.vposer.bodyprior_dec_out.bias"]
    path = snapshot(state, tmp_path / "cut.pth.tar")
    assert CrowdNetWeights().check(path).missing == ("vposer.vposer.bodyprior_dec_out.bias",)
    with pytest.raises(UserError, match=r"cut\.pth\.tar.*1 missing \(vposer\.vposer\.bodyprior_dec_out\.bias\)"):
        load_network(str(path))


def test_the_start_of_training_is_told_from_its_end(network: CrowdNetwork, tmp_path: Path) -> None:
    start = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("backbone.")}
    path = snapshot({**start, "backbone.final_layer.weight": torch.zeros(3)}, tmp_path / "snapshot_0.pth.tar")
    assert "backbone alone" in CrowdNetWeights().check(path).variant
    with pytest.raises(UserError, match=r"snapshot_0\.pth\.tar.* are a backbone alone"):
        load_network(str(path))


def test_a_truncated_snapshot_is_named(network: CrowdNetwork, tmp_path: Path) -> None:
    whole = snapshot(network.state_dict(), tmp_path / "whole.pth.tar").read_bytes()
    (tmp_path / "half.pth.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.pth\.tar"):
        load_network(str(tmp_path / "half.pth.tar"))


def test_the_published_size_is_known_by_its_name(tmp_path: Path) -> None:
    """The variant's name is told by the sizes; a meta network of the published ones costs nothing."""
    with torch.device("meta"):
        full = CrowdNetwork(Sizes(vertices=0, faces=0)).state_dict()
    names = ("backbone.conv1.weight", "rotation_net.graph_block.0.fcbn_list.0.0.weight")
    names = (*names, "vposer.vposer.bodyprior_dec_fc1.weight")
    path = snapshot({name: torch.zeros(full[name].shape) for name in names}, tmp_path / "some.pth.tar")
    fit = CrowdNetWeights().check(path)
    assert fit.variant == "3DCrowdNet (ResNet-50)"
    assert len(fit.missing) > 500
    assert np.isin(["position_net.conv.0.weight"], fit.missing).all()
