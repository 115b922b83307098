"""Networks in int8: what is rounded and what is not, on every engine that reads such graphs."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import EngineConfig, ExportableModule
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.engines.quantisation import quantised
from posesyn_core.inference.verification import subject, verify
from posesyn_core.registry import Registry


class Net(nn.Module):
    """A layer that may be rounded, and one that must not."""

    def __init__(self) -> None:
        super().__init__()
        self.rough = nn.Conv2d(3, 8, 3)
        self.fine = nn.Sequential(nn.Linear(8, 2))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"y": self.fine(self.rough(images).relu().mean((2, 3)))}


def pictures() -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return ({"images": torch.rand(1, 3, 8, 8, generator=generator)} for _ in range(4))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The engine cache's folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSESYN_CACHE", str(folder))
        yield folder / "engines"


@pytest.fixture(scope="module")
def small() -> ExportableModule:
    torch.manual_seed(0)
    example = torch.cat([given["images"] for given in pictures()])
    return ExportableModule("small", Net().eval(), {"images": example}, ("fine",), pictures)


def test_what_a_network_wants_in_float32_stays_so(small: ExportableModule, graphs: Path) -> None:
    nodes = onnx.load(str(quantised(small, EngineCache(graphs)))).graph.node
    made = {output: node for node in nodes for output in node.output}
    inputs = {node.op_type: [made[name].op_type for name in node.input[:2] if name in made] for node in nodes}
    assert inputs["Conv"] == ["DequantizeLinear"] * 2
    assert "DequantizeLinear" not in inputs["Gemm"]


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_read_it(small: ExportableModule, graphs: Path, engine: str) -> None:
    made = Registry.discover().create(Kind.ENGINE, engine, {"precision": "int8"}, "test")
    found = made.load(small)(small.example)["y"]
    with torch.inference_mode():
        expected = small.module(**small.example)["y"]
    assert 1e-6 < float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_its_joints_are_judged_as_those_of_half_precision(graphs: Path) -> None:
    registry = Registry.discover()
    engine = registry.create(Kind.ENGINE, "onnx", {"precision": "int8"}, "test")
    agreement = verify(subject(registry, "spin", {"weights": "random"}), engine)
    assert agreement.tolerance == 2.0 and agreement.error > 0.1, agreement.text
    assert not agreement.accepted or agreement.error <= 2.0
    assert not verify(subject(registry, "spin", {"weights": "random"}), engine, tolerance=0.01).accepted


def test_what_can_not_be_rounded_is_told(small: ExportableModule, graphs: Path) -> None:
    with pytest.raises(UserError, match="'small' has no pictures to be calibrated by: int8 is for estimators"):
        quantised(evolve(small, calibration=None), EngineCache(graphs))
    with pytest.raises(UserError, match="'small' has no layer that int8 could make faster"):
        quantised(evolve(small, keep_fp32=("rough", "fine")), EngineCache(graphs))
    with pytest.raises(UserError, match="int8 is for the engines 'onnx' and 'openvino'"):
        TorchEngine(EngineConfig(precision="int8")).load(small)
