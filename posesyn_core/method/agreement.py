"""Are the labelled limbs where a 2D estimator sees them? The filter ``keypoint_agreement``.

A drawn person who moves a limb otherwise than planned poisons the labels, and Eq. 6 may not see it: the estimator that
is trained can be told the label's own 2D joints, or share the fault. So another judge looks at the frame, several
times: turned so that the labelled trunk is upright (2D estimators are poor at people who lie or hang), mirrored,
tilted, and as it is. A limb counts as found if the judge sees its joint near enough to the label in one of the looks.
Joints that the label itself puts behind another part of the body don't count. 2D estimators guess where a limb that is
missing would be; a judge that also tells which pixels show the person (``KeypointAbilities.detect_with_masks``) gives
that away: as far as no look has the labelled bone on the person, it counts as distance.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import KeypointAbilities, KeypointEstimator
from posesyn_core.contracts.options import option
from posesyn_core.contracts.results import expect
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.crops import apply_affine, invert_affine, warp
from posesyn_core.geometry.skeletons import COCO17, convert, joint_set
from posesyn_core.values import FloatArray, Image, Keypoints, LabelledFrame, PoseEstimate, Sample, Verdict

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

LIMBS = tuple(at for at, name in enumerate(COCO17.joints) if name.split("_")[-1] not in ("nose", "eye", "ear"))
"""The joints of COCO that are compared: shoulders, elbows, wrists, hips, knees, ankles."""
SIDE = 320
"""Pixels of the squares that the judge is shown."""
MARGIN = 1.3
"""Their side by the longer side of the labelled joints."""
LOOKS: tuple[tuple[float | None, bool], ...] = ((0, False), (None, False), (0, True), (-20, False), (20, False))
"""Degrees by which each look tilts the labelled trunk (None: as it is in the picture), and whether it is mirrored."""
PERSON = 1.7
"""Metres: distances are shares of so tall a person, at the scale at which the camera sees this one."""
TOGETHER = 16
"""Squares that the judge looks at together."""
ALONG = np.linspace(0.3, 1.2, 19)
"""Where along a labelled bone the mask is read: not at its root, which is on the trunk, and as far as hand or heel."""
LEAST_SHOWN = 0.25
"""A bone is on the mask as surely as all of its places are but for this share of them, the least sure ones."""
UPWARDS = {
    COCO17.joints.index(f"{side}_{end}"): COCO17.joints.index(f"{side}_{root}")
    for side in ("left", "right")
    for root, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
}
"""The joints at whose bones masks are read, and the bones' roots."""
LIMIT = 0.14
"""Chosen on rendered frames with damaged limbs; what BlazePose finds and drops with it on others: bench/RESULTS.md."""
_BONES = (("hip", "knee", 0.08), ("knee", "ankle", 0.05), ("shoulder", "elbow", 0.05), ("elbow", "wrist", 0.04))
_TRUNK = 0.13
"""Radii of the parts of the body, metres; the trunk's from the middle of the hips to that of the shoulders."""


@frozen
class AgreementConfig:
    """Options of the filter ``keypoint_agreement``."""

    judge: KeypointEstimator | None = option(
        None, 'the 2D estimator that looks at the frames: "blazepose", or { name = "rtmpose", model = "..." }'
    )
    limit: float = option(
        LIMIT,
        "how far a joint may be seen from its label, as a share of a person's height at the scale of the picture",
        above=0,
        threshold="of the height",
    )
    mask: float = option(
        0.2,
        "what a limb that is not on the person's mask at all adds to its distance; 0 = masks are not asked for",
        least=0,
    )
    least_confidence: float = option(
        0.0, "joints of which the judge is less sure in a look are not seen in it", least=0, most=1
    )
    looks: int = option(
        len(LOOKS), "how often it looks: upright, as drawn, mirrored, tilted to either side", least=1, most=len(LOOKS)
    )


class KeypointAgreement:
    """Keeps a frame if every limb that its label shows is where the judge sees it. Fits ``FrameFilter``."""

    def __init__(self, config: AgreementConfig) -> None:
        """UserError without a judge."""
        if config.judge is None:
            raise UserError('the filter keypoint_agreement needs its key judge: a 2D estimator, such as "blazepose"')
        self.config, self.judge_of = config, config.judge
        self.masking = hasattr(config.judge, "detect_with_masks") and config.mask > 0

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame; its error is the distance of the limb that is farthest off, whose name it says."""
        return [self._verdict(found) for found in self.measure(frames)]

    def measure(self, frames: Sequence[LabelledFrame]) -> "list[Agreement | SampleError]":
        """How far each limb is from where the judge sees it, or why that can't be said."""
        from posesyn_core.files.images import load_image

        looked: list[tuple[Looks, list[Sample]] | SampleError] = []
        for frame in frames:
            try:
                looks = Looks.of(frame, LOOKS[: self.config.looks])
                looked.append((looks, looks.samples(frame.id, load_image(frame.image))))
            except SampleError as error:
                looked.append(error)
        samples = [sample for one in looked if not isinstance(one, SampleError) for sample in one[1]]
        batches = (samples[at : at + TOGETHER] for at in range(0, len(samples), TOGETHER))
        seen = iter([found for batch in batches for found in self._seen(batch)])
        return [
            one if isinstance(one, SampleError) else self._agreement(frame, one[0], [next(seen) for _ in one[1]])
            for frame, one in zip(frames, looked, strict=True)
        ]

    def _seen(self, batch: Sequence[Sample]) -> list[tuple[Keypoints, FloatArray | None] | None]:
        """What the judge sees of people, and their masks; None where it fails, which it does for one alone."""
        try:
            if self.masking:
                look = cast(KeypointAbilities, self.judge_of).detect_with_masks
                return list(expect(look(batch), tuple, len(batch), look))
            found = expect(self.judge_of.detect(batch), Keypoints, len(batch), self.judge_of.detect)
            return [(each, None) for each in found]
        except UserError:
            raise
        except Exception:  # a plugin's fault with one picture says nothing of the others
            return [None] if len(batch) == 1 else [found for one in batch for found in self._seen([one])]

    def _agreement(
        self, frame: LabelledFrame, looks: "Looks", seen: Sequence[tuple[Keypoints, FloatArray | None] | None]
    ) -> "Agreement | SampleError":
        points, known = labelled_limbs(frame)
        distances, confidences = np.full((2, len(seen), len(LIMBS)), np.inf)
        confidences[:] = 0
        shown = np.zeros(len(LIMBS)) if self.masking else np.ones(len(LIMBS))
        for at, found in enumerate(seen):
            if found is not None:
                where, sure = looks.back(at, found[0], self.judge_of.joint_set)
                off = np.linalg.norm(where - points, axis=-1) / person_height(frame)
                distances[at] = np.where(sure >= max(self.config.least_confidence, 1e-9), off, np.inf)
                confidences[at] = sure
                if found[1] is not None:
                    shown = np.maximum(shown, on_mask(points, known, looks.matrices[at], found[1]))
        counted = known & ~hidden(frame)
        if not counted.any():
            return SampleError("the label shows no limb that the judge could look at")
        return Agreement(distances.min(axis=0), confidences.max(axis=0), counted, shown)

    def _verdict(self, found: "Agreement | SampleError") -> Verdict:
        if isinstance(found, SampleError):
            return Verdict(False, float("nan"), str(found))
        distances = np.where(found.counted, found.distances + self.config.mask * (1 - found.shown), 0)
        lost = np.flatnonzero(distances > self.config.limit)
        error = float(distances.max())
        if not len(lost):
            return Verdict(True, error)
        worst_first = lost[distances[lost].argsort()[::-1]].tolist()
        return Verdict(False, error, f"lost: {', '.join(_told(found, at) for at in worst_first)}")


@frozen(eq=False)
class Agreement:
    """Of the 12 joints of :data:`LIMBS`: ``distances`` from the label (shares of a person's height, infinite if not
    seen), the judge's ``confidences``, which are ``counted``, and how surely each is ``shown`` on the person's mask in
    the best look (1 where no mask is told)."""

    distances: Floats
    confidences: Floats
    counted: Bools
    shown: Floats


def limb_names() -> tuple[str, ...]:
    """The joints of :data:`LIMBS` in words."""
    return tuple(COCO17.joints[at].replace("_", " ") for at in LIMBS)


def _told(found: Agreement, at: int) -> str:
    name, distance = limb_names()[at], found.distances[at]
    if not np.isfinite(distance):
        return f"{name} (not seen)"
    person = f", on the person's mask {found.shown[at]:.2f}" if found.shown[at] < 1 else ""
    return f"{name} ({distance:.2f} of the height off, confidence {found.confidences[at]:.2f}{person})"


@frozen(eq=False)
class Looks:
    """The squares (K) about a labelled person in which a judge looks: ``matrices`` (K, 2, 3) from the picture to them,
    which are ``mirrored`` (K,), and the person's ``boxes`` (K, 4) in them."""

    matrices: Floats
    mirrored: tuple[bool, ...]
    boxes: Floats

    @classmethod
    def of(cls, frame: LabelledFrame, looks: Sequence[tuple[float | None, bool]]) -> "Looks":
        """Those of a frame. SampleError for a label that knows no two joints."""
        known = (frame.confidence > 0) & np.isfinite(frame.joints2d).all(axis=-1)
        points = frame.joints2d[known].astype(np.float64)
        if len(points) < 2 or not np.ptp(points, axis=0).any():
            raise SampleError("the label knows too few joints for a judge to look at")
        trunk = _trunk_angle(frame)
        matrices, boxes = [], []
        for tilt, mirrored in looks:
            angle = 0.0 if tilt is None else np.radians(tilt) - trunk
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            turn = np.diag([-1.0 if mirrored else 1.0, 1.0]) @ turn
            turned = points @ turn.T
            low, high = turned.min(axis=0), turned.max(axis=0)
            middle, scale = (low + high) / 2, SIDE / (MARGIN * (high - low).max())
            matrices.append(np.column_stack([scale * turn, SIDE / 2 - scale * middle]))
            boxes.append(np.concatenate([scale * (low - middle), scale * (high - middle)]) + SIDE / 2)
        return cls(np.array(matrices), tuple(mirrored for _, mirrored in looks), np.array(boxes))

    def samples(self, name: str, image: Image) -> list[Sample]:
        """What the judge is given; nothing of the label but where the person is."""
        from posesyn_core.files.images import encode_bmp

        unknown = np.zeros((len(COCO17), 2), np.float32)
        return [
            Sample(f"{name}#{at}", encode_bmp(warp(image, matrix, SIDE)), box, COCO17.name, unknown, unknown[:, 0])
            for at, (matrix, box) in enumerate(zip(self.matrices, self.boxes, strict=True))
        ]

    def back(self, at: int, found: Keypoints, name: str) -> tuple[Floats, Floats]:
        """What was seen in a look, as limbs in the picture: (12, 2) pixels and confidences (12,), 0 = unknown."""
        points = apply_affine(invert_affine(self.matrices[at]), found.points)
        sure = found.confidence.astype(np.float64)
        if self.mirrored[at]:
            flip = joint_set(name).flip
            points, sure = points[flip], sure[flip]
        where, known = convert(points, np.isfinite(points).all(axis=-1), name, COCO17.name)
        confident, _ = convert(np.repeat(sure[:, None], 2, axis=1), None, name, COCO17.name)
        limbs = list(LIMBS)
        return where[limbs], np.where(known, confident[:, 0], 0)[limbs]


def on_mask(points: Floats, known: Bools, matrix: Floats, mask: FloatArray) -> Floats:
    """(12,) how surely the mask (H, W) of a look shows the labelled bones that end at the limbs ``points`` (12, 2).

    ``matrix`` (2, 3) leads from the picture to the look. Shoulders and hips, on the trunk, and bones of which a joint
    is not ``known`` have 1.
    """
    ends, roots = ([LIMBS.index(at) for at in side] for side in (UPWARDS, UPWARDS.values()))
    shares = ALONG[:, None, None]
    where = np.nan_to_num(apply_affine(matrix, points[roots] + shares * (points[ends] - points[roots])))
    limit = np.array(mask.shape[::-1]) - 1
    column, row = np.moveaxis(np.rint(where).clip(0, limit).astype(int), -1, 0)
    shown = np.ones(len(LIMBS))
    surely = np.quantile(mask[row, column], LEAST_SHOWN, axis=0)
    shown[ends] = np.where(known[ends] & known[roots], surely, 1)
    return shown


def labelled_limbs(frame: LabelledFrame) -> tuple[Floats, Bools]:
    """The labelled limbs of a frame: (12, 2) pixels, and which are known (12,)."""
    points, known = convert(frame.joints2d.astype(np.float64), frame.confidence > 0, frame.joint_set, COCO17.name)
    return points[list(LIMBS)], known[list(LIMBS)]


def person_height(frame: LabelledFrame) -> float:
    """Pixels of a person of :data:`PERSON` metres at the scale at which the frame shows this one.

    Without 3D labels, the diagonal of the labelled joints stands in for it.
    """
    known = frame.confidence > 0
    points = frame.joints2d[known].astype(np.float64)
    if frame.joints3d is None:
        return max(float(np.linalg.norm(np.ptp(points, axis=0))), 1.0)
    solid = frame.labels3d()[known]
    both = solid[:, 3] > 0
    pixels, metres = (np.sqrt(np.square(a - a.mean(axis=0)).sum()) for a in (points[both], solid[both, :2]))
    return max(float(PERSON * pixels / max(metres, 1e-6)), 1.0)


def hidden(frame: LabelledFrame) -> Bools:
    """(12,) which limbs lie behind another part of the labelled body; without 3D labels none is known to."""
    if frame.joints3d is None:
        return np.zeros(len(LIMBS), bool)
    solid = frame.labels3d().astype(np.float64)
    pixels, seen = convert(frame.joints2d.astype(np.float64), None, frame.joint_set, COCO17.name)
    metres, there = convert(solid[:, :3], solid[:, 3] > 0, frame.joint_set, COCO17.name)
    scale = person_height(frame) / PERSON
    found = np.zeros(len(COCO17), bool)
    share = np.linspace(0, 1, 9)[:, None]
    placed = np.column_stack([pixels, metres[:, 2]])  # pixels and depth
    for ends, radius in _parts():
        start, end = (placed[list(each)].mean(axis=0) for each in ends)
        if not (seen & there)[[at for e in ends for at in e]].all():
            continue
        along = start + share * (end - start)
        near = np.linalg.norm(along[:, None, :2] - pixels, axis=-1) < radius * scale
        before = along[:, None, 2] < metres[:, 2] - radius / 2
        behind = (near & before).any(axis=0)
        behind[[at for e in ends for at in e]] = False
        found |= behind & there
    return found[list(LIMBS)]


def _parts() -> list[tuple[tuple[tuple[int, ...], tuple[int, ...]], float]]:
    """The bones that can hide others: the COCO joints whose means are their ends, and their radii in metres."""
    at = COCO17.joints.index
    parts: list[tuple[tuple[tuple[int, ...], tuple[int, ...]], float]] = [
        (((at(f"{side}_{one}"),), (at(f"{side}_{two}"),)), radius)
        for one, two, radius in _BONES
        for side in ("left", "right")
    ]
    hips, shoulders = ((at(f"left_{name}"), at(f"right_{name}")) for name in ("hip", "shoulder"))
    return [*parts, ((hips, shoulders), _TRUNK)]


def _trunk_angle(frame: LabelledFrame) -> float:
    """By how much the labelled trunk is turned from upright, clockwise, radians; 0 where the label does not say."""
    points, known = convert(frame.joints2d.astype(np.float64), frame.confidence > 0, frame.joint_set, COCO17.name)
    ends = [[COCO17.joints.index(f"{side}_{name}") for side in ("left", "right")] for name in ("hip", "shoulder")]
    if not known[ends].all():
        return 0.0
    up = points[ends[1]].mean(axis=0) - points[ends[0]].mean(axis=0)
    return float(np.arctan2(up[0], -up[1]))
