"""Prediction over many samples: ordered, lazy, independent of batches, and unharmed by bad samples."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core import PoseEstimate, Prepared, Sample, SampleError, UserError
from posesyn_core.components import Kind, SplitEstimator
from posesyn_core.contracts.engines import EngineConfig, NetworkCall
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.inference.predict import BATCHES_AHEAD, DECODED, exportable, predict
from posesyn_core.registry import Registry
from tests.tiny import people


@pytest.fixture(scope="module")
def spin() -> SplitEstimator:
    estimator: SplitEstimator = Registry.discover().create(Kind.ESTIMATOR, "spin", {"weights": "random"}, "test")
    return estimator


def flat(batches: Iterator[list[PoseEstimate | SampleError]]) -> list[PoseEstimate | SampleError]:
    return [result for batch in batches for result in batch]


def test_results_come_in_order_whatever_the_batches(spin: SplitEstimator) -> None:
    samples = people(6)
    whole = flat(predict(spin, [samples]))
    single = flat(predict(spin, [[sample] for sample in samples], workers=3))
    for one, other in zip(whole, single, strict=True):
        assert isinstance(one, PoseEstimate) and isinstance(other, PoseEstimate)
        np.testing.assert_array_equal(one.joints3d, other.joints3d)  # to the last bit: passes have one size
        np.testing.assert_array_equal(one.joints2d, other.joints2d)
    first, second = whole[:2]
    assert np.abs(first.joints3d - second.joints3d).max() > 1e-4  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["spin", "semgcn", "hybrik"])
def test_an_estimate_does_not_depend_on_the_others_of_its_pass(name: str) -> None:
    """In passes of eight, thirty-two and sixteen: a network with small inputs computes more of them at once."""
    made: SplitEstimator = Registry.discover().create(Kind.ESTIMATOR, name, {"weights": "random"}, "test")
    samples = [sample for sample in people(19) if isinstance(flat(predict(made, [[sample]]))[0], PoseEstimate)]
    assert len(samples) > 16
    whole = flat(predict(made, [samples]))
    turned = flat(predict(made, [samples[7:] + samples[:7]]))
    for one, other in zip(whole, turned[-7:] + turned[:-7], strict=True):
        assert isinstance(one, PoseEstimate) and isinstance(other, PoseEstimate)
        np.testing.assert_array_equal(one.joints3d, other.joints3d)
        np.testing.assert_array_equal(one.joints2d, other.joints2d)


def test_bad_samples_yield_their_reason_and_leave_the_others_alone(spin: SplitEstimator) -> None:
    good = people(3)
    broken = evolve(good[1], image=b"no picture")
    results = flat(predict(spin, [[good[0], broken], [broken], [good[2]]]))
    assert [isinstance(result, SampleError) for result in results] == [False, True, True, False]
    assert "not an image" in str(results[1])


def test_batches_are_read_only_a_little_ahead(spin: SplitEstimator) -> None:
    read = []

    def batches() -> Iterator[Sequence[Sample]]:
        for number in range(20):
            read.append(number)
            yield people(1)

    results = predict(spin, batches())
    next(results)
    assert len(read) <= BATCHES_AHEAD + 3
    assert len(list(results)) == 19


def test_users_mistakes_are_raised(spin: SplitEstimator) -> None:
    class Missing:
        def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
            raise UserError("no weights")

    with pytest.raises(UserError, match="no weights"):
        list(predict(Missing(), [people(2)]))


def test_a_device_that_is_too_small_is_told_in_a_sentence(spin: SplitEstimator) -> None:
    def call(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with pytest.raises(UserError, match="out of memory with 3 samples at once: lower --batch-size"):
        list(predict(spin, [people(3)], network=LoadedNetwork(call, (1, 64))))


def test_outputs_are_decoded_in_one_size_whatever_the_passes(
    spin: SplitEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small passes cost no more posing than large ones."""
    sizes: list[int] = []
    decode = spin.decode

    def counted(outputs: Mapping[str, np.ndarray], contexts: Sequence[object]) -> list[PoseEstimate]:
        sizes.append(len(contexts))
        assert {len(rows) for rows in outputs.values()} == {len(contexts)}
        return decode(outputs, contexts)

    monkeypatch.setattr(spin, "decode", counted)
    call = TorchEngine(EngineConfig()).load(exportable("spin", spin))
    found = [
        flat(predict(spin, [people(DECODED + 3)], network=LoadedNetwork(call, (size, size)))) for size in (2, DECODED)
    ]
    assert sizes == [DECODED] * 4
    for one, other in zip(*found, strict=True):
        assert isinstance(one, PoseEstimate) and isinstance(other, PoseEstimate)
        np.testing.assert_allclose(one.joints3d, other.joints3d, atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, None])
def test_outputs_without_a_row_for_each_sample_are_told(spin: SplitEstimator, rows: int | None) -> None:
    output = torch.tensor(1.0) if rows is None else torch.zeros(rows, 3)
    with pytest.raises(UserError, match=r"the network returned 'cam' of shape \(.*\) for 4 samples: its first axis is"):
        list(predict(spin, [people(3)], network=LoadedNetwork(lambda tensors: {"cam": output}, (4, 4))))


def test_an_estimator_in_one_piece_loses_only_the_samples_it_fails_on(spin: SplitEstimator) -> None:
    samples = people(4)

    class Whole:
        def predict(self, batch: Sequence[Sample]) -> list[PoseEstimate]:
            if any(sample.id == samples[2].id for sample in batch):
                raise RuntimeError("out of luck")
            return [result for result in flat(predict(spin, [batch])) if isinstance(result, PoseEstimate)]

    results = flat(predict(Whole(), [samples]))
    assert [isinstance(result, SampleError) for result in results] == [False, False, True, False]
    assert re.fullmatch(r"RuntimeError: out of luck \(in tests\..*Whole\.predict\)", str(results[2]))


def test_the_torch_engine_gives_the_networks_own_numbers(spin: SplitEstimator) -> None:
    module = exportable("spin", spin)
    run: NetworkCall = TorchEngine(EngineConfig()).load(module)
    outputs = run(module.example)
    assert set(outputs) == {"rotmat", "shape", "cam"}
    assert all(len(tensor) == 2 and not tensor.requires_grad for tensor in outputs.values())


@pytest.mark.slow
def test_the_compile_engine_agrees_with_the_eager_one(spin: SplitEstimator) -> None:
    module = exportable("spin", spin)
    eager = TorchEngine(EngineConfig()).load(module)(module.example)
    compiled = TorchEngine(EngineConfig(), compiled=True).load(module)(module.example)
    for name, tensor in eager.items():
        np.testing.assert_allclose(tensor, compiled[name], atol=1e-4)


def broken(estimator: SplitEstimator, **parts: object) -> SplitEstimator:
    """The estimator with other methods."""

    class Broken:
        network = estimator.network

        def preprocess(self, sample: Sample) -> object:
            return parts.get("preprocess", estimator.preprocess)(sample)  # type: ignore[operator]

        def decode(self, outputs: object, contexts: object) -> object:
            return parts.get("decode", estimator.decode)(outputs, contexts)  # type: ignore[operator]

    return Broken()  # type: ignore[return-value]


def scaled(estimator: SplitEstimator, factor: float) -> object:
    return lambda *given: [evolve(e, joints3d=e.joints3d * factor) for e in estimator.decode(*given)]


def cut(estimator: SplitEstimator) -> object:
    return lambda *given: [
        evolve(e, joints3d=e.joints3d[:17], joints2d=e.joints2d[:17], smpl=None) for e in estimator.decode(*given)
    ]


def test_what_an_estimator_returns_wrongly_is_a_sentence_that_names_the_method(spin: SplitEstimator) -> None:
    odd = iter(range(100))
    wrong: list[tuple[dict[str, object], str]] = [
        (
            {"preprocess": lambda sample: {"images": 0}},
            r"Broken\.preprocess returned a dict where a Prepared is",
        ),
        (
            {"preprocess": lambda sample: Prepared({"images": np.zeros((3, 224, 224 + next(odd)))}, None)},
            r"Broken\.preprocess made tensors of different names or shapes",
        ),
        ({"decode": lambda *_: {}}, r"Broken\.decode returned a dict where a list of PoseEstimate is needed"),
        ({"decode": lambda *_: []}, r"Broken\.decode returned 0 results for \d+ inputs"),
        ({"decode": lambda o, c: [{} for _ in c]}, r"Broken\.decode returned a dict in its list"),
        ({"decode": lambda outputs, _: outputs["joints"]}, r"Broken\.decode fails: KeyError: 'joints'"),
        ({"decode": scaled(spin, 1000)}, r"Broken\.decode returned joints that can't be in metres.*in millimetres"),
        ({"decode": scaled(spin, 100)}, r"can't be in metres.*in centimetres"),
        (
            {"decode": cut(spin)},
            r"Broken\.decode returned 17 joints, but 'smpl24' has 24: give PoseEstimate the",
        ),
    ]
    for parts, complaint in wrong:
        with pytest.raises(UserError, match=complaint):
            flat(predict(broken(spin, **parts), [people(2)]))


def test_one_estimate_that_is_no_persons_size_is_rejected_alone(spin: SplitEstimator) -> None:
    def decode(outputs: dict, contexts: list) -> list:
        found = spin.decode(outputs, contexts)
        return [evolve(found[0], joints3d=found[0].joints3d * 100), *found[1:]]

    first, *rest = flat(predict(broken(spin, decode=decode), [people(4)]))
    assert "no person's: limb bones of" in str(first) and not [r for r in rest if isinstance(r, SampleError)]
