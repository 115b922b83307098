"""What ``posesyn doctor`` finds, and what it says of things that are not there."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attrs import frozen

from posesyn_core import Component, Kind, hookimpl
from posesyn_core.cli import main
from posesyn_core.components import Need
from posesyn_core.engines.doctor import Finding, examine
from posesyn_core.registry import Origin, Registry


def finding(subject: str, registry: Registry | None = None) -> Finding:
    """The one finding about ``subject``."""
    sections = examine(registry or Registry.empty())
    [found] = [finding for findings in sections.values() for finding in findings if finding.subject == subject]
    return found


@pytest.fixture(scope="module")
def discovered() -> dict[str, Finding]:
    """The first finding of each subject with the bundled plugins."""
    sections = examine(Registry.discover())
    assert list(sections) == ["machine", "libraries", "files", "components"]
    return {finding.subject: finding for findings in reversed(sections.values()) for finding in reversed(findings)}


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("system", ["Python 3.", "CPU cores", "posesyn 0."]),
        ("memory", ["GiB", "unused"]),
        ("torch", [torch.__version__, "for C"]),
        ("images", ["JPEG", "PNG", "WEBP"]),
        ("free body", ["MB"]),
        (
            "weights",
            ["posesyn_blazepose/weights/starter.safetensors (", "posesyn_t2mgpt/weights/starter.safetensors ("],
        ),
        ("estimator", ["blazepose", "starter"]),
        ("engine", ["compile", "torch"]),
    ],
)
def test_what_is_there_is_found(discovered: dict[str, Finding], subject: str, words: list[str]) -> None:
    assert discovered[subject].found
    for word in words:
        assert word in discovered[subject].detail


def test_the_memory_is_that_of_this_machine(discovered: dict[str, Finding]) -> None:
    total, unused = (float(part.split()[0]) for part in discovered["memory"].detail.split(", "))
    assert 0 < unused <= total < 1e5


def test_the_licensed_body_is_explained(discovered: dict[str, Finding]) -> None:
    assert not discovered["SMPL body"].found
    assert "https://smpl.is.tue.mpg.de" in discovered["SMPL body"].detail and "'body'" in discovered["SMPL body"].detail


def registry_with(*components: Component) -> Registry:
    class Plugin:
        @hookimpl
        def register_captioners(self) -> list[Component]:
            return list(components)

    registry = Registry.empty()
    registry.add(Plugin(), Origin("mine", "mine", "1.0"))
    return registry


@frozen
class Nothing:
    """No options."""


def captioner(name: str, *needs: Need) -> Component:
    return Component(Kind.CAPTIONER, name, "", lambda config: None, Nothing, needs)


def test_what_a_component_lacks_stands_with_the_remedy() -> None:
    absent = Need("its model", "run get_model.sh", path=Path("/nowhere/model"))
    missing = Need("its library", "pip install nothing", modules=("a_module_that_is_nowhere",))
    registry = registry_with(
        captioner("a"), captioner("b", absent, missing), captioner("c", Need("math", "", ("math",)))
    )
    assert examine(registry)["components"] == [
        Finding("captioner", True, "a, c"),
        Finding("captioner", False, "b needs its model: run get_model.sh; its library: pip install nothing"),
    ]


def test_a_plugin_that_failed_is_told() -> None:
    registry = Registry.empty()
    registry.failures["broken (broken 1.0)"] = "ImportError: no"
    assert finding("plugin", registry) == Finding("plugin", False, "broken (broken 1.0): ImportError: no")


@pytest.mark.parametrize(
    ("subject", "module", "remedy"),
    [
        ("ONNX Runtime", "onnxruntime", "posesyn[onnx]"),
        ("OpenVINO", "openvino", "posesyn[openvino]"),
        ("TensorRT", "tensorrt", "posesyn[tensorrt]"),
        ("video", "av", "posesyn[video]"),
    ],
)
def test_a_library_that_is_broken_says_why(
    subject: str, module: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError('libnvinfer.so.10: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
    found = finding(subject)
    assert not found.found
    assert "does not load (ImportError: libnvinfer.so.10: no such file)" in found.detail and remedy in found.detail


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built for CUDA")
def test_a_gpu_without_a_torch_for_it_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert not finding("GPU").found
    assert "torch is built for the CPU: install torch for CUDA" in finding("GPU").detail


def test_without_a_compiler_it_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert finding("C++ compiler") == Finding(
        "C++ compiler", False, "engine compile needs one on the CPU: install g++ (apt install g++)"
    )


def test_downloaded_models_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert finding("downloads") == Finding("downloads", False, f"no models of the Hugging Face hub in {tmp_path}")
    (tmp_path / "models--openai--clip-vit-base-patch32").mkdir()
    assert finding("downloads") == Finding("downloads", True, "openai/clip-vit-base-patch32")


def test_the_cache_is_measured_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "new" / "cache"))
    assert finding("cache").detail.startswith(f"{tmp_path / 'new' / 'cache'}: 0.00 GiB, 0 engines; ")
    (tmp_path / "new" / "cache" / "world").mkdir(parents=True)
    with (tmp_path / "new" / "cache" / "world" / "images").open("wb") as file:
        file.truncate(2**29)
    assert ": 0.50 GiB" in finding("cache").detail


def test_it_fits_on_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert any(line.startswith(" - ") and "SMPL body" in line for line in lines)


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built for CUDA and may be asked for GPUs")
def test_it_does_not_load_torch() -> None:
    script = "import sys; from posesyn_core.cli import main; main(['doctor']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_openvino_tells_what_the_processor_computes_in() -> None:
    pytest.importorskip("openvino")
    found = finding("OpenVINO")
    assert found.found and "this processor computes in fp32" in found.detail
