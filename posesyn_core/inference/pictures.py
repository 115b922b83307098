"""An estimator on pictures of one's own: the quickest way to see that a checkpoint works.

For every picture: ``<name>.overlay.jpg`` with the projected skeletons and people's numbers, and beside it the bodies;
``<name>.json`` with all figures (:func:`description`); and on demand a file per person, ``<name>.<person>.obj``,
``.glb``, ``.bvh`` or ``.npz``.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from attrs import Factory, evolve, frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.body.completion import complete_all
from posesyn_core.body.formats.movement import from_camera
from posesyn_core.body.formats.wavefront import wavefront
from posesyn_core.body.formats.writers import WRITERS
from posesyn_core.body.model import Body, load_body
from posesyn_core.components import PersonDetector, PoseEstimator, SplitEstimator
from posesyn_core.contracts.results import expect
from posesyn_core.drawing.skeletons import draw_legend, draw_number, unseen_joints
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_jpeg, load_image
from posesyn_core.files.locating import PICTURES, files_below, in_order
from posesyn_core.files.paths import existing_file, write_atomic
from posesyn_core.files.reading import read_json, reading
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.skeletons import SMPL24, joint_set
from posesyn_core.inference.overlays import overlay, posed_vertices
from posesyn_core.inference.predict import Result, predict
from posesyn_core.progress import progress
from posesyn_core.values import Detections, FloatArray, Image, PoseEstimate, Sample, SmplParams

UNITS: Mapping[str, str] = {
    "box": "x0, y0, x1, y1 in pixels, the centre of the first pixel being (0, 0)",
    "joints3d": "metres, camera frame (x right, y down, z away), relative to the root of joint_set; null = unknown",
    "joints2d": "pixels of the picture; null = unknown",
    "camera": "pixels: pixel = focal_length * (x, y) / z + principal_point of joints placed by smpl.transl",
    "smpl": "axis-angle in radians, betas, translation in metres",
}
JSON, MESH = "json", "obj"
FORMATS = (JSON, MESH, *WRITERS)
"""What can be written of a picture's people: figures, the surface, or the body as other programs pose it."""
EXPECTED = 'an object with "joint_set" (such as "coco17") and "people", objects with "image" and "keypoints" or "box"'


@frozen
class Picture:
    """One picture with the people to estimate in it; its files are called after the ``path``.

    ``image`` is the path, or encoded bytes.
    """

    path: Path
    people: tuple[Sample, ...]
    image: Path | bytes = Factory(lambda self: self.path, takes_self=True)


Found = Picture | tuple[Path, str]
"""A picture, or (path, reason) of one that can't be read."""


def pictures(
    paths: Sequence[Path], boxes: Sequence[Sequence[float]] = (), keypoints: Path | None = None
) -> list[Picture]:
    """What to estimate: the people of ``keypoints`` in each picture, else its ``boxes``, else the whole picture.

    ``boxes`` (x0, y0, x1, y1) hold for a single picture. ``keypoints`` is a JSON file as the data set "folder" has
    it, ``EXPECTED``; its images are found by their file names. UserError for a missing or unreadable picture, a box
    outside it, a file of another form, or a picture that the file does not mention.
    """
    if boxes and (len(paths) != 1 or keypoints is not None):
        raise UserError("--box is for a single picture without --keypoints; put the boxes of several into that file")
    described = None if keypoints is None else _people(keypoints)
    return [_picture(path, boxes, described, keypoints) for path in paths]


def find_people(paths: Iterable[Path], detector: PersonDetector | None) -> Iterator[Found]:
    """What to estimate in picture files and, at any depth, in folders: whom the ``detector`` finds, surest first.

    Without one each picture is one person. A file that can't be read is told, and the others go on. UserError for a
    path that does not exist, or a folder without a picture.
    """
    for path in _files(paths):
        try:
            image = load_image(path)
            boxes = [_whole(image)] if detector is None else boxes_of(detector, image)
            yield Picture(path, tuple(person(f"{path.name}/{at}", path, box, None) for at, box in enumerate(boxes)))
        except SampleError as error:
            yield path, str(error)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield existing_file(path, "picture")
            continue
        pictures = [file for file in in_order(files_below(path, follow_links=True)) if file.suffix.lower() in PICTURES]
        if not pictures:
            raise UserError(f"the folder {str(path)!r} has no picture ({', '.join(sorted(PICTURES))})")
        yield from pictures


def boxes_of(detector: PersonDetector, image: Image) -> list[list[float]]:
    """The people whom a detector finds in a picture, surest first."""
    (found,) = expect(detector.find_people([image]), Detections, 1, detector.find_people)
    boxes: list[list[float]] = found.boxes.tolist()
    return boxes


def _whole(image: Image) -> tuple[float, float, float, float]:
    return 0.0, 0.0, image.shape[1] - 1.0, image.shape[0] - 1.0


def _picture(
    path: Path, boxes: Sequence[Sequence[float]], described: list[dict[str, Any]] | None, source: Path | None
) -> Picture:
    try:
        image = load_image(existing_file(path, "picture"))
    except SampleError as error:
        raise UserError(f"picture {str(path)!r}: {error}") from error
    people = [{"box": box} for box in boxes or [_whole(image)]]
    if described is not None:
        people = [entry for entry in described if Path(str(entry.get("image"))).name == path.name]
        if not people:
            raise UserError(f"{str(source)!r} has no person with the image {path.name!r}")
    samples = []
    for number, entry in enumerate(people):
        try:
            sample = _sample(f"{path.name}/{number}", path, entry)
            check_box(sample.box, image.shape[1], image.shape[0])
        except (SampleError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"person {number} of picture {str(path)!r}: {error}") from error
        samples.append(sample)
    return Picture(path, tuple(samples))


def _people(path: Path) -> list[dict[str, Any]]:
    document = read_json(path, "keypoint file", EXPECTED)
    with reading(path, "keypoint file", EXPECTED):
        joints = joint_set(document["joint_set"])
        return [{"joint_set": joints.name, **entry} for entry in document["people"]]


def _sample(name: str, path: Path, entry: Mapping[str, Any]) -> Sample:
    """One person; without keypoints, no joint of SMPL's is labelled."""
    if "box" not in entry and not _known(np.asarray(entry.get("keypoints", np.empty((0, 3))), np.float32)).any():
        raise SampleError("it has neither a 'box' nor a labelled keypoint")
    return person(name, path, entry.get("box"), entry.get("keypoints"), entry.get("joint_set", SMPL24.name))


def person(
    name: str, image: Path | bytes, box: ArrayLike | None, keypoints: ArrayLike | None, joints: str = SMPL24.name
) -> Sample:
    """A person of ``image`` with the 2D labels ``keypoints`` (J, 3): x, y in pixels and a confidence, 0 = not labelled.

    Without a ``box`` that of the labelled joints serves, else the whole picture. SampleError for labels of another
    shape.
    """
    names = joint_set(joints)
    rows = np.zeros((len(names), 3), np.float32) if keypoints is None else np.asarray(keypoints, np.float32)
    if rows.shape != (len(names), 3):
        raise SampleError(f"'keypoints' must be {len(names)} rows (x, y, confidence) for {names.name}")
    known = _known(rows)
    if box is None and known.any():
        box = joint_boxes(rows[:, :2], known)
    elif box is None:
        box = _whole(load_image(image))
    points, confidence = np.where(known[:, None], rows[:, :2], 0), np.where(known, rows[:, 2], 0)
    return Sample(name, image, box, names.name, points, confidence)  # type: ignore[arg-type]


def _known(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.isfinite(rows).all(1) & (rows[:, 2] > 0)


def predict_pictures(
    estimator: PoseEstimator | SplitEstimator,
    shown: Iterable[Picture],
    folder: Path,
    *,
    network: LoadedNetwork | None = None,
    formats: Sequence[str] = (JSON,),
    workers: int = 2,
    caption: str = "",
) -> list[Path]:
    """Estimate everybody and write the files of this module's docstring into ``folder``; return them.

    ``formats`` are of ``FORMATS``. ``shown`` is read as it is needed. ``caption`` is written into the pictures'
    legend. ``network`` is the estimator's network as an engine loaded it (None: eager). A person that can't be
    estimated is said in the JSON file and left out of the picture. For files of bodies, an estimate without SMPL
    parameters gets those of the body fitted to its joints, if they are enough for one; UserError if those of its joint
    set never are.
    """
    body = getattr(estimator, "body", None)
    body = body if isinstance(body, Body) else load_body()
    written: list[Path] = []
    waiting: deque[Picture] = deque()

    def people() -> Iterator[Sequence[Sample]]:
        for picture in shown:
            waiting.append(picture)
            yield picture.people

    total, seen = len(shown) if isinstance(shown, Sized) else None, Counter[str]()
    with progress("predict", total) as told:
        for results in predict(estimator, people(), network=network, workers=workers):
            picture = waiting.popleft()
            stem = picture.path.stem
            seen[stem] += 1
            name = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
            written += _write(folder / name, picture, results, body, formats, caption)
            told.advance()
    return written


def _write(
    base: Path, picture: Picture, results: Sequence[Result], body: Body, formats: Sequence[str], caption: str
) -> list[Path]:
    image = load_image(picture.image)
    bodies = [kind for kind in formats if kind != JSON]
    results = _with_bodies(body, results) if bodies else results
    found = [result for result in results if isinstance(result, PoseEstimate)]
    surfaces = {id(estimate): posed_vertices(body, estimate) for estimate in found if estimate.smpl is not None}
    drawn = overlay(image, found, surfaces, body)
    if len(picture.people) > 1:
        for number, sample in enumerate(picture.people):
            draw_number(drawn, number, sample.box)
    faint = any(unseen_joints(one.joints2d, image.shape, one.confidence).any() for one in found)
    draw_legend(drawn, caption, faint=faint)
    files: dict[Path, bytes | str] = {Path(f"{base}.overlay.jpg"): encode_jpeg(drawn)}
    if JSON in formats:
        files[Path(f"{base}.json")] = json.dumps(description(picture, image, results)) + "\n"
    for number, result in enumerate(results):
        if isinstance(result, PoseEstimate) and result.smpl is not None:
            for kind in bodies:
                name = f"{base.name}.{number}"
                files[base.with_name(f"{name}.{kind}")] = _person_file(
                    kind, name, body, result.smpl, surfaces[id(result)]
                )
    for path, content in files.items():
        write_atomic(path, content)
    return list(files)


def _person_file(kind: str, name: str, body: Body, smpl: SmplParams, surface: FloatArray) -> bytes | str:
    """One person's body in a format of ``FORMATS``: posed, turned upright as the camera saw it."""
    if kind == MESH:
        return wavefront(surface, body.faces.cpu().numpy())
    return WRITERS[kind](body, from_camera(body, name, 1.0, [smpl]))


def _with_bodies(body: Body, results: Sequence[Result]) -> list[Result]:
    """Estimates with parameters of SMPL's, where need be those of a body fitted to their joints, which they keep."""
    return [
        evolve(result, smpl=whole.smpl, residual_mm=whole.residual_mm)
        if isinstance(result, PoseEstimate) and isinstance(whole, PoseEstimate)
        else result
        for result, whole in zip(results, complete_all(body, results), strict=True)
    ]


def description(picture: Picture, image: Image, results: Sequence[Result]) -> dict[str, Any]:
    """What the JSON file says: ``image``, ``size``, ``joint_names``, ``units`` (see ``UNITS``) and ``people``.

    A person has ``box``, and either ``joints3d``, ``joints2d``, ``confidence`` (null if the estimator gives none),
    ``camera``, ``smpl`` (likewise) and ``residual_mm``, how far a fitted body is from the joints, or ``error``. Joints
    are in the order of ``joint_names``.
    """
    found = [result.joint_set for result in results if isinstance(result, PoseEstimate)]
    joints = joint_set(found[0] if found else SMPL24.name)
    return {
        "image": str(picture.path),
        "size": [image.shape[1], image.shape[0]],
        "joint_set": joints.name,
        "joint_names": list(joints.joints),
        "units": dict(UNITS),
        "people": [
            {"box": sample.box.tolist(), **figures_of(result)}
            for sample, result in zip(picture.people, results, strict=True)
        ],
    }


def figures_of(result: Result) -> dict[str, Any]:
    """What :func:`description` says of a person beside the box."""
    if isinstance(result, SampleError):
        return {"error": str(result)}
    smpl = result.smpl
    names = ("global_orient", "body_pose", "betas", "transl")
    return {
        "joints3d": _rows(result.joints3d),
        "joints2d": _rows(result.joints2d),
        "confidence": None if result.confidence is None else result.confidence.tolist(),
        "camera": {name: getattr(result.camera, name).tolist() for name in ("focal_length", "principal_point")},
        "smpl": None if smpl is None else {name: getattr(smpl, name).tolist() for name in names},
        "residual_mm": result.residual_mm,
    }


def _rows(joints: FloatArray) -> list[list[float] | None]:
    """One row per joint; JSON has no word for what is not a number."""
    return [row if np.isfinite(row).all() else None for row in joints.tolist()]
