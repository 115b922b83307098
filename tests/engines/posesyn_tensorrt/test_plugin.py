"""The options of the engine ``tensorrt``, and what is said where it can't run."""

import importlib.util
import sys
from typing import Any

import pytest
import torch

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import Engine, ExportableModule
from posesyn_core.recipe import structure
from posesyn_core.registry import Registry
from posesyn_tensorrt.config import TensorRTConfig
from posesyn_tensorrt.engine import TensorRTEngine, require_gpu

SECTION = "[estimator.engine]"


def test_a_recipes_options_are_understood() -> None:
    config = structure({"precision": "fp16", "batch": [2, 32], "device": "cuda:1"}, TensorRTConfig, SECTION)
    assert config == TensorRTConfig(precision="fp16", batch=(2, 32), device="cuda:1")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"precision": "int4"}, "precision"),
        ({"batch": [64, 1]}, r"\[smallest, largest\], not \[64, 1\]"),
        ({"batch": [0, 4]}, "'batch' must be at least 1"),
        ({"batch": [1]}, "batch"),
        ({"contexts": 0}, "'contexts' must be at least 1"),
        ({"workspace": 1}, "workspace"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refusal:
        structure(options, TensorRTConfig, SECTION)
    assert str(refusal.value).startswith(SECTION)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_where_it_is_not_installed_the_registry_says_how_to_get_it() -> None:
    with pytest.raises(UserError, match=r"engine 'tensorrt' lacks TensorRT \(pip install .*posesyn\[onnx,tensorrt\]"):
        Registry.discover().create(Kind.ENGINE, "tensorrt", {}, SECTION)


def test_it_fits_the_protocol_of_engines() -> None:
    assert isinstance(TensorRTEngine(TensorRTConfig()), Engine)


def test_libraries_that_do_not_load_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # its import raises ImportError
    module = ExportableModule("net", torch.nn.Identity(), {"x": torch.zeros(2, 3)})
    with pytest.raises(UserError, match=r"can't load TensorRT .* pip install"):
        TensorRTEngine(TensorRTConfig()).load(module)


def test_without_a_gpu_it_names_the_engines_that_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"needs an NVIDIA GPU.* engine 'onnx' or 'compile'"):
        require_gpu("cuda")


def test_another_device_than_cuda_is_refused() -> None:
    with pytest.raises(UserError, match=r"not on device 'cpu'"):
        require_gpu("cpu")


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"no device 'cuda:2': this machine has 2 GPUs"):
        require_gpu("cuda:2")
