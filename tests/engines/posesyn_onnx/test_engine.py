"""ONNX Runtime computes what eager torch computes: the starter estimator's joints, the starter transformer's tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import Engine, ExportableModule, NetworkCall
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import exported
from posesyn_core.inference.probe import probe_requests
from posesyn_core.inference.verification import load, subject, verify
from posesyn_core.registry import Registry
from posesyn_onnx.engine import choose_provider

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]
GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU]


def engine(registry: Registry, **options: Any) -> Engine:
    made: Engine = registry.create(Kind.ENGINE, "onnx", options, "test")
    return made


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.linear(x)}


@pytest.fixture(scope="module")
def small() -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("small", Net().eval(), {"x": torch.randn(2, 3)})


@pytest.fixture(scope="module")
def call(registry: Registry, small: ExportableModule, graphs: Path) -> NetworkCall:
    return engine(registry, batch=[1, 6]).load(small)


def test_the_starter_estimator_has_the_same_joints(registry: Registry, graphs: Path) -> None:
    agreement = verify(subject(registry, "spin", {"weights": "random"}), engine(registry))
    assert agreement.accepted and agreement.tolerance == 0.1, agreement.text
    assert agreement.error > 0  # it was not eager torch again


@pytest.mark.slow
def test_the_default_estimator_runs(registry: Registry, graphs: Path) -> None:
    """BlazePose makes a tenth of a millimetre of the crop's last digits: float64 says who is right."""
    agreement = verify(subject(registry, "blazepose", {}), engine(registry))
    assert agreement.accepted and agreement.tolerance < 2.0, agreement.text


@pytest.mark.slow
def test_in_half_precision_its_joints_are_within_two_millimetres(registry: Registry, graphs: Path) -> None:
    agreement = verify(subject(registry, "spin", {"weights": "random"}), engine(registry, precision="fp16"))
    assert agreement.accepted and agreement.tolerance == 2.0, agreement.text
    single = verify(subject(registry, "spin", {"weights": "random"}), engine(registry))
    assert agreement.error > 3 * single.error  # half precision it was


def test_the_starter_transformer_draws_the_same_tokens(registry: Registry, graphs: Path) -> None:
    checked = subject(registry, "t2mgpt", {"temperature": 0})
    generator = checked.component
    generator.use(load(checked.networks, registry.create(Kind.ENGINE, "torch", {}, "test")))
    expected = generator.generate(probe_requests())
    agreement = verify(checked, engine(registry))
    assert agreement.accepted and agreement.error == 0 and agreement.tolerance == 0, agreement.text
    for one, other in zip(expected, generator.generate(probe_requests()), strict=True):
        assert one.joints.shape == other.joints.shape
        np.testing.assert_array_equal(one.joints, other.joints)  # greedy tokens, decoded by the same VQ-VAE


def test_any_batch_in_the_range_and_none_beyond_it(call: NetworkCall, small: ExportableModule) -> None:
    for size in (1, 6):
        x = torch.randn(size, 3)
        with torch.inference_mode():
            torch.testing.assert_close(call({"x": x})["y"], small.module(x=x)["y"])
    with pytest.raises(UserError, match="'small' was made ready for batches of 1 to 6 samples and got 7"):
        call({"x": torch.zeros(7, 3)})


def test_a_process_opens_a_graph_once(call: NetworkCall, small: ExportableModule, registry: Registry) -> None:
    from posesyn_onnx.engine import _session

    before = _session.cache_info()
    engine(registry, batch=[1, 6]).load(small)
    after = _session.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_a_damaged_graph_is_exported_again(registry: Registry, small: ExportableModule, graphs: Path) -> None:
    graph = exported(small, "fp32", EngineCache(graphs))
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    run = engine(registry, threads=3).load(small)  # no session of this process has three threads
    assert len(graph.read_bytes()) == len(whole)
    with torch.inference_mode():
        torch.testing.assert_close(run(small.example)["y"], small.module(**small.example)["y"])


def test_the_best_provider_that_fits_the_device_is_taken() -> None:
    assert choose_provider("auto", "cpu", CPU) == "cpu"
    assert choose_provider("auto", "cuda:1", GPU) == "tensorrt"
    assert choose_provider("auto", "cpu", GPU) == "cpu"
    assert choose_provider("auto", "cpu", ["OpenVINOExecutionProvider", *CPU]) == "openvino"
    assert choose_provider("auto", "mps", ["CoreMLExecutionProvider", *CPU]) == "coreml"
    assert choose_provider("cuda", "cuda", GPU) == "cuda"


@pytest.mark.parametrize(("wanted", "device"), [("cuda", "cpu"), ("auto", "cuda"), ("openvino", "cpu")])
def test_a_provider_that_is_missing_is_named_with_what_there_is(wanted: str, device: str) -> None:
    with pytest.raises(UserError, match=r"has no provider .*it has: cpu.*(install|choose)"):
        choose_provider(wanted, device, CPU)


def test_a_precision_that_the_provider_lacks_is_the_users_mistake(
    registry: Registry, small: ExportableModule, graphs: Path
) -> None:
    with pytest.raises(UserError, match=r"provider 'cpu' can't run this network: .*take another precision or engine"):
        engine(registry, precision="bf16").load(small)


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_on_a_gpu_tensors_stay_there(registry: Registry, small: ExportableModule, graphs: Path, provider: str) -> None:
    run = engine(registry, device="cuda", provider=provider).load(small)
    x = torch.randn(5, 3)
    with torch.inference_mode():
        expected = small.module(x=x)["y"]
    found = run({"x": x.cuda()})["y"]
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(run({"x": x})["y"], expected, rtol=1e-3, atol=1e-3)
