"""A training of seconds: eight people, a small untrained SPIN, small networks."""

from pathlib import Path
from typing import Any

from posesyn_core.components import Kind
from posesyn_core.registry import Registry
from posesyn_posegen.generator import PoseGenMotions

WORLD = {"name": "world", "part": "wild", "split": "tests", "count": 16, "image_size": 128, "labels": "3d"}
SMALL = {
    "weights": "train",
    "real": WORLD,
    "animator": {"name": "reprojection", "resolution": 64},
    "epochs": 3,
    "batch_size": 8,
    "feedback_from": 2,
    "feedback_every": 1,
    "feedback_poses": 4,
    "channels": 16,
    "middle": 16,
    "people": 3,
}


def made(**options: Any) -> PoseGenMotions:
    """The component of those options, over the small ones."""
    generator: PoseGenMotions = Registry.discover().create(Kind.MOTION, "posegen", {**SMALL, **options}, "motion")
    return generator


def spin(weights: Path) -> dict[str, Any]:
    """The estimator of those weights, by name."""
    return {"name": "spin", "weights": str(weights)}
