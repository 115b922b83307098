"""Soft-argmax and its flip test."""

import numpy as np
import pytest
import torch

from posesyn_hybrik.heatmaps import SoftArgmax, mirrored_twist
from posesyn_hybrik.skeleton import FLIP, JOINTS

SIZE = 16


def peaks(places: np.ndarray) -> torch.Tensor:
    """Heatmaps (1, 29, D, H, W) that are sure of the bins (29, 3) = x, y, z."""
    logits = torch.full((1, JOINTS, SIZE, SIZE, SIZE), -100.0)
    x, y, z = places.T
    logits[0, np.arange(JOINTS), z, y, x] = 100.0
    return logits


def test_a_peak_is_where_its_bin_is() -> None:
    places = np.random.default_rng(0).integers(0, SIZE, (JOINTS, 3))
    uvd, maxvals = SoftArgmax()(peaks(places))
    np.testing.assert_allclose(uvd[0], places / SIZE - 0.5, atol=1e-6)
    np.testing.assert_allclose(maxvals, 1)


def test_between_two_bins_is_their_mean() -> None:
    logits = peaks(np.full((JOINTS, 3), 4))
    logits[0, :, 4, 4, 6] = 100.0
    uvd, maxvals = SoftArgmax()(logits)
    np.testing.assert_allclose(uvd[0], np.tile([5 / SIZE - 0.5, 4 / SIZE - 0.5, 4 / SIZE - 0.5], (JOINTS, 1)))
    np.testing.assert_allclose(maxvals, 0.5)


def test_the_mirrored_picture_tells_the_same() -> None:
    """A bin at x is at N - x in the mirror: pixel centres lie at bin * 4, and the crop's middle at N / 2.

    Bin 0 has no place there, and bin 1 stands in for it.
    """
    places = np.random.default_rng(1).integers(2, SIZE, (JOINTS, 3))
    mirrored = places[FLIP] * [-1, 1, 1] + [SIZE, 0, 0]
    soft_argmax = SoftArgmax()
    alone, _ = soft_argmax(peaks(places))
    both, _ = soft_argmax(peaks(places), peaks(mirrored))
    torch.testing.assert_close(alone, both)


@pytest.mark.parametrize("angle", [0.3, -2.0])
def test_twists_turn_the_other_way_in_a_mirror(angle: float) -> None:
    twist = torch.tensor([np.cos(angle), np.sin(angle)]).expand(1, 23, 2)
    torch.testing.assert_close(mirrored_twist(twist), twist * torch.tensor([1, -1]))
    one = torch.zeros(1, 23, 2)
    one[0, 17] = 1  # the left elbow's, which is joint 18
    assert mirrored_twist(one)[0, 18].abs().sum() == 2
