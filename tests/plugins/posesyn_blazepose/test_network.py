"""The landmark networks by themselves; ``tests/parity`` compares them with the published ones."""

import copy

import torch

from posesyn_blazepose.network import CELLS, LANDMARKS, REACH, SIZE, joined, refined
from posesyn_blazepose.weights import load_landmarks


def test_a_joined_network_says_the_same() -> None:
    network = load_landmarks("lite")
    crops = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = network(crops), joined(copy.deepcopy(network))(crops)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-3)


def test_landmarks_move_to_the_centre_of_what_their_heatmap_shows_about_them() -> None:
    """Where it is sure, and by nothing that lies further away."""
    random = torch.Generator().manual_seed(0)
    cells = torch.randint(CELLS, (2, LANDMARKS, 5), generator=random)
    landmarks = (cells + 0.5) * (SIZE / CELLS)  # in the middle of one: the window's edges are a step wide
    heatmaps = torch.randn(2, LANDMARKS, CELLS, CELLS, generator=random) * 2 - 4
    found = refined(landmarks, heatmaps)
    moved = 0
    for person, landmark in torch.cartesian_prod(torch.arange(2), torch.arange(LANDMARKS)).tolist():
        column, row = cells[person, landmark, :2].tolist()
        across, down = (slice(max(at - REACH, 0), at + REACH + 1) for at in (column, row))
        shown = heatmaps[person, landmark, down, across].sigmoid()
        places = torch.meshgrid(*(torch.arange(CELLS)[part] for part in (down, across)), indexing="ij")
        centre = torch.stack([(shown * place).sum() / shown.sum() * SIZE / CELLS for place in reversed(places)])
        sure = bool(shown.max() > 0.52)
        if abs(float(shown.max()) - 0.5) > 0.02:
            expected = centre if sure else landmarks[person, landmark, :2]
            torch.testing.assert_close(found[person, landmark, :2], expected, rtol=0, atol=1e-3)
            moved += sure
    assert moved > LANDMARKS
    torch.testing.assert_close(found[..., 2:], landmarks[..., 2:])
