"""Claim: the shipped motion weights are better than the ones before them.

Measured on motions that no training has seen, for each of the given weight files: the reconstruction error of the
VQ-VAE, how much of its codebook is used, and how varied the generated motions are. Variety is the mean distance of the
joints (relative to the pelvis, in the heading of the first frame) over the first 40 frames of two motions: of two seeds
for the same pose and text, and of different poses and texts; the latter should come near that of the real motions.

    python bench/motion_weights.py MOTIONS.npz starter [OTHER.safetensors ...] [--seeds 4]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from posesyn_core.values import MotionRequest
from posesyn_t2mgpt.augmentation import beginnings
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.generator import T2MGpt
from posesyn_t2mgpt.motions import MotionSet, load_motions
from posesyn_t2mgpt.representation import canonical_joints
from posesyn_t2mgpt.train_vq import reconstruction
from posesyn_t2mgpt.weights import load_weights

FRAMES = 40


def requests(motions: MotionSet, seeds: int) -> list[MotionRequest]:
    """``seeds`` requests per motion: its middle frame as the pose, its first text."""
    middles = motions.joints[motions.starts + motions.lengths // 2].numpy()
    return [
        MotionRequest(f"{number}#{seed}", str(number), texts[0], seed, middle, min_frames=FRAMES)
        for number, (middle, texts) in enumerate(zip(middles, motions.texts, strict=True))
        for seed in range(seeds)
    ]


def variety(joints: np.ndarray) -> float:
    """Mean distance in mm between all pairs of motions (N, FRAMES, 22, 3)."""
    relative = joints - joints[:, :, :1]
    first, second = np.triu_indices(len(joints), 1)
    return 1000 * float(
        np.mean([np.linalg.norm(relative[i] - relative[j], axis=-1).mean() for i, j in zip(first, second, strict=True)])
    )


def generated(weights: str, motions: MotionSet, seeds: int) -> np.ndarray:
    """Motions (n, seeds, FRAMES, 22, 3) of the generator."""
    made = T2MGpt(T2MGptConfig(weights=weights)).generate(requests(motions, seeds))
    return np.stack([motion.joints[:FRAMES] for motion in made]).reshape(len(motions), seeds, FRAMES, 22, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motions", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    motions = load_motions(options.motions)
    real = canonical_joints(beginnings(motions, torch.arange(len(motions)), FRAMES))
    print(f"real motions: {variety(real.numpy()):.0f} mm between different ones")
    for name in options.weights:
        weights = load_weights(name)
        measures = reconstruction(weights.vqvae(), weights.statistics(), motions)
        made = generated(name, motions, options.seeds)
        same = np.mean([variety(group) for group in made])
        print(f"{name}: " + ", ".join(f"{key} {value:.1f}" for key, value in measures.items()))
        print(f"  variety: {same:.0f} mm between seeds, {variety(made[:, 0]):.0f} mm between different poses and texts")


if __name__ == "__main__":
    main()
