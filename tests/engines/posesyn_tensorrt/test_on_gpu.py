"""The engine on a real GPU with TensorRT's libraries: run with ``pytest -m tensorrt``."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
import torch

from posesyn_core import UserError
from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.cache import EngineCache
from posesyn_tensorrt.config import TensorRTConfig
from posesyn_tensorrt.engine import TensorRTEngine

LACKING = importlib.util.find_spec("tensorrt") is None or not torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(LACKING, reason="needs TensorRT and an NVIDIA GPU"),
]


class Net(torch.nn.Module):
    """A convolution and a normalisation with an integer input beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.norm = torch.nn.LayerNorm(16)

    def forward(self, image: torch.Tensor, person: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.norm(self.convolution(image).mean(dim=(2, 3)))
        return {"features": features, "person": person + 1}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


def inputs(batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    image = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return {"image": image, "person": torch.arange(batch)[:, None]}


def module() -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("net", Net().eval(), inputs(2), keep_fp32=("norm",))


def eager(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        return module().module(**tensors)


CONFIG = TensorRTConfig(batch=(1, 8), graphs=2)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 1e-1)])
def test_it_agrees_with_eager_torch_captured_or_not(cache: EngineCache, precision: str, tolerance: float) -> None:
    call = TensorRTEngine(attrs.evolve(CONFIG, precision=precision), cache).load(module())
    for seed, batch in enumerate((1, 8, 3, 8, 8, 1, 3, 3, 8)):  # the second use captures; the third size finds no room
        tensors = inputs(batch, seed)
        outputs, wanted = call(tensors), eager(tensors)
        torch.testing.assert_close(outputs["features"], wanted["features"], atol=tolerance, rtol=tolerance)
        assert torch.equal(outputs["person"], wanted["person"])


def test_tensors_on_the_gpu_stay_there_and_follow_the_current_stream(cache: EngineCache) -> None:
    call = TensorRTEngine(CONFIG, cache).load(module())
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        results = [call({name: tensor.cuda() for name, tensor in inputs(4, seed).items()}) for seed in range(5)]
    stream.synchronize()
    for seed, result in enumerate(results):
        assert result["features"].is_cuda
        torch.testing.assert_close(result["features"].cpu(), eager(inputs(4, seed))["features"], atol=1e-4, rtol=1e-4)


def test_threads_share_an_engine(cache: EngineCache) -> None:
    call = TensorRTEngine(attrs.evolve(CONFIG, contexts=2), cache).load(module())
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda seed: call(inputs(1 + seed % 8, seed)), range(64)))
    for seed, result in enumerate(results):
        wanted = eager(inputs(1 + seed % 8, seed))
        torch.testing.assert_close(result["features"], wanted["features"], atol=1e-4, rtol=1e-4)


def test_a_batch_larger_than_the_profile_is_refused(cache: EngineCache) -> None:
    call = TensorRTEngine(CONFIG, cache).load(module())
    with pytest.raises(UserError, match=r"batches of 1 to 8 samples and got 9"):
        call(inputs(9))


def test_the_second_load_takes_the_plan_from_the_cache(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    TensorRTEngine(CONFIG, cache).load(module())
    built = [entry.path.stat().st_mtime_ns for entry in cache.entries()]
    TensorRTEngine(CONFIG, cache).load(module())
    assert [entry.path.stat().st_mtime_ns for entry in cache.entries()] == built
