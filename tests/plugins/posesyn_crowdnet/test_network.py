"""The network's behaviour beyond the recorded numbers: export, batches of three, sizes."""

from pathlib import Path

import pytest
import torch

from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.export import export_onnx
from posesyn_crowdnet.estimator import CrowdNet
from posesyn_crowdnet.network import CrowdNetwork, sizes_of
from posesyn_crowdnet.weights import SMALL


@pytest.fixture(scope="module")
def network() -> CrowdNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CrowdNetwork(SMALL).eval()


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    joints = 64 * torch.rand(4, 30, 2, generator=random)
    mask = (torch.rand(4, 30, 1, generator=random) > 0.3).float()
    return {"images": torch.rand(4, 3, 256, 256, generator=random), "joints": joints, "joints_mask": mask}


def test_sizes_are_read_from_the_weights(network: CrowdNetwork) -> None:
    assert sizes_of(network.state_dict()) == SMALL
    with pytest.raises(KeyError):
        sizes_of({"conv1.weight": torch.zeros(3)})


def test_a_batch_of_three_is_like_any_other(network: CrowdNetwork, inputs: dict[str, torch.Tensor]) -> None:
    """The official code turns the root wrongly in batches of exactly three."""
    with torch.inference_mode():
        four = network(**inputs)
        three = network(**{name: tensor[:3] for name, tensor in inputs.items()})
    for name, values in three.items():
        torch.testing.assert_close(values, four[name][:3], atol=1e-4, rtol=1e-4)


def test_joints_that_are_masked_do_not_matter(network: CrowdNetwork, inputs: dict[str, torch.Tensor]) -> None:
    hidden = inputs["joints_mask"] == 0
    moved = {**inputs, "joints": torch.where(hidden, 13.0, inputs["joints"])}
    with torch.inference_mode():
        for values, others in zip(network(**inputs).values(), network(**moved).values(), strict=True):
            torch.testing.assert_close(values, others, atol=0, rtol=0)


@pytest.mark.slow
def test_it_exports_with_a_free_batch(network: CrowdNetwork, inputs: dict[str, torch.Tensor], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    example = {name: tensor[:2] for name, tensor in inputs.items()}
    module = ExportableModule("crowdnet", network, example, CrowdNet.keep_fp32)
    session = onnxruntime.InferenceSession(str(export_onnx(module, tmp_path / "crowdnet.onnx")))
    for count in (1, 3):
        batch = {name: tensor[:count] for name, tensor in inputs.items()}
        with torch.inference_mode():
            expected = network(**batch)
        found = session.run(list(expected), {name: tensor.numpy() for name, tensor in batch.items()})
        for name, values in zip(expected, found, strict=True):
            torch.testing.assert_close(torch.from_numpy(values), expected[name], atol=1e-3, rtol=1e-3)
