"""Does an animator draw what was planned? Measured on a run's frames by a 2D estimator: ``posesyn fidelity``.

The judge looks once at every frame that is on disk, turned so that the labelled trunk is upright
(:mod:`posesyn_core.method.agreement`). Its own error is in the figures, the same for all animators.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import KeypointEstimator, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import load_image
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.crops import crop, crop_matrix, warp
from posesyn_core.method.agreement import (
    AgreementConfig,
    KeypointAgreement,
    labelled_limbs,
    limb_names,
    person_height,
)
from posesyn_core.method.eem import CROP
from posesyn_core.pipeline.filter import labelled_frames
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.values import EncodedImage, Image, LabelledFrame

FOLDER = "fidelity"
LOST = 0.1
"""Of a person's height: limbs that are seen further from their label are lost."""
TOGETHER = 8
"""Frames that are in memory at once."""
Floats = NDArray[np.float64]


@frozen
class Part:
    """A body part, both sides together: how many were looked at, the median and the mean distance of those that were
    seen from their labels (pixels of a 256 crop), and the share that was lost."""

    name: str
    count: int
    median: float
    mean: float
    lost: float


@frozen
class Fidelity:
    """A run's figures; ``identity`` is how far the person's colours are from those of the clip's first frame (CIE Lab
    distance, mean over parts), ``sharpness`` that of the person against the reference photograph's (1 = as sharp)."""

    run: str
    animator: str
    judge: str
    frames: int
    limit: float
    parts: tuple[Part, ...]
    identity: float
    sharpness: float


def measure(run: Run, judge: str | Choice, *, every: int = 1, limit: float = LOST) -> Fidelity:
    """Look at every ``every``-th frame on disk and keep the figures in the run's folder.

    UserError for a run without frames on disk and a judge that is not a 2D estimator.
    """
    run.require("animate")
    chosen = Choice(judge) if isinstance(judge, str) else judge
    estimator: KeypointEstimator = run.create(Kind.KEYPOINTS, chosen, "judge")
    looker = KeypointAgreement(AgreementConfig(judge=estimator, limit=limit, looks=1, mask=0))
    distances, counted, lost, drifts, sharps = [], [], [], [], []
    for clip in run.clips.values():
        there = [f for f, drawn in zip(labelled_frames(clip), clip.frames, strict=True) if drawn.on_disk][::every]
        first: Floats | None = None
        base = _reference_sharpness(clip.plan.reference.image, clip.plan.reference.box)
        for at in range(0, len(there), TOGETHER):
            group = there[at : at + TOGETHER]
            for frame, found in zip(group, looker.measure(group), strict=True):
                if isinstance(found, SampleError):
                    continue
                distances.append(found.distances * person_height(frame) * _crop_scale(frame))
                counted.append(found.counted)
                lost.append(found.counted & ~(found.distances <= limit))
                image = load_image(frame.image)
                colours = _colours(image, frame)
                first = colours if first is None else first
                drifts.append(_drift(first, colours))
                sharps.append(_sharpness(image, frame.box) / base)
    if not distances:
        raise UserError(f"no frame of {str(run.folder)!r} is on disk and can be looked at")
    parts = tuple(_parts(np.array(distances), np.array(counted), np.array(lost)))
    found_all = Fidelity(
        run.folder.name, run.recipe.animator.name, chosen.label, len(distances), limit, parts,
        float(np.nanmean(drifts)) if np.isfinite(drifts).any() else float("nan"), float(np.median(sharps)),
    )  # fmt: skip
    write_atomic(run.folder / FOLDER / f"{chosen.label}.json", json.dumps(attrs.asdict(found_all), indent=1) + "\n")
    return found_all


def measured(run: Run) -> list[Fidelity]:
    """What was measured of a run, by judge."""
    return [_read(path) for path in sorted((run.folder / FOLDER).glob("*.json"))]


def _read(path: Path) -> Fidelity:
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Fidelity(**{**plain, "parts": tuple(Part(**part) for part in plain["parts"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{str(path)!r} is damaged: delete it and measure again") from error


def _parts(distances: Floats, counted: NDArray[np.bool_], lost: NDArray[np.bool_]) -> Iterator[Part]:
    """Figures (N, 12) of limbs, both sides of each together, and of all."""
    names = [name.split(" ", 1)[1] + "s" for name in limb_names()]
    groups = {name: [at for at, other in enumerate(names) if other == name] for name in names}
    for name, columns in {**groups, "all": list(range(len(names)))}.items():
        looked = counted[:, columns]
        seen = distances[:, columns][looked & np.isfinite(distances[:, columns])]
        share = float(lost[:, columns][looked].mean()) if looked.any() else float("nan")
        middle, mean = (float(np.median(seen)), float(seen.mean())) if len(seen) else (float("nan"), float("nan"))
        yield Part(name, int(looked.sum()), middle, mean, share)


def _crop_scale(frame: LabelledFrame) -> float:
    """Pixels of the person's 256 crop for one of the picture."""
    return float(crop_matrix(frame.box, CROP)[0, 0])


def _colours(image: Image, frame: LabelledFrame) -> Floats:
    """(5, 3) CIE Lab colours in the middles of trunk, thighs and upper arms; NaN where the label has them outside."""
    points, known = labelled_limbs(frame)
    at = limb_names().index
    bones = (("hip", "knee"), ("shoulder", "elbow"))
    ends = [(f"{side} {one}", f"{side} {two}") for one, two in bones for side in ("left", "right")]
    ends.append(("left shoulder", "right hip"))
    radius = max(round(0.015 * person_height(frame)), 1)
    lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
    found = np.full((len(ends), 3), np.nan)
    for number, (one, two) in enumerate(ends):
        x, y = np.round((points[at(one)] + points[at(two)]) / 2).astype(int)
        patch = lab[max(y - radius, 0) : max(y + radius + 1, 0), max(x - radius, 0) : max(x + radius + 1, 0)]
        if known[[at(one), at(two)]].all() and patch.size:
            found[number] = patch.reshape(-1, 3).mean(axis=0)
    return found


def _drift(first: Floats, now: Floats) -> float:
    apart = np.linalg.norm(now - first, axis=1)
    return float(np.nanmean(apart)) if np.isfinite(apart).any() else float("nan")


def _sharpness(image: Image, box: NDArray[np.floating]) -> float:
    """The spread of the Laplacian in the 256 crop about a person, as far as it lies in the picture, grey levels."""
    square, matrix = crop(image, box, CROP)
    inside = warp(np.full_like(image, 255), matrix, CROP)[..., 0] == 255
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
    edges = cv2.Laplacian(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), cv2.CV_64F)[inside]
    return float(edges.std()) if edges.size else 0.0


def _reference_sharpness(image: EncodedImage, box: NDArray[np.floating]) -> float:
    return max(_sharpness(load_image(image), box), 1e-6)
