"""Torch's engines and what all engines share: precisions, batches, devices."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.batches import LEAST_PASS, MOST_PASS, LoadedNetwork, cpu_pass, load_network
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.registry import Registry


class Net(nn.Module):
    """Sums its inputs in whatever precision it has; the tail says in which one it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tail = nn.Linear(4, 8), Tail()

    def forward(self, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"out": self.tail(self.first(image) * scale[:, None]), "index": scale + 1}


class Tail(nn.Linear):
    seen: torch.dtype

    def __init__(self) -> None:
        super().__init__(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        Tail.seen = x.dtype
        return super().forward(x)


def module(*keep_fp32: str) -> ExportableModule:
    torch.manual_seed(0)
    return ExportableModule("net", Net(), {"image": torch.randn(2, 4), "scale": torch.tensor([2, 3])}, keep_fp32)


@given(count=st.integers(0, 40), least=st.integers(1, 9), more=st.integers(0, 9))
def test_passes_hold_every_item_once_and_have_sizes_in_the_range(count: int, least: int, more: int) -> None:
    most = least + more
    passes = list(LoadedNetwork(lambda tensors: tensors, (least, most)).passes(range(count)))
    assert [item for items, used in passes for item in items[:used]] == list(range(count))
    assert all(least <= len(items) <= most for items, _ in passes)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_a_network_for_few_batch_sizes_takes_any(size: int) -> None:
    run = LoadedNetwork(TorchEngine(EngineConfig(batch=(2, 4))).load(module()), (2, 4))
    inputs = {"image": torch.randn(size, 4), "scale": torch.arange(size)}
    with torch.inference_mode():
        expected = module().module(**inputs)
    found = run(inputs)
    torch.testing.assert_close(found["out"], expected["out"])
    assert torch.equal(found["index"], expected["index"])


def test_on_a_cpu_all_passes_have_one_size_within_the_range() -> None:
    for batch, size in (((1, 64), MOST_PASS), ((1, 3), 3), ((40, 64), 40)):
        assert load_network(TorchEngine(EngineConfig(batch=batch)), module()).batch == (size, size)


@given(shape=st.lists(st.integers(1, 300), max_size=3), examples=st.integers(1, 3))
def test_a_pass_is_smaller_the_larger_a_networks_inputs_are(shape: list[int], examples: int) -> None:
    def size(*inputs: list[int]) -> int:
        tensors = {str(at): torch.empty(examples, *each, device="meta") for at, each in enumerate(inputs)}
        return cpu_pass(ExportableModule("net", Net(), tensors))

    assert size(shape) in (4, 8, 16, 32)
    assert size(shape, [3, 16, 16]) <= size(shape) <= size(shape[:2])
    if torch.Size(shape).numel() <= 2**12:
        assert size(shape) == MOST_PASS
    if torch.Size(shape).numel() > 2**15:
        assert size(shape) == LEAST_PASS


@pytest.mark.parametrize(
    ("side", "size"), [(448, 4), (224, 4), (96, 8), (64, 16), (8, 32)], ids="{}".format
)  # published networks' crops, and those of small ones
def test_passes_of_pictures(side: int, size: int) -> None:
    assert cpu_pass(ExportableModule("net", Net(), {"images": torch.empty(2, 3, side, side, device="meta")})) == size


@pytest.mark.parametrize("size", [1, 5])
def test_a_batch_outside_the_range_is_the_users_mistake(size: int) -> None:
    run = TorchEngine(EngineConfig(batch=(2, 4))).load(module())
    with pytest.raises(
        UserError, match=rf"'net' .* 2 to 4 .* got {size}; .* batch = \[{min(size, 2)}, {max(size, 4)}\]"
    ):
        run({"image": torch.zeros(size, 4), "scale": torch.ones(size)})


def test_a_range_that_is_none_is_named() -> None:
    for batch in ([4, 2], [0, 2]):
        with pytest.raises(UserError, match="'batch' must be"):
            Registry.discover().create(Kind.ENGINE, "compile", {"batch": batch}, "recipe section [estimator.engine]")
    with pytest.raises(UserError, match=r"section \[estimator.engine\].*'precision' must be one of"):
        Registry.discover().check(Kind.ENGINE, "torch", {"precision": "int4"}, "recipe section [estimator.engine]")


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_half_precision_computes_in_half_but_for_the_parts_that_need_more(precision: str, dtype: torch.dtype) -> None:
    given = module().example
    expected = TorchEngine(EngineConfig()).load(module())(given)
    seen = []
    for keep in ((), ("tail",)):
        original = module(*keep)
        found = TorchEngine(EngineConfig(precision=precision)).load(original)(given)  # type: ignore[arg-type]
        seen.append(Tail.seen)
        assert found["out"].dtype == torch.float32 and found["index"].dtype == torch.int64
        np.testing.assert_allclose(found["out"], expected["out"], atol=0.05)
        assert not torch.equal(found["out"], expected["out"])
        assert {weight.dtype for weight in original.module.parameters()} == {torch.float32}
    assert seen == [dtype, torch.float32]


def test_an_input_may_keep_its_digits() -> None:
    class Double(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": 2 * image}

    image = torch.tensor([[1 + 2**-20]])
    for kept, expected in (((), 2.0), (("image",), float(2 * image))):
        run = TorchEngine(EngineConfig(precision="bf16")).load(
            ExportableModule("double", Double(), {"image": image}, kept)
        )
        assert run({"image": image})["out"].item() == expected


def test_a_part_that_the_network_lacks_is_named() -> None:
    with pytest.raises(UserError, match="'net' has no part 'head'"):
        TorchEngine(EngineConfig(precision="fp16")).load(module("head"))


def test_a_device_that_is_not_there_is_named() -> None:
    for device in ("meteor", "cuda:99"):
        with pytest.raises(UserError, match=f"device '{device}' can't be used"):
            TorchEngine(EngineConfig(device=device)).load(module())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "compile"])
def test_a_gpu_gives_what_the_cpu_gives_and_leaves_the_network_where_it_was(name: str) -> None:
    original = module()
    expected = TorchEngine(EngineConfig()).load(original)(original.example)
    run: NetworkCall = Registry.discover().create(Kind.ENGINE, name, {"device": "cuda"}, "test").load(original)
    first = run({key: tensor.cuda() for key, tensor in original.example.items()})
    run({key: tensor.cuda() * 0 for key, tensor in original.example.items()})
    assert first["out"].device.type == "cuda"  # and not overwritten by the second call
    torch.testing.assert_close(first["out"].cpu(), expected["out"], rtol=1e-3, atol=1e-3)
    assert run(original.example)["out"].device.type == "cpu"
    assert next(original.module.parameters()).device.type == "cpu"
