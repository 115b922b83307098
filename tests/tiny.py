"""Small real data for tests: a few rendered people in a folder with a keypoint file."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from posesyn_core import Sample
from posesyn_spin.weights import load_network, save_network
from posesyn_starter.config import WorldConfig
from posesyn_starter.world import WorldReader


@cache
def people(count: int, part: str = "wild", folder: str = "") -> tuple[Sample, ...]:
    """Rendered people with full truth, drawn once for the whole test session."""
    config = WorldConfig(part=part, split="tests", count=count, labels="3d", image_size=128, folder=folder, workers=1)
    return tuple(sample for sample in WorldReader(config).samples() if isinstance(sample, Sample))


def small_spin(folder: Path) -> Path:
    """Write the weights of a small untrained SPIN, always the same: a network of milliseconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, setting = load_network("random")
    save_network(network, setting, folder / "spin.safetensors")
    return folder / "spin.safetensors"


def folder_data_set(root: Path, people: int = 4, part: str = "wild") -> Path:
    """Write ``people`` pictures with labels in the layout of the reader ``folder``; return a recipe that mines it."""
    samples = globals()["people"](people, part)
    (root / "images").mkdir(parents=True, exist_ok=True)
    entries = []
    for number, sample in enumerate(samples):
        assert isinstance(sample.image, Path)
        (root / "images" / f"{number}.jpg").write_bytes(sample.image.read_bytes())
        keypoints = np.column_stack([sample.keypoints2d, sample.confidence]).tolist()
        entries.append({"image": f"images/{number}.jpg", "box": sample.box.tolist(), "keypoints": keypoints})
    (root / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": entries}))
    recipe = root / "recipe.toml"
    recipe.write_text(
        f'dataset = {{ name = "folder", root = "{root}" }}\n'
        "[score]\nhard = 2\neasy = 2\n[synthesize]\nmax_frames = 48\n[animate]\nframe_stride = 8\n"
    )
    return recipe
