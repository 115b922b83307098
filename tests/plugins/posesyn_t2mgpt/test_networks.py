"""The transformer's two networks as engines take them: exported, compiled, with the same codes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.contracts.engines import Accelerated, EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.export import export_onnx
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.values import MotionRequest
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.generator import T2MGpt
from tests.plugins.posesyn_t2mgpt.moving import make_pose

Load = Callable[[ExportableModule], NetworkCall]


def onnx_runtime(module: ExportableModule, folder: Path) -> NetworkCall:
    """``module`` exported, with any number of rows, and run by ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = export_onnx(module, folder / f"{module.name}.onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def call(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        results = session.run(names, {name: tensor.numpy() for name, tensor in tensors.items()})
        return dict(zip(names, map(torch.from_numpy, results), strict=True))

    return call


@pytest.fixture(scope="module")
def requests() -> list[MotionRequest]:
    """Poses with a text, without one, and a text alone, of different lengths."""
    poses = [make_pose(5, 0, 0), make_pose(170, 0, 0), make_pose(60, 100, 30), None, None]
    texts = ["A person walks.", "Someone waves.", "A man sits down.", "He runs.", "She jumps and turns."]
    guidance = ["full", "pose_only", "full", "text_only", "text_only"]
    rows = zip(poses, texts, guidance, strict=True)
    return [
        MotionRequest(f"m{k}", "s", text, k, pose, guide, 40 + 8 * k, 120 + 8 * k)
        for k, (pose, text, guide) in enumerate(rows)
    ]


def codes_of(generator: T2MGpt, requests: list[MotionRequest]) -> tuple[list[list[int]], list[int]]:
    codes, lengths = generator.codes(requests)
    return codes.tolist(), lengths.tolist()


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_engines_draw_the_same_codes(requests: list[MotionRequest], engine: str, tmp_path: Path) -> None:
    """Through an engine, in float32, as in float64 without: greedy and drawn, whatever the batch."""
    load: Load = TorchEngine(EngineConfig()).load if engine == "torch" else lambda m: onnx_runtime(m, tmp_path)
    calls = {module.name: load(module) for module in T2MGpt(T2MGptConfig()).networks()}
    for temperature in (0.0, 1.0):
        generator = T2MGpt(T2MGptConfig(temperature=temperature))
        assert isinstance(generator, Accelerated)
        expected = codes_of(generator, requests)
        generator.use(calls)
        assert codes_of(generator, requests) == expected
        assert codes_of(generator, requests[::-1][:3]) == tuple(part[::-1][:3] for part in expected)
        assert [len(motion.joints) for motion in generator.generate(requests)] == [4 * n for n in expected[1]]


@pytest.mark.slow
def test_compiled(requests: list[MotionRequest], weights_file: Path) -> None:
    generator = T2MGpt(T2MGptConfig(weights=str(weights_file), temperature=0))
    expected = codes_of(generator, requests)
    engine = TorchEngine(EngineConfig(), compiled=True)
    generator.use({module.name: engine.load(module) for module in generator.networks()})
    assert codes_of(generator, requests) == expected


def test_examples_fit_the_networks() -> None:
    """Every example goes through its network; what stays in float32 exists under its name."""
    for module in T2MGpt(T2MGptConfig()).networks():
        with torch.inference_mode():
            outputs = module.module(**module.example)
        assert {len(tensor) for tensor in outputs.values()} == {2}
        assert all(np.isfinite(tensor.numpy()).all() for tensor in outputs.values())
        names = dict(module.module.named_modules())
        assert len(module.keep_fp32) == 2 * 6 + 2 and all(name in names for name in module.keep_fp32)
