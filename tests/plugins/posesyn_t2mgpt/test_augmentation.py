"""Pieces of motion as training draws them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_t2mgpt.augmentation import cut, disturb, mirror, mirror_text
from posesyn_t2mgpt.motions import load_motions
from posesyn_t2mgpt.representation import PARENTS, features_from_joints


def test_cut(motions_file: Path) -> None:
    """Hold, then play from there at its speed, and hold the end."""
    motions = load_motions(motions_file)
    which, first = torch.tensor([1, 2]), torch.tensor([15.0, 4.0])
    speed, hold = torch.tensor([2.0, 0.5]), torch.tensor([3, 0])
    piece = cut(motions, which, first, speed, hold, frames=9)
    one = motions.joints[60:81]
    torch.testing.assert_close(piece[0], one[[15, 15, 15, 15, 17, 19, 20, 20, 20]])
    other = motions.joints[81:121]
    torch.testing.assert_close(piece[1, ::2], other[4:9])
    torch.testing.assert_close(piece[1, 1], (other[4] + other[5]) / 2)


def test_mirroring(motion: Callable[..., np.ndarray]) -> None:
    joints = torch.from_numpy(np.stack([motion(0, 10), motion(1, 10)]))
    mirrored = mirror(joints, torch.tensor([True, False]))
    assert torch.equal(mirrored[1], joints[1])
    assert torch.equal(mirror(mirrored, torch.tensor([True, False])), joints)
    torch.testing.assert_close(mirrored[0, :, 20], joints[0, :, 21] * torch.tensor([-1.0, 1, 1]))
    turn, mirrored_turn = (features_from_joints(side)[0, 1:, 0] for side in (joints, mirrored))
    torch.testing.assert_close(mirrored_turn, -turn, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Left hand up, the right foot upright.", "Right hand up, the left foot upright."),
        ("raises the LEFT arm, then the RIGHT", "raises the RIGHT arm, then the LEFT"),
        ("a left-handed throw by a righthanded man", "a right-handed throw by a lefthanded man"),
        ("steps leftward, then rightwards, to the leftmost", "steps rightward, then leftwards, to the rightmost"),
        ("turns clockwise", "turns counterclockwise"),
        ("Clockwise, CLOCKWISE; clock-wise", "Counterclockwise, COUNTERCLOCKWISE; clock-wise"),
        ("anti-clockwise, counter clockwise, Counterclockwise", "clockwise, clockwise, Clockwise"),
        ("spins cw and CCW", "spins ccw and CW"),
        (
            "at a right angle, right away, all right, right side up",
            "at a right angle, right away, all right, right side up",
        ),
        ("upright, bright, rightly, leftover, cleft", "upright, bright, rightly, leftover, cleft"),
        ("left/right/left", "right/left/right"),
        ("the man's left-hand side's LeFt", "the man's right-hand side's Right"),
        ("a lefty with his left's strength", "a righty with his right's strength"),
        ("", ""),
    ],
)
def test_mirroring_words(text: str, mirrored: str) -> None:
    assert mirror_text(text) == mirrored
    assert mirror_text(mirror_text(mirror_text(text))) == mirrored


def test_disturbing_turns_limbs_and_keeps_bones(motion: Callable[..., np.ndarray]) -> None:
    joints = torch.from_numpy(np.stack([motion(k, 5) for k in range(200)]))
    disturbed = disturb(joints, torch.full((200,), 20.0), np.random.default_rng(0))
    before, after = (x - x[:, :, list(PARENTS)] for x in (joints, disturbed))
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1), atol=1e-5, rtol=0)
    cosine = (torch.nn.functional.normalize(before, dim=-1) * torch.nn.functional.normalize(after, dim=-1)).sum(-1)
    degrees = torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
    spine = [3, 6, 9, 12, 13, 14, 15, 16, 17]
    assert degrees[:, :, spine].max() < 0.1
    assert 5 < degrees[:, :, 4].mean() < 20
    assert degrees[:, :, 7].mean() > degrees[:, :, 4].mean()  # the shin is carried by the thigh
