"""Products by oneDNN against torch's own."""

from itertools import product

import pytest
import torch
from torch import Tensor

from posesyn_core.training import dense as module
from posesyn_core.training.dense import Linear, dense


def rows(count: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    sizes = ((count, inputs), (outputs, inputs), (outputs,))
    return tuple(torch.randn(*size, generator=draw, dtype=dtype) for size in sizes)  # type: ignore[return-value]


def test_large_products_and_their_gradients_are_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    own = module._product
    monkeypatch.setattr(module, "_product", lambda *given: (taken.append(1), own(*given))[1])
    x, weight, bias = rows(512, 256, 144)
    up = torch.randn(512, 144)
    for wanted in product((False, True), repeat=3):
        found = []
        for function in (dense, torch.nn.functional.linear):
            leaves = [
                tensor.clone().requires_grad_(want) for tensor, want in zip((x, weight, bias), wanted, strict=True)
            ]
            answer = function(*leaves)
            if any(wanted):
                answer.backward(up)
            found.append([answer, *(leaf.grad for leaf in leaves)])
        for ours, torch_s in zip(*found, strict=True):
            assert (ours is None) == (torch_s is None)
            if ours is not None:
                torch.testing.assert_close(ours, torch_s, atol=1e-4, rtol=1e-5)
    assert len(taken) == (8 + 4) * module._available()


@pytest.mark.parametrize("strange", ["a transposed weight", "transposed rows", "no bias", "an expanded gradient"])
def test_any_layout_will_do(strange: str) -> None:
    x, weight, bias = rows(512, 256, 256)
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    given = [
        x.T.contiguous().T if strange == "transposed rows" else x,
        weight.T if strange == "a transposed weight" else weight,
        None if strange == "no bias" else bias,
    ]
    gradients = []
    for function in (dense, torch.nn.functional.linear):
        answer = function(*given)  # type: ignore[arg-type]
        loss = answer.sum() if strange == "an expanded gradient" else (answer**2).mean()
        gradients.append(torch.autograd.grad(loss, leaves, retain_graph=True))
    for ours, torch_s in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, torch_s, atol=1e-3, rtol=1e-5)


def test_other_numbers_are_computed_by_torch() -> None:
    x, weight, bias = rows(512, 256, 256, torch.float64)
    torch.testing.assert_close(dense(x, weight, bias), torch.nn.functional.linear(x, weight, bias), rtol=0, atol=0)
    layer = Linear(256, 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.float()).dtype == torch.bfloat16


def test_the_largest_products_give_the_weight_its_gradient_by_onednn_too() -> None:
    x, weight, bias = rows(1100, 512, 600)
    up, found = torch.randn(1100, 600), []
    for function in (dense, torch.nn.functional.linear):
        leaf = weight.clone().requires_grad_()
        function(x, leaf, bias).backward(up)
        found.append(leaf.grad)
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-5)
