"""Batch norms go into the convolutions before them, where nothing else hangs on either."""

import copy

import pytest
import torch
from torch import Tensor, nn

from posesyn_core.engines.folding import fold_norms


class Net(nn.Module):
    """A norm that can be folded after each kind of convolution, and three that can't."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.plain_norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.up, self.up_norm = nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False), nn.BatchNorm2d(6)
        self.shared, self.shared_norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.twice, self.one, self.other = nn.Conv2d(6, 5, 1), nn.BatchNorm2d(5), nn.BatchNorm2d(5)
        self.left, self.right, self.both = nn.Conv2d(5, 2, 1), nn.Conv2d(5, 2, 1), nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.up_norm(self.up(self.plain_norm(self.plain(images)).relu()))
        x = self.shared(x)
        x = x + self.shared_norm(x)  # what the convolution makes is used beside its norm
        x = self.one(self.twice(x)) + self.other(self.twice(-x))
        return {"y": self.both(self.left(x)) + self.both(self.right(x))}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    made = Net()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(tensor)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 2)  # type: ignore[arg-type]
    return made.eval()


def test_what_can_be_folded_is_and_nothing_changes(net: Net) -> None:
    images = torch.randn(2, 3, 8, 8)
    folded = copy.deepcopy(net)
    fold_norms(folded, {"images": images})
    left = {name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert left == {"shared_norm", "one", "other", "both"}
    with torch.inference_mode():
        torch.testing.assert_close(folded(images)["y"], net(images)["y"], rtol=1e-4, atol=1e-4)


def test_a_norm_that_is_used_again_elsewhere_stays(net: Net) -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"y": self.norm(self.norm(self.convolution(images)))}

    again = Again().eval()
    fold_norms(again, {"images": torch.randn(2, 3, 4, 4)})
    assert isinstance(again.norm, nn.BatchNorm2d)
