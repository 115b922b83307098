"""What makes an engine acceptable, and how engines are timed."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.contracts.engines import EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.files.images import load_image
from posesyn_core.inference.probe import probe_requests, probe_samples
from posesyn_core.inference.verification import (
    Subject,
    Timing,
    batch_sizes,
    bench,
    present_engines,
    recommended,
    subject,
    verify,
    verify_accelerated,
)
from posesyn_core.registry import Registry

Outputs = dict[str, Tensor]


@frozen
class Off:
    """Eager torch, but one output is off by so much."""

    output: str
    by: float | Tensor
    config: EngineConfig = EngineConfig()

    def load(self, module: ExportableModule) -> NetworkCall:
        call = TorchEngine(self.config).load(module)

        def wrong(tensors: Mapping[str, Tensor]) -> Outputs:
            outputs = dict(call(tensors))
            outputs[self.output] = outputs[self.output] + self.by
            return outputs

        return wrong


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def spin(registry: Registry) -> Subject:
    return subject(registry, "spin", {"weights": "random"})


@pytest.fixture(scope="module")
def motions(registry: Registry) -> Subject:
    return subject(registry, "t2mgpt", {"temperature": 0})


def test_eager_torch_agrees_with_itself(spin: Subject, motions: Subject) -> None:
    for checked, limit in ((spin, 0.1), (motions, 0.0)):
        agreement = verify(checked, TorchEngine(EngineConfig()))
        assert agreement.accepted and agreement.error == 0 and agreement.tolerance == limit
        agreement.require("torch")


def test_half_precision_is_judged_by_the_mean(spin: Subject, motions: Subject) -> None:
    half = TorchEngine(EngineConfig(precision="bf16"))
    for checked, limit in ((spin, 2.0), (motions, 1.0)):
        agreement = verify(checked, half)
        assert agreement.tolerance == limit
        assert agreement.accepted == (agreement.error <= limit)
    assert verify(spin, half).error > 10 * verify(spin, TorchEngine(EngineConfig())).error + 0.01  # bfloat16 it was


@pytest.mark.parametrize("output", ["rotmat", "shape", "cam"])
def test_an_engine_that_is_off_is_refused_unless_told_otherwise(spin: Subject, output: str) -> None:
    """Also if only the camera is wrong: scoring compares projections."""
    wrong = Off(output, 0.02)
    agreement = verify(spin, wrong)
    assert not agreement.accepted
    with pytest.raises(UserError, match=r"mine is refused: joints differ by .* mm at most.*'tolerance'"):
        agreement.require("mine")
    verify(spin, wrong, tolerance=10 * agreement.error).require("mine")


def test_a_float32_engine_may_round_as_coarsely_as_eager_float32_does(registry: Registry) -> None:
    """BlazePose looks where its first look tells it: its last digits are coarser than the limit for anybody."""
    blazepose = subject(registry, "blazepose", {"weights": "lite"})
    nose = torch.zeros(33, 3)
    nose[0, 0] = 1
    small, large = (verify(blazepose, Off("world", metres * nose)) for metres in (1.2e-4, 3e-3))
    assert small.tolerance > small.error > 0.1 and small.accepted and "from float64 itself" in small.text
    assert not large.accepted and large.error > 2
    assert not verify(blazepose, Off("world", 1.2e-4 * nose), tolerance=0.1).accepted


def test_the_rounding_of_a_network_that_rounds_finely_allows_nothing(spin: Subject) -> None:
    agreement = verify(spin, Off("cam", 1e-3))
    assert not agreement.accepted and agreement.tolerance == 0.1


@pytest.mark.parametrize("output", ["rotmat", "shape"])
def test_results_that_are_no_numbers_are_refused_whatever_is_allowed(spin: Subject, output: str) -> None:
    assert not verify(spin, Off(output, float("nan")), tolerance=1e9).accepted


def test_other_tokens_are_counted(motions: Subject) -> None:
    class Shifted:
        config = EngineConfig()

        def load(self, module: ExportableModule) -> NetworkCall:
            call = TorchEngine(self.config).load(module)
            return lambda tensors: {**(outputs := call(tensors)), "logits": outputs["logits"].roll(1, -1)}

    agreement = verify(motions, Shifted())
    assert agreement.error == 100 and agreement.text.startswith("0 of ")
    assert not agreement.accepted
    assert not verify(motions, Off("logits", float("nan")), tolerance=100).accepted


def test_networks_without_tokens_are_judged_by_their_outputs() -> None:
    class Animator:
        module = ExportableModule("unet", Net(), {"x": torch.ones(2, 3)})

        def networks(self) -> list[ExportableModule]:
            return [self.module]

        def use(self, calls: Mapping[str, NetworkCall]) -> None:
            self.calls = calls

    animator = Animator()
    for off, accepted in ((0.0, True), (0.0005, True), (0.01, False)):
        calls = {"unet": Off("y", off).load(animator.module)}
        agreement = verify_accelerated(animator, animator.networks(), calls, "fp32")
        assert agreement.accepted == accepted, agreement.text
        assert animator.calls is calls


class Net(nn.Module):
    def forward(self, x: Tensor) -> Outputs:
        return {"y": x}


def test_probes_differ_from_one_another_and_never_change() -> None:
    samples = probe_samples()
    assert len({sample.image for sample in samples}) == len(samples) > 8
    pixels = [load_image(sample.image) for sample in samples[:2]]
    assert np.abs(pixels[0].astype(int) - pixels[1]).mean() > 10
    for sample in samples:
        height, width = load_image(sample.image).shape[:2]
        assert ((sample.keypoints2d > -20) & (sample.keypoints2d < (width + 20, height + 20))).all()
    probe_samples.cache_clear()
    assert [sample.image for sample in probe_samples()] == [sample.image for sample in samples]
    poses = np.stack([request.pose for request in probe_requests()])  # type: ignore[arg-type]
    assert (poses[:, 15, 1] > poses[:, 0, 1]).all()  # upright: heads above pelvises


def test_every_engine_is_timed_at_every_batch_size(registry: Registry) -> None:
    engines, missing = present_engines(registry, {"precision": "bf16", "batch": (1, 4)})
    assert next(iter(engines)) == "torch" and engines["torch"].config.precision == "fp32"
    assert set(engines) | set(missing) >= {"torch", "torch bf16", "compile bf16"}
    module = ExportableModule("net", Net(), {"x": torch.ones(2, 3)})
    chosen = {name: engines[name] for name in ("torch", "torch bf16")} | {"no": Refusing()}
    timings, refused = bench(module, chosen, [1, 4], seconds=0.03)
    assert [(timing.engine, timing.batch) for timing in timings] == [
        ("torch", 1), ("torch bf16", 1), ("torch", 4), ("torch bf16", 4)
    ]  # fmt: skip
    assert refused == {"no": "not this one"}
    for timing in timings:
        assert timing.rate == pytest.approx(1000 * timing.batch / timing.latency)
        assert timing.ratio == 1 or timing.engine != "torch"


class Refusing:
    config = EngineConfig()

    def load(self, module: ExportableModule) -> NetworkCall:
        raise UserError("not this one")


def test_the_fastest_engine_that_is_right_is_recommended(spin: Subject) -> None:
    engines = {"torch": TorchEngine(EngineConfig()), "wrong": Off("rotmat", 0.5), "right": Off("cam", 0.0)}

    def timings(**rates: float) -> list[Timing]:
        slow = [Timing("spin", name, 1, 1.0, 1000.0, 1.0) for name in rates]
        return [*slow, *(Timing("spin", name, 8, rate, 8000 / rate, rate / 10) for name, rate in rates.items())]

    found = recommended(spin, engines, timings(torch=10, wrong=50, right=30))
    assert found is not None
    assert found[:2] == ("right", pytest.approx(3))
    assert found[2].accepted
    assert recommended(spin, engines, timings(torch=10, wrong=50, right=9)) is None
    assert recommended(spin, engines, timings(torch=10)) is None


@pytest.mark.parametrize("text", ["", "1,x", "0,4"])
def test_batch_sizes_are_numbers(text: str) -> None:
    assert batch_sizes("1, 8") == [1, 8]
    with pytest.raises(UserError, match="such as 1,8,32"):
        batch_sizes(text)


def test_what_has_no_network_is_named(registry: Registry) -> None:
    with pytest.raises(UserError, match="'reprojection' has no network"):
        subject(registry, "reprojection", {})
    with pytest.raises(UserError, match="no estimator named 'nobody'"):
        subject(registry, "nobody", {})
