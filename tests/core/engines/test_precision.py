"""A network in half precision: what is halved, what is kept in float32, and where the borders between them lie."""

import pytest
import torch
from torch import Tensor, nn

from posesyn_core import UserError
from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.precision import in_precision

HALVES = pytest.mark.parametrize("precision", ["fp16", "bf16"])
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Net(nn.Module):
    """A halved part, a fine one with a number beside it, and a halved one again; and an input that is added."""

    start: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.rough, self.fine, self.after = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.register_buffer("start", torch.full((8,), 0.9))

    def forward(self, x: Tensor, place: Tensor) -> dict[str, Tensor]:
        fine = self.start + self.fine(self.rough(x))
        return {"fine": fine, "after": self.after(fine), "place": place + 0}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def module(net: Net, *kept: str) -> ExportableModule:
    return ExportableModule("net", net, {"x": torch.randn(2, 4), "place": torch.rand(2, 3)}, kept)


@HALVES
def test_what_leaves_a_part_in_float32_stays_so_until_a_halved_part_takes_it(net: Net, precision: str) -> None:
    dtype, given = DTYPES[precision], module(net).example
    found = in_precision(module(net, "fine", "start"), precision)(**given)
    with torch.inference_mode():
        rough = nn.functional.linear(given["x"].to(dtype), net.rough.weight.to(dtype), net.rough.bias.to(dtype))
        fine = net.start + net.fine(rough.float())
        after = nn.functional.linear(fine.to(dtype), net.after.weight.to(dtype), net.after.bias.to(dtype))
    assert torch.equal(found["fine"], fine)
    assert torch.equal(found["after"], after.float())
    assert torch.equal(found["place"], given["place"].to(dtype).float())


@HALVES
def test_an_input_a_buffer_and_a_part_are_kept_by_name(net: Net, precision: str) -> None:
    given = module(net).example
    halved = in_precision(module(net), precision)(**given)
    kept = in_precision(module(net, "place", "start", "rough", "fine", "after"), precision)(**given)
    with torch.inference_mode():
        exact = net(**given)
    for name in exact:
        assert not torch.equal(halved[name], exact[name])
        torch.testing.assert_close(kept[name], net(**given)[name], rtol=DTYPES_EPS[precision], atol=1e-3)
    assert torch.equal(kept["place"], given["place"])
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


DTYPES_EPS = {"fp16": 2**-9, "bf16": 2**-6}  # x itself is halved


def test_what_the_network_lacks_is_named(net: Net) -> None:
    for name in ("head", "fine.head", "starts"):
        with pytest.raises(UserError, match=f"'net' has no part '{name}'"):
            in_precision(module(net, name), "bf16")
