"""From module to plan: what is built, what is reused, what is refused.

Graphs are exported by the real exporter. TensorRT itself is not there, nor a GPU to build on: where a test gets as far
as the build, a small stand-in for its builder and parser records what they are asked for. It shows that our own
decisions are right, and nothing about TensorRT; ``test_on_gpu.py`` is for that.
"""

import enum
import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import pytest
import torch

from posesyn_core import UserError
from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import exported
from posesyn_tensorrt.config import TensorRTConfig
from posesyn_tensorrt.engine import Gpu, TensorRTEngine, plan_key

H200 = Gpu(torch.device("cuda", 0), "NVIDIA H200", "9.0")
A100 = Gpu(torch.device("cuda", 0), "NVIDIA A100-SXM4-80GB", "8.0")


class Net(torch.nn.Module):
    """Two inputs, so that a profile has more than one tensor to set."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)

    def forward(self, image: torch.Tensor, size: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"joints": torch.erf(self.linear(image)) * size}


def module() -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("net", Net(), {"image": torch.zeros(2, 5, 3), "size": torch.ones(2, 1, 1)})


CONFIG = TensorRTConfig(batch=(1, 8))


@pytest.fixture(scope="module")
def with_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that has the module's graph: its export takes seconds."""
    folder = tmp_path_factory.mktemp("exported")
    exported(module(), CONFIG.precision, EngineCache(folder))
    return folder


@pytest.fixture
def engine(tmp_path: Path, with_graph: Path) -> TensorRTEngine:
    shutil.copytree(with_graph, tmp_path / "engines")
    return TensorRTEngine(CONFIG, EngineCache(tmp_path / "engines"))


def test_a_plan_is_for_one_graph_one_gpu_one_version_and_one_range(tmp_path: Path) -> None:
    graph, other = tmp_path / "network.onnx", tmp_path / "other.onnx"
    graph.write_bytes(b"graph")
    other.write_bytes(b"another")
    config = TensorRTConfig()
    keys = [
        plan_key("net", graph, config, "10.16.1", H200),
        plan_key("net", other, config, "10.16.1", H200),
        plan_key("net", graph, config, "11.4.0", H200),
        plan_key("net", graph, config, "10.16.1", A100),
        plan_key("net", graph, config, "10.16.1", attrs.evolve(H200, capability="9.1")),
        plan_key("net", graph, attrs.evolve(config, precision="fp16"), "10.16.1", H200),
        plan_key("net", graph, attrs.evolve(config, batch=(1, 32)), "10.16.1", H200),
    ]
    assert len({key.digest for key in keys}) == len(keys)
    assert plan_key("net", graph, attrs.evolve(config, contexts=3, graphs=0), "10.16.1", H200) == keys[0]
    (tmp_path / "network.onnx.data").write_bytes(b"external weights")
    assert plan_key("net", graph, config, "10.16.1", H200) != keys[0]


class Library:
    """The stand-in: what was asked of TensorRT's builder and parser, and what they shall answer."""

    def __init__(self) -> None:
        self.flags = 0
        self.profile: dict[str, tuple[list[int], ...]] = {}
        self.cleared: list[object] = []
        self.timings_given: list[bytes] = []
        self.builds = 0
        self.unsupported: set[str] = set()
        self.log_and_fail = ""
        self.refused_timings = b""

    def as_module(self) -> ModuleType:
        fake = ModuleType("tensorrt")
        flag = enum.IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
        log = type("ILogger", (), {"ERROR": 1, "INTERNAL_ERROR": 0, "Severity": int})
        members = {
            "ILogger": log,
            "NetworkDefinitionCreationFlag": flag,
            "BuilderFlag": SimpleNamespace(TF32="TF32"),
            "Dims": list,
            "Builder": lambda logger: Builder(self, logger),
            "OnnxParser": lambda network, logger: Parser(self, network),
            "INetworkDefinition": object,
            "IOptimizationProfile": object,
            "IBuilderConfig": object,
        }
        vars(fake).update(members)
        return fake


class Builder:
    def __init__(self, library: Library, logger: Any) -> None:
        self.library, self.logger = library, logger

    def create_network(self, flags: int) -> SimpleNamespace:
        self.library.flags = flags
        return SimpleNamespace(num_inputs=0)

    def create_optimization_profile(self) -> SimpleNamespace:
        return SimpleNamespace(set_shape=lambda name, *shapes: self.library.profile.update({name: shapes}))

    def create_builder_config(self) -> SimpleNamespace:
        return SimpleNamespace(
            clear_flag=self.library.cleared.append,
            add_optimization_profile=lambda profile: 0,
            create_timing_cache=lambda data: None if data and data == self.library.refused_timings else data,
            set_timing_cache=lambda timings, ignore_mismatch: self.library.timings_given.append(timings) is None,
            get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"timings"),
        )

    def build_serialized_network(self, network: object, config: object) -> bytes | None:
        self.library.builds += 1
        if self.library.log_and_fail:
            self.logger.log(1, self.library.log_and_fail)
            return None
        return f"plan {self.library.builds}".encode()


class Parser:
    """Reads the real graph, as far as the profile needs it."""

    def __init__(self, library: Library, network: SimpleNamespace) -> None:
        self.library, self.network, self.errors = library, network, []

    def parse_from_file(self, path: str) -> bool:
        import onnx

        graph = onnx.load(path).graph
        shapes = {i.name: [d.dim_value or -1 for d in i.type.tensor_type.shape.dim] for i in graph.input}
        self.network.num_inputs = len(shapes)
        inputs = [SimpleNamespace(name=name, shape=shape) for name, shape in shapes.items()]
        self.network.get_input = inputs.__getitem__
        refused = [node for node in graph.node if node.op_type in self.library.unsupported]
        self.errors = [
            SimpleNamespace(node_operator=lambda node=node: node.op_type, desc=lambda: "no importer\n is registered")
            for node in refused
        ]
        return not self.errors

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> SimpleNamespace:
        return self.errors[index]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    library = Library()
    monkeypatch.setitem(sys.modules, "tensorrt", library.as_module())
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    sys.modules.pop("posesyn_tensorrt.build", None)
    importlib.import_module("posesyn_tensorrt.build")
    yield library
    sys.modules.pop("posesyn_tensorrt.build", None)  # it holds the stand-in


def test_the_network_is_strongly_typed_in_full_float32_and_profiled_over_the_range(
    engine: TensorRTEngine, library: Library
) -> None:
    engine.plan(module(), "10.16.1", H200)
    assert library.flags == 1 << 1
    assert library.cleared == ["TF32"]
    assert library.profile == {
        "image": ([1, 5, 3], [8, 5, 3], [8, 5, 3]),
        "size": ([1, 1, 1], [8, 1, 1], [8, 1, 1]),
    }


def test_a_plan_is_built_once(engine: TensorRTEngine, library: Library) -> None:
    plans = [engine.plan(module(), "10.16.1", H200) for _ in range(2)]
    assert plans[0].read_bytes() == b"plan 1"
    assert plans[0] == plans[1] and library.builds == 1


def test_a_truncated_plan_is_built_again(engine: TensorRTEngine, library: Library) -> None:
    plan = engine.plan(module(), "10.16.1", H200)
    plan.write_bytes(plan.read_bytes()[:3])
    assert engine.plan(module(), "10.16.1", H200).read_bytes() == b"plan 2"


def test_a_plan_of_another_gpu_is_not_taken(engine: TensorRTEngine, library: Library) -> None:
    of_a100 = engine.plan(module(), "10.16.1", A100)
    of_h200 = engine.plan(module(), "10.16.1", H200)
    assert of_a100 != of_h200 and library.builds == 2


def test_operators_that_it_can_not_take_are_named_once_and_leave_no_plan(
    engine: TensorRTEngine, library: Library
) -> None:
    library.unsupported = {"Erf", "Mul"}
    with pytest.raises(
        UserError, match=r"can't take 'net'.*Erf \(no importer is registered\).*engine 'onnx'"
    ) as refusal:
        engine.plan(module(), "10.16.1", H200)
    assert str(refusal.value).count("Erf") == 1 and "Mul" in str(refusal.value)
    assert library.builds == 0
    assert [entry.key.engine for entry in engine.cache.entries()] == ["onnx"]


def test_a_failed_build_tells_tensorrts_reason(engine: TensorRTEngine, library: Library) -> None:
    library.log_and_fail = "Error Code 2:\n OutOfMemory"
    with pytest.raises(UserError, match="can't build 'net': Error Code 2: OutOfMemory"):
        engine.plan(module(), "10.16.1", H200)
    assert [entry.key.engine for entry in engine.cache.entries()] == ["onnx"]


def test_timings_are_kept_for_the_next_build_on_the_same_gpu(engine: TensorRTEngine, library: Library) -> None:
    engine.plan(module(), "10.16.1", H200)
    engine.plan(attrs.evolve(module(), name="another"), "10.16.1", H200)
    engine.plan(module(), "10.16.1", A100)
    assert library.timings_given == [b"", b"timings", b""]
    assert engine.timing_cache("10.16.1", H200).read_bytes() == b"timings"


def test_timings_that_it_refuses_count_as_none(engine: TensorRTEngine, library: Library) -> None:
    timing = engine.timing_cache("10.16.1", H200)
    timing.parent.mkdir(parents=True)
    timing.write_bytes(b"of another version")
    library.refused_timings = b"of another version"
    assert engine.plan(module(), "10.16.1", H200).read_bytes() == b"plan 1"
    assert library.timings_given == [b""]
