"""Exported graphs in the cache, which all engines that start from ONNX share."""

import onnx
import pytest
import torch

from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.cache import EngineCache
from posesyn_core.engines.export import exported


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)
        self.scale = 2

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"joints": self.linear(image) * self.scale}


def module() -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("net", Net(), {"image": torch.zeros(2, 3)})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


def test_a_graph_is_exported_once(cache: EngineCache) -> None:
    graph = exported(module(), "fp32", cache)
    written = graph.stat().st_mtime_ns
    assert exported(module(), "fp32", cache) == graph
    assert graph.stat().st_mtime_ns == written


def test_a_graph_with_a_wrong_hash_is_exported_again(cache: EngineCache) -> None:
    graph = exported(module(), "fp32", cache)
    damaged = bytearray(graph.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    graph.write_bytes(damaged)
    again = exported(module(), "fp32", cache)
    assert again.read_bytes() != damaged
    onnx.checker.check_model(str(again), full_check=True)


def test_a_network_that_was_in_training_is_still_the_same(cache: EngineCache) -> None:
    other = module()
    other.module.train()
    graph = exported(other, "fp32", cache)
    other.module.eval()
    assert exported(other, "fp32", cache) == graph


@pytest.mark.parametrize("what", ["weights", "precision", "number"])
def test_another_network_is_another_graph(what: str, cache: EngineCache) -> None:
    other = module()
    if what == "weights":
        with torch.no_grad():
            other.module.get_submodule("linear").get_parameter("bias")[0] += 1
    if what == "number":
        other.module.scale = 3
    precision = "fp16" if what == "precision" else "fp32"
    assert exported(other, precision, cache).read_bytes() != exported(module(), "fp32", cache).read_bytes()
