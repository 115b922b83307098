"""The network's behaviour beyond the recorded numbers: stochastic depth, sizes, export."""

from pathlib import Path

import pytest
import torch
from attrs import evolve

from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.export import export_onnx
from posesyn_hmr2.network import Hmr2Network, sizes_of
from posesyn_hmr2.weights import SMALL


@pytest.fixture(scope="module")
def network() -> Hmr2Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Hmr2Network(SMALL).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(1))


def test_sizes_are_read_from_the_weights(network: Hmr2Network) -> None:
    assert sizes_of(network.state_dict()) == SMALL
    with pytest.raises(KeyError):
        sizes_of({"conv1.weight": torch.zeros(3)})


def test_blocks_are_left_out_in_training_alone(network: Hmr2Network, images: torch.Tensor) -> None:
    """Stochastic depth: samples differ in training, the first block stays, and the mean is that of inference."""
    first, last = network.backbone.blocks[0], network.backbone.blocks[-1]
    tokens = torch.randn(1, 5, SMALL.channels, generator=torch.Generator().manual_seed(2)).repeat(4000, 1, 1)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = last(tokens[:1])
        thinned, whole = last.train()(tokens), first.train()(tokens[:2])
        last.eval(), first.eval()
        torch.testing.assert_close(whole[0], first(tokens[:1])[0])
        without_either = (thinned == tokens).all((1, 2)).float().mean()
        torch.testing.assert_close(without_either, torch.tensor(0.55**2), atol=0.03, rtol=0)
        attended = last.attn(last.norm1(tokens[:1]))
        torch.testing.assert_close(thinned.mean(0), plain[0], atol=0.2 * float(attended.std()), rtol=0.05)


def test_the_token_of_the_estimate_is_refined(images: torch.Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        refining = Hmr2Network(evolve(SMALL, refines=True)).eval()
    with torch.inference_mode():
        once = refining(images)["cam"]
        refining.smpl_head.rounds = 2
        twice = refining(images)["cam"]
    assert sizes_of(refining.state_dict()).refines
    assert (once - twice).abs().max() > 1e-3


@pytest.mark.slow
def test_it_exports_with_a_free_batch(network: Hmr2Network, images: torch.Tensor, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export_onnx(ExportableModule("hmr2", network, {"images": images[:2]}), tmp_path / "hmr2.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (images[:1], images):
        with torch.inference_mode():
            expected = network(batch)
        found = session.run(list(expected), {"images": batch.numpy()})
        for name, values in zip(expected, found, strict=True):
            torch.testing.assert_close(torch.from_numpy(values), expected[name], atol=1e-4, rtol=1e-4)
