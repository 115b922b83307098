"""A run as a data set of FiftyOne's on disk, to browse: ``posesyn export-fiftyone``.

The layout is that of ``fiftyone.types.FiftyOneDataset`` as FiftyOne documents it: ``metadata.json`` and
``samples.json``, whose samples name their pictures by absolute path, so that nothing is copied but pictures that have
no file of their own; these lie in ``data/``. FiftyOne itself is not needed::

    import fiftyone
    fiftyone.Dataset.from_dir("fiftyone/", dataset_type=fiftyone.types.FiftyOneDataset)

Every scored photograph is a sample tagged ``photograph`` (and ``hard`` or ``easy``), every judged frame on disk one
tagged ``synthesised`` and ``kept`` or ``dropped``. ``people`` are the boxes, ``labels`` and ``predictions`` the
skeletons, with each person's id and error.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.files.images import read_encoded, upright_size
from posesyn_core.files.paths import atomic_path, write_atomic
from posesyn_core.geometry import skeletons
from posesyn_core.geometry.joints import known_joints
from posesyn_core.pipeline.run import FilteredFrame, Run
from posesyn_core.values import EncodedImage, FloatArray, ScoredSample

METADATA, SAMPLES, DATA = "metadata.json", "samples.json", "data"
SKELETONS = ("labels", "predictions")
"""The fields that hold skeletons."""
PHOTOGRAPHS, FRAMES, UNREADABLE = "photographs", "frames", "unreadable"
Size = tuple[int, int]
Entry = dict[str, Any]


def export_fiftyone(run: Run, folder: Path | None = None) -> dict[str, int]:
    """Write the data set into ``folder`` (default: ``fiftyone/`` in the run folder).

    Returns how many photographs and frames it has, and how many pictures can't be read and were left out.
    """
    run.require("score")
    folder = (folder or run.folder / "fiftyone").absolute()
    counts: Counter[str] = Counter()
    joint_sets: dict[str, set[str]] = {field: set() for field in SKELETONS}
    with atomic_path(folder / SAMPLES) as temporary, temporary.open("w", encoding="utf-8") as document:
        document.write('{"samples": [')
        separator = "\n"
        for kind, entry in _entries(run, folder):
            counts[kind] += 1
            if entry is not None:
                document.write(separator + json.dumps(entry))
                separator = ",\n"
                for field, found in joint_sets.items():
                    found.update(keypoint["label"] for keypoint in entry[field]["keypoints"])
        document.write("\n]}\n")
    description = f"PoseSyn run {run.recipe.name!r}: photographs with the estimator's errors, and synthesised frames"
    info = {"description": description, "skeletons": _skeletons(joint_sets)}
    metadata = {"name": run.recipe.name, "media_type": "image", "info": info}
    write_atomic(folder / METADATA, json.dumps(metadata, indent=1) + "\n")
    return {kind: counts[kind] for kind in (PHOTOGRAPHS, FRAMES, UNREADABLE)}


def _skeletons(joint_sets: Mapping[str, set[str]]) -> dict[str, Entry]:
    """The bones of the fields that hold one joint set alone, as FiftyOne draws them."""
    sets = {field: skeletons.joint_set(*found) for field, found in joint_sets.items() if len(found) == 1}
    return {
        field: {"labels": list(found.joints), "edges": [list(bone) for bone in found.bones]}
        for field, found in sets.items()
    }


def _entries(run: Run, folder: Path) -> Iterator[tuple[str, Entry | None]]:
    """What each picture is, and its sample; None for one that can't be read."""
    roles = {unit: str(role) for unit, role in run.selected.column("role")}
    for _, group in groupby(run.scored.values(), key=lambda scored: scored.sample.image):
        people = list(group)
        try:
            yield PHOTOGRAPHS, _photograph(people, roles, folder)
        except SampleError:
            yield UNREADABLE, None
    for filtered in run.frames.values():
        image = filtered.frame.image
        if isinstance(image, Path) and not image.exists():
            continue  # dropped, and not kept on disk
        try:
            yield FRAMES, _frame(filtered, folder)
        except SampleError:
            yield UNREADABLE, None


def _photograph(people: Sequence[ScoredSample], roles: Mapping[str, str], folder: Path) -> Entry:
    """A photograph with all of its scored people."""
    path, size = _picture(people[0].sample.image, folder)
    tags = ["photograph", *sorted({roles[each.sample.id] for each in people if each.sample.id in roles})]
    labels, predictions, boxes = [], [], []
    for each in people:
        sample, estimate = each.sample, each.estimate
        told = {"sample_id": sample.id, "error": _number(each.error)}
        boxes.append(_box(sample.box, size, told))
        if sample.confidence.any():
            labels.append(_keypoint(sample.keypoints2d, sample.confidence > 0, sample.joint_set, size, told))
        known = known_joints(estimate, 2)
        predictions.append(_keypoint(estimate.joints2d, known, estimate.joint_set, size, told))
    worst = _number(max(each.error for each in people))
    return _sample(path, size, tags, boxes, labels, predictions) | {"error": worst, "caption": None}


def _frame(filtered: FilteredFrame, folder: Path) -> Entry:
    """A synthesised frame with its label."""
    frame, verdict = filtered.frame, filtered.verdict
    path, size = _picture(frame.image, folder)
    told = {"sample_id": frame.id, "clip": filtered.clip, "error": _number(verdict.error)}
    label = _keypoint(frame.joints2d, frame.confidence > 0, frame.joint_set, size, told)
    tags = ["synthesised", "kept" if verdict.keep else "dropped"]
    entry = _sample(path, size, tags, [_box(frame.box, size, told)], [label], [])
    return entry | {"error": _number(verdict.error), "caption": frame.caption}


def _picture(image: EncodedImage, folder: Path) -> tuple[Path, Size]:
    """A picture's file, written if it has none, and its width and height. SampleError if it can't be read."""
    data = read_encoded(image)
    if isinstance(image, Path):
        return image.absolute(), upright_size(data)
    suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    path = folder / DATA / (hashlib.blake2b(data, digest_size=12).hexdigest() + suffix)
    if not path.exists():
        write_atomic(path, data)
    return path, upright_size(data)


def _sample(
    path: Path, size: Size, tags: Sequence[str], boxes: list[Entry], labels: list[Entry], predictions: list[Entry]
) -> Entry:
    return {
        "filepath": str(path),
        "tags": list(tags),
        "metadata": {"_cls": "ImageMetadata", "width": size[0], "height": size[1]},
        "people": {"_cls": "Detections", "detections": boxes},
        "labels": {"_cls": "Keypoints", "keypoints": labels},
        "predictions": {"_cls": "Keypoints", "keypoints": predictions},
    }


def _box(box: FloatArray, size: Size, told: Entry) -> Entry:
    """A person's box as shares of the picture: left, top, width, height."""
    x0, y0, x1, y1 = (box.reshape(2, 2) / size).ravel().tolist()
    return {"_cls": "Detection", "label": "person", "tags": [], "bounding_box": [x0, y0, x1 - x0, y1 - y0], **told}


def _keypoint(points: FloatArray, known: NDArray[np.bool_], joint_set: str, size: Size, told: Entry) -> Entry:
    """A skeleton as shares of the picture, with NaN for what is not known."""
    shown = np.where(known[:, None], points / np.array(size), np.nan)
    return {"_cls": "Keypoint", "label": joint_set, "tags": [], "points": shown.tolist(), **told}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
