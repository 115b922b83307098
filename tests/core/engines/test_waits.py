"""What counts as waiting for a device."""

import pytest
import torch

from posesyn_core.engines.waits import Waits

TENSOR = torch.arange(4.0)


@pytest.mark.parametrize(
    ("waits", "call"),
    [
        (1, lambda: TENSOR[0].item()),
        (1, lambda: float(TENSOR[0])),
        (1, lambda: bool((TENSOR > 1).any())),
        (1, lambda: TENSOR.cpu()),
        (1, lambda: TENSOR.tolist()),
        (1, lambda: TENSOR[TENSOR > 1]),
        (1, lambda: TENSOR.nonzero()),
        (1, lambda: torch.equal(TENSOR, TENSOR)),
        (1, lambda: TENSOR.clone().__setitem__(TENSOR > 1, 0)),
        (0, lambda: torch.where(TENSOR > 1, TENSOR, 0).sum()),
        (0, lambda: TENSOR[1:]),
        (0, lambda: TENSOR[torch.tensor([1, 2])]),
        (0, lambda: torch.stack([TENSOR, TENSOR]).mean()),
    ],
)
def test_calls_that_take_numbers_out_are_counted(waits: int, call: object) -> None:
    with Waits() as counted:
        call()  # type: ignore[operator]
    assert counted.calls.total() == waits
