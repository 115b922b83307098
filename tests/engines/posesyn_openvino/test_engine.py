"""OpenVINO computes what eager torch computes, and what ONNX Runtime does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import Engine, ExportableModule, NetworkCall
from posesyn_core.inference.verification import subject, verify
from posesyn_core.registry import Registry
from posesyn_openvino.engine import capabilities, check_device, check_precision
from posesyn_openvino.trial import LIMITS

HAS_BF16 = "BF16" in capabilities()


def engine(registry: Registry, **options: Any) -> Engine:
    made: Engine = registry.create(Kind.ENGINE, "openvino", options, "test")
    return made


class Net(nn.Module):
    """A part in half precision, and one that is kept from it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.fine = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        rough = self.linear(x)
        return {"y": rough, "z": self.fine(rough)}


@pytest.fixture(scope="module")
def small() -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("small", Net().eval(), {"x": torch.randn(2, 3)}, ("fine",))


@pytest.fixture(scope="module")
def call(registry: Registry, small: ExportableModule, graphs: Path) -> NetworkCall:
    return engine(registry, batch=[1, 6]).load(small)


def test_the_starter_estimator_has_the_same_joints(registry: Registry, graphs: Path) -> None:
    agreement = verify(subject(registry, "spin", {"weights": "random"}), engine(registry))
    assert agreement.accepted and agreement.tolerance == 0.1, agreement.text
    assert agreement.error > 0  # it was not eager torch again


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16 units")
def test_half_precision_is_judged(registry: Registry, graphs: Path) -> None:
    """With untrained weights, whether that is within what is allowed is chance; the verdict says so."""
    agreement = verify(subject(registry, "spin", {"weights": "random"}), engine(registry, precision="bf16"))
    assert agreement.tolerance == 2.0 and agreement.accepted == (agreement.error <= 2.0)
    assert 0.01 < agreement.error < 10, agreement.text  # half precision it was, and no other network


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16 units")
def test_parts_that_need_it_stay_in_float32(registry: Registry, small: ExportableModule, graphs: Path) -> None:
    """Large numbers that cancel: in bf16 nothing is left of what the fine part says."""
    torch.manual_seed(0)
    net, x = Net().eval(), torch.randn(1, 3) + 0.02 * torch.randn(4, 3)
    with torch.no_grad():
        net.fine.weight.fill_(300.7)
        net.fine.bias.copy_(-300.7 * net.linear(x).sum(1).mean().expand(2))
    found = {
        kept: engine(registry, precision="bf16").load(evolve(small, module=net, keep_fp32=kept))({"x": x})
        for kept in (("fine",), ())
    }
    with torch.inference_mode():
        fine = net.fine(found["fine",]["y"])  # it sees what half precision left of its input
    assert torch.equal(found["fine",]["y"], found[()]["y"]) and not torch.equal(found["fine",]["y"], net.linear(x))
    kept, halved = (float((found[parts]["z"] - fine).abs().max()) for parts in (("fine",), ()))
    most = float(fine.abs().max())
    assert kept <= 2**-7 * most  # to the next number of bf16 above or below
    assert halved > 2**-3 * most


def test_any_batch_in_the_range_and_none_beyond_it(call: NetworkCall, small: ExportableModule) -> None:
    for size in (1, 3, 6):
        x = torch.randn(size, 3)
        with torch.inference_mode():
            torch.testing.assert_close(call({"x": x})["y"], small.module(x=x)["y"])
    with pytest.raises(UserError, match="'small' was made ready for batches of 1 to 6 samples and got 7"):
        call({"x": torch.randn(7, 3)})


def test_one_size_alone(registry: Registry, small: ExportableModule, graphs: Path) -> None:
    fixed, x = engine(registry, batch=[4, 4]).load(small), torch.randn(4, 3)
    with torch.inference_mode():
        torch.testing.assert_close(fixed({"x": x})["z"], small.module(x=x)["z"])


def test_results_stay_when_it_is_called_again_from_anywhere(call: NetworkCall, small: ExportableModule) -> None:
    given = [torch.randn(2, 3) for _ in range(40)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda x: call({"x": x})["y"], given))
    for x, y in zip(given, found, strict=True):
        with torch.inference_mode():
            torch.testing.assert_close(y, small.module(x=x)["y"])


def test_inputs_in_any_layout(call: NetworkCall, small: ExportableModule) -> None:
    x = torch.randn(3, 4).T[:2]
    with torch.inference_mode():
        torch.testing.assert_close(call({"x": x[:, :3]})["y"], small.module(x=x[:, :3])["y"])


def test_it_computes_on_processors() -> None:
    check_device("cpu")
    with pytest.raises(UserError, match=r"not on device 'cuda:1': set its device = \"cpu\""):
        check_device("cuda:1")


def test_a_precision_that_the_processor_lacks_is_told() -> None:
    check_precision("fp32", ("FP32",))
    check_precision("bf16", ("FP32", "BF16"))
    with pytest.raises(
        UserError, match=r"no units for bf16 \(it has: fp32, int8\): set the engine's precision = \"fp32\""
    ):
        check_precision("bf16", ("FP32", "INT8", "BIN"))


def test_a_graph_that_it_does_not_take_is_told(
    registry: Registry, small: ExportableModule, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("Exception from src/core\n\nno such operator: Magic\n")

    monkeypatch.setattr("openvino.Core.read_model", refuse)
    with pytest.raises(UserError, match="OpenVINO can't run this network: no such operator: Magic; take another"):
        engine(registry, batch=[1, 3]).load(small)


def test_what_limits_torch_does_not_limit_it() -> None:
    """It would crash on some graphs."""
    asked = "import os; from posesyn_openvino.engine import capabilities; print(capabilities(), os.environ.get('{}'))"
    free = {name: value for name, value in os.environ.items() if name not in LIMITS}
    found = []
    for limits in ({}, {"DNNL_MAX_CPU_ISA": "SSE41"}):
        command = [sys.executable, "-c", asked.format("DNNL_MAX_CPU_ISA")]
        found.append(subprocess.run(command, env=free | limits, capture_output=True, text=True, check=True).stdout)
    assert found[1] == found[0].replace("None", "SSE41")


def test_a_graph_that_crashes_it_is_told_and_the_process_lives(
    registry: Registry, small: ExportableModule, graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the library alone that the process apart loads: what this one has loaded stays as it is."""
    (tmp_path / "openvino.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(
            UserError, match=r"OpenVINO crashes on the network 'small' \(SIGSEGV\): take the engine 'onnx'"
        ):
            engine(registry, batch=[2, 5]).load(small)
    engine(registry, batch=[2, 5]).load(small)  # nothing is held against it
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine(registry, batch=[2, 5]).load(small)  # it is not tried again


def test_numbers_of_other_kinds_pass(registry: Registry, graphs: Path) -> None:
    class Counts(nn.Module):
        def forward(self, tokens: Tensor) -> dict[str, Tensor]:
            return {"next": tokens + 1, "mask": tokens > 2}

    module = ExportableModule("counts", Counts().eval(), {"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]])})
    found = engine(registry).load(module)(module.example)
    np.testing.assert_array_equal(found["next"], module.example["tokens"] + 1)
    np.testing.assert_array_equal(found["mask"], module.example["tokens"] > 2)
    assert found["next"].dtype == torch.int64
