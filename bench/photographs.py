"""Claim: on real photographs `blazepose` finds at least 76 % (heavy 82 %) and `starter` 66 % of the limb joints.

The people are all that the readers take of coco, mpii, jhmdb and aic (2D labels), h36m and mpi_inf_3dhp (3D labels too)
in `data/images`, in the boxes of their annotations. PCK@0.2 torso: of the labelled hips, knees, ankles, shoulders,
elbows and wrists, those found within a fifth of the torso (the mean of the diagonals left shoulder - right hip and
right shoulder - left hip) of people of whom all four are labelled. The 3D errors compare the same joints about the
middle of the hips. Then the people whom the detector finds in `data/photos` are counted.

    python bench/photographs.py [--estimators blazepose starter] [--heavy pose_landmark_heavy.tflite] [--photos FOLDER]

``--starter WEIGHTS.safetensors ...`` measures fine-tuned starters, too.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.skeletons import LSP14, convert
from posesyn_core.inference.predict import predict
from posesyn_core.registry import Registry
from posesyn_core.values import PoseEstimate, Sample

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
LIMBS = slice(0, 12)
"""Of LSP's joints: ankles to hips, wrists to shoulders."""
RIGHT_HIP, LEFT_HIP, RIGHT_SHOULDER, LEFT_SHOULDER = (
    LSP14.joints.index(name) for name in ("right_hip", "left_hip", "right_shoulder", "left_shoulder")
)
SOURCES: list[tuple[str, str, dict[str, str]]] = [
    ("coco", "coco", {"annotations": "test_coco.json"}),
    ("mpii", "mpii", {"annotations": "test_mpii.json"}),
    ("jhmdb", "jhmdb", {"annotations": "test_jhmdb_sub1.json"}),
    ("aic", "coco", {"annotations": "test_aic.json"}),
    ("h36m", "human36m", {"split": "train", "annotations": "test_h36m_body3d.npz", "cameras": "cameras.pkl"}),
    *(
        (
            "mpi_inf_3dhp",
            "mpi_inf_3dhp",
            {"split": split, "annotations": f"test_3dhp_{split}.npz", "cameras": f"cameras_{split}.pkl"},
        )
        for split in ("train", "test")
    ),
]


@frozen(eq=False)
class Person:
    """One labelled person: ``points`` (12, 2) pixels, which are ``known`` (12,), and ``joints`` (12, 3) or None."""

    source: str
    sample: Sample
    points: NDArray[np.floating]
    known: NDArray[np.bool_]
    joints: NDArray[np.floating] | None

    @property
    def torso(self) -> float:
        """Its size in pixels; NaN where it is not labelled."""
        if not self.known[[RIGHT_HIP, LEFT_HIP, RIGHT_SHOULDER, LEFT_SHOULDER]].all():
            return float("nan")
        pairs = ((LEFT_SHOULDER, RIGHT_HIP), (RIGHT_SHOULDER, LEFT_HIP))
        return float(np.mean([np.linalg.norm(self.points[a] - self.points[b]) for a, b in pairs]))


def people(registry: Registry, images: Path) -> Iterator[Person]:
    for source, reader, options in SOURCES:
        made = registry.create(Kind.READER, reader, {"root": str(images / source), **options}, "photographs")
        for sample in made.samples():
            if isinstance(sample, Sample):
                points, known = convert(sample.keypoints2d, sample.confidence > 0, sample.joint_set, LSP14.name)
                joints = None
                if sample.keypoints3d is not None:
                    joints = convert(sample.keypoints3d, None, sample.joint_set, LSP14.name)[0][LIMBS]
                yield Person(source, sample, points[LIMBS], known[LIMBS], joints)


def print_table(name: str, persons: list[Person], found: list[Any]) -> None:
    """PCK per data set and of all, and the errors of those with 3D truth."""
    hits: dict[str, list[bool]] = {}
    errors = []
    for person, estimate in zip(persons, found, strict=True):
        if not isinstance(estimate, PoseEstimate):
            print(f"{name}: {person.sample.id}: {estimate}")
            continue
        points = convert(estimate.joints2d, None, estimate.joint_set, LSP14.name)[0][LIMBS]
        if np.isfinite(person.torso):
            near = np.linalg.norm(points - person.points, axis=1) < 0.2 * person.torso
            hits.setdefault(person.source, []).extend(near[person.known])
        if person.joints is not None:
            joints = convert(estimate.joints3d, None, estimate.joint_set, LSP14.name)[0][LIMBS]
            ours, truth = (x - x[[RIGHT_HIP, LEFT_HIP]].mean(0) for x in (joints, person.joints))
            aligned = align(ours, truth)
            errors.append([np.linalg.norm(x - truth, axis=1).mean() * 1000 for x in (ours, aligned)])
    every = [hit for one in hits.values() for hit in one]
    wild = [hit for source, one in hits.items() if source not in ("h36m", "mpi_inf_3dhp") for hit in one]
    cells = "".join(f"  {source} {100 * np.mean(one):.1f}" for source, one in hits.items())
    mpjpe, pa = np.mean(errors, axis=0)
    print(f"{name:<22} PCK@0.2 torso {100 * np.mean(every):.1f} (in the wild {100 * np.mean(wild):.1f}):{cells}")
    print(f"{'':<22} MPJPE {mpjpe:.0f} mm, PA-MPJPE {pa:.0f} mm on {len(errors)} people with 3D truth")


def count_people(registry: Registry, folder: Path) -> None:
    detector = registry.create(Kind.DETECTOR, "blazepose", {}, "photographs")
    counts = {
        path.name: len(detector.find_people([load_image(path)])[0].boxes) for path in sorted(folder.glob("*.jpg"))
    }
    print(f"detector: {sum(counts.values())} people in {len(counts)} photographs")
    print("  " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimators", nargs="*", default=["blazepose", "starter"])
    parser.add_argument("--heavy", help="pose_landmark_heavy.tflite, to measure it too")
    parser.add_argument("--starter", nargs="*", default=[], help="weights of fine-tuned starters, to measure them too")
    parser.add_argument("--images", type=Path, default=SHARED / "data/images")
    parser.add_argument("--photos", type=Path, default=SHARED / "data/photos")
    options = parser.parse_args()
    registry = Registry.discover()
    persons = list(people(registry, options.images))
    print(f"{len(persons)} people")
    named: dict[str, tuple[str, dict[str, str]]] = {name: (name, {}) for name in options.estimators}
    if options.heavy:
        named["blazepose (heavy)"] = ("blazepose", {"weights": options.heavy})
    named |= {f"starter ({weights})": ("starter", {"weights": weights}) for weights in options.starter}
    for title, (name, settings) in named.items():
        estimator = registry.create(Kind.ESTIMATOR, name, settings, "photographs")
        batches = [[person.sample for person in persons[at : at + 8]] for at in range(0, len(persons), 8)]
        print_table(title, persons, [one for batch in predict(estimator, batches) for one in batch])
    count_people(registry, options.photos)


if __name__ == "__main__":
    main()
