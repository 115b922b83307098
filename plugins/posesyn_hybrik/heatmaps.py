"""3D heatmaps -> joints in the crop: a softmax over all bins of a joint, and the expectation of the bin (soft-argmax).

Heatmaps are (B, 29, D, H, W) logits. A joint's place is (u, v, d): u to the right and v down as shares of the crop's
side from its centre, d away from the camera from the pelvis, in units of ``DEPTH_EXTENT`` metres. Bin i of n lies at
i / n - 0.5.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from posesyn_hybrik.skeleton import FLIP, TWIST_FLIP

DEPTH_EXTENT = 2.2
"""Metres that the heatmap spans in depth (the official BBOX_3D_SHAPE)."""


class SoftArgmax(nn.Module):
    """Logits to ``uvd`` (B, 29, 3) and ``maxvals`` (B, 29, 1), the likeliest bin's probability.

    A quarter of a million bins take part in each sum: keep it in float32.
    """

    flip: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flip", torch.tensor(FLIP), persistent=False)

    def forward(self, logits: Tensor, mirrored: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """With the logits of the ``mirrored`` image, the mean of both distributions counts (the official flip test)."""
        probabilities = torch.softmax(_single(logits).flatten(2), dim=2)
        if mirrored is not None:
            back = self.mirror_back(mirrored)
            probabilities = (probabilities + torch.softmax(_single(back).flatten(2), dim=2)) / 2
        return expectation(probabilities.view_as(logits)), probabilities.amax(2, keepdim=True)

    def mirror_back(self, logits: Tensor) -> Tensor:
        """The heatmaps of a mirrored image as those of the image: mirrored, sides swapped, moved right by one bin.

        The official code moves in place, so that on the CPU its results are corrupted; this is what it means to do.
        """
        back = logits.flip(-1).index_select(1, self.flip)
        return torch.cat([back[..., :1], back[..., :-1]], dim=-1)


def _single(values: Tensor) -> Tensor:
    """Halves as float32; others as they are."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def marginals(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, J, D, H, W) -> the distributions over u (B, J, W), v (B, J, H) and d (B, J, D)."""
    upright = probabilities.sum(4)
    return probabilities.sum((2, 3)), upright.sum(2), upright.sum(3)


def expectation(probabilities: Tensor) -> Tensor:
    """(B, J, D, H, W) -> (B, J, 3): the mean of u, v, d."""
    return torch.stack([_mean(along) for along in marginals(probabilities)], dim=-1)


def _mean(probabilities: Tensor) -> Tensor:
    """(..., N) -> (...,): the mean place of N bins."""
    count = probabilities.shape[-1]
    bins = torch.arange(count, dtype=probabilities.dtype, device=probabilities.device)
    return (probabilities * bins).sum(-1) / count - 0.5  # not @, which autocast would halve


def mirrored_twist(twist: Tensor) -> Tensor:
    """The twists (B, 23, 2) = (cos, sin) of a mirrored body: sides swapped, turning the other way."""
    cosine, sine = twist.unbind(-1)
    return torch.stack([cosine, -sine], dim=-1)[:, TWIST_FLIP.tolist()]


def averaged_heads(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``here`` with the mean of betas, twists and uncertainties of the crop and of its mirror image, ``there``."""
    return {
        **here,
        "shape": (here["shape"] + there["shape"]) / 2,
        "phi": (here["phi"] + mirrored_twist(there["phi"])) / 2,
        "sigma": (here["sigma"] + there["sigma"][:, FLIP.tolist()]) / 2,
    }
