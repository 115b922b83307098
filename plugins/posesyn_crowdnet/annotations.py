"""The annotation files that 3DCrowdNet trains and is tested on, read below its ``data/`` folder.

All are COCO-like JSON objects with lists ``images`` and ``annotations`` (boxes x, y, width, height), beside files of
SMPL parameters:

- MPII and MSCOCO with NeuralAnnot's fits: {annotation id: {"smpl_param": {"pose", "shape", "trans"}, "cam_param":
  {"focal", "princpt"}}}, camera frame, metres, pixels of the full image;
- Human3.6M: per subject ``data``, ``camera`` ({cam: R, t mm, f, c}), ``joint_3d`` (world, mm) and ``smpl_param``
  (world, metres), the latter two by action, subaction and frame;
- MuCo: one file, of each image the person nearest to the camera; {annotation id: {"pose", "shape", "trans"}};
- 3DPW: the test, with 2D detections in place of ground truth.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen
from scipy.spatial.transform import Rotation

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import reading
from posesyn_core.files.locating import Pictures
from posesyn_core.files.reading import reason_of
from posesyn_core.geometry.naming import naming
from posesyn_core.geometry.skeletons import COCO17, MPII16
from posesyn_core.geometry.units import check_person
from posesyn_core.values import Camera
from posesyn_crowdnet.crops import Floats, crop_box, overlap
from posesyn_crowdnet.joints import COCO, HUMAN36M, MPII, MUCO, OPENPOSE18, Names, with_middles
from posesyn_crowdnet.people import NEIGHBOUR, Fit, Person

Entry = Mapping[str, Any]
PersonOrRejection = Person | tuple[str, str]
"""A person, or (annotation id, reason) for one that the official loader leaves out, or that is malformed."""

HUMAN36M_TRAINING = (1, 5, 6, 7, 8)
HUMAN36M_STEP = 5
CROWD_SEQUENCES = ("courtyard_hug_00", "courtyard_dancing_00")


def read_mpii(data: Path, *, follow_links: bool = False) -> Iterator[PersonOrRejection]:
    """MPII's training people."""
    folder = data / "MPII" / "data"
    yield from _read_2d(
        folder / "annotations" / "train.json",
        folder / "annotations" / "MPII_train_SMPL_NeuralAnnot.json",
        Pictures(folder, follow_links=follow_links),
        MPII,
        MPII16.name,
        official_mpii=True,
    )


def read_mscoco(data: Path, *, follow_links: bool = False) -> Iterator[PersonOrRejection]:
    """COCO's training people; the middle of the hips is a joint too."""
    folder = data / "MSCOCO"
    yield from _read_2d(
        folder / "annotations" / "person_keypoints_train2017.json",
        folder / "annotations" / "MSCOCO_train_SMPL_NeuralAnnot.json",
        Pictures(folder / "images" / "train2017", follow_links=follow_links),
        COCO,
        COCO17.name,
        official_mpii=False,
    )


def _read_2d(
    annotations: Path, fits: Path, pictures: Pictures, names: Names, joint_set: str, *, official_mpii: bool
) -> Iterator[PersonOrRejection]:
    parameters = read_json(fits) if fits.is_file() else {}
    for image, group in by_image(annotations, joint_set):
        people = [entry for entry in group if _is_person(entry, names)]
        for entry in group:
            person = attempt(entry, partial(_person_2d, image, entry, people, parameters, pictures, names))
            yield evolve(person, official_mpii=official_mpii) if isinstance(person, Person) else person


def _person_2d(
    image: Entry, entry: Entry, people: Sequence[Entry], parameters: Entry, pictures: Pictures, names: Names
) -> Person:
    """One of the ``people`` of an image."""
    if _is_nobody(entry):
        raise SampleError("marked as a crowd, of another category, or without a labelled joint")
    if all(other is not entry for other in people):
        raise SampleError(f"{len(names)} joints of 3 finite numbers and a box of 4 expected")
    joints = [labelled(other["keypoints"], names) for other in people]
    boxes = np.array([other["bbox"] for other in people], np.float64)
    at = next(at for at, other in enumerate(people) if other is entry)
    crop_box(boxes[at], image["width"], image["height"])
    points, found = joints[at]
    given = parameters.get(str(entry["id"]))
    return Person(
        id=str(entry["id"]),
        image=pictures.find(image["file_name"]),
        width=image["width"],
        height=image["height"],
        box=boxes[at],
        tight=boxes[at],
        names=found,
        points=points[:, :2],
        valid=points[:, 2] > 0,
        fit=None if given is None else neural_annot_fit(given),
        neighbours=_neighbours(at, boxes, joints),
    )


def _is_nobody(entry: Entry) -> bool:  # some tools write "0" for 0
    return bool(int(entry.get("iscrowd") or 0)) or not entry.get("num_keypoints", 1) or "keypoints" not in entry


def _is_person(entry: Entry, names: Names) -> bool:
    """Whether there is somebody to train on, or to be in somebody's way."""
    try:
        if _is_nobody(entry):
            return False
        box, joints = np.array(entry["bbox"], np.float64), np.array(entry["keypoints"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return box.shape == (4,) and joints.size == 3 * len(names) and bool(np.isfinite(box).all())


def attempt(entry: Entry, build: Callable[[], Person]) -> PersonOrRejection:
    """The person, or why there is none."""
    name = str(entry.get("id")) if isinstance(entry, Mapping) else "entry"
    try:
        person = build()
        _check(person)
        return person
    except SampleError as error:
        return name, str(error)
    except Exception as error:  # whatever a broken entry leads to
        return name, f"malformed entry: {reason_of(error)}"


def _check(person: Person) -> None:
    """SampleError unless the numbers that training uses are finite."""
    fit = person.fit
    numbers: dict[str, list[Any]] = {
        "the person box": [person.box, person.tight],
        "a labelled joint": [person.points[person.valid]],
        "a joint in 3D": [] if person.points3d is None else [person.points3d],
        "the body": [] if fit is None else [fit.pose, fit.betas, fit.transl],
        "the camera": [] if fit is None else [fit.camera.focal_length, fit.camera.principal_point],
    }
    for what, arrays in numbers.items():
        if not all(np.isfinite(array).all() for array in arrays):
            raise SampleError(f"{what} has numbers that are not finite")


def labelled(keypoints: Sequence[float], names: Names) -> tuple[Floats, Names]:
    """COCO's flat list (3 J) as joints (J, 3: x, y, 1 = labelled) and their names; with the pelvis if it lacks."""
    joints = np.array(keypoints, np.float64).reshape(len(names), 3)
    joints[:, 2] = joints[:, 2] > 0
    return with_middles(joints, names, ["Pelvis"])


def neural_annot_fit(entry: Entry) -> Fit:
    """An entry of NeuralAnnot's files."""
    smpl, camera = entry["smpl_param"], entry["cam_param"]
    return _fit(smpl, Camera(camera["focal"], camera["princpt"]))


def _fit(smpl: Entry, camera: Camera) -> Fit:
    pose, betas, transl = (np.array(smpl[name], np.float64) for name in ("pose", "shape", "trans"))
    return Fit(pose.reshape(24, 3), betas.reshape(10), transl.reshape(3), camera)


def read_human36m(
    data: Path, subjects: Iterable[int] = HUMAN36M_TRAINING, *, follow_links: bool = False
) -> Iterator[PersonOrRejection]:
    """Every fifth frame of those subjects that are there, with joints and SMPL brought into the camera."""
    folder = data / "Human36M"
    stems = {subject: folder / "annotations" / f"Human36M_subject{subject}" for subject in subjects}
    there = [stem for stem in stems.values() if stem.with_name(f"{stem.name}_data.json").is_file()]
    if not there:
        raise UserError(f"{str(folder / 'annotations')!r} has no Human36M_subject<n>_data.json of these subjects")
    pictures = Pictures(folder / "images", follow_links=follow_links)

    def read(stem: Path) -> Iterator[PersonOrRejection]:
        cameras, joints, smpl = (
            read_json(stem.with_name(f"{stem.name}_{part}.json")) for part in ("camera", "joint_3d", "smpl_param")
        )
        for image, group in by_image(stem.with_name(f"{stem.name}_data.json")):
            if _skipped(image.get("frame_idx")):
                continue
            for entry in group:
                yield attempt(entry, partial(_human36m, pictures, image, entry, cameras, joints, smpl))

    yield from reading.read_each(((stem.name, stem) for stem in there), read, lambda name, reason: (name, reason))


def _skipped(frame: Any) -> bool:
    """Whether a frame is between those that are read; one without a number is kept, to be rejected."""
    return isinstance(frame, int) and frame % HUMAN36M_STEP != 0


def _human36m(pictures: Pictures, image: Entry, entry: Entry, cameras: Entry, joints: Entry, smpl: Entry) -> Person:
    place = [str(image[key]) for key in ("action_idx", "subaction_idx", "frame_idx")]
    view = cameras[str(image["cam_idx"])]
    rotation, shift = np.array(view["R"]), np.array(view["t"]) / 1000
    points3d = np.array(_at(joints, place), np.float64) / 1000 @ rotation.T + shift
    check_person(points3d, "h36m17")
    crop_box(entry["bbox"], image["width"], image["height"])
    given = _at(smpl, place)
    return Person(
        id=str(entry["id"]),
        image=pictures.find(image["file_name"]),
        width=image["width"],
        height=image["height"],
        box=np.array(entry["bbox"], np.float64),
        tight=np.array(entry["bbox"], np.float64),
        names=HUMAN36M,
        points=points3d[:, :2] / points3d[:, 2:] * np.array(view["f"]) + np.array(view["c"]),
        valid=np.ones(len(HUMAN36M), bool),
        points3d=points3d,
        fit=None if given is None else _from_world(_fit(given, Camera(view["f"], view["c"])), rotation, shift),
        checked=True,
    )


def _at(tree: Any, place: Sequence[str]) -> Any:
    """What stands in nested objects under the keys ``place``; None if a key is missing."""
    for key in place:
        tree = tree.get(key) if tree is not None else None
    return tree


def _from_world(fit: Fit, rotation: Floats, shift: Floats) -> Fit:
    root = Rotation.from_matrix(rotation) * Rotation.from_rotvec(fit.pose[0])
    pose = np.concatenate([root.as_rotvec()[None], fit.pose[1:]])
    return Fit(pose, fit.betas, rotation @ fit.transl + shift, fit.camera, rotation)


def read_muco(data: Path, *, follow_links: bool = False) -> Iterator[PersonOrRejection]:
    """Of every image the person whose pelvis is nearest to the camera."""
    folder = data / "MuCo" / "data"
    parameters, pictures = read_json(folder / "smpl_param.json"), Pictures(folder, follow_links=follow_links)
    for image, group in by_image(folder / "MuCo-3DHP.json"):
        yield attempt(group[0], partial(_muco, pictures, image, group, parameters))


def _depth(entry: Entry) -> float:
    """How far the pelvis is away; infinitely far for an annotation without one."""
    try:
        depth = float(entry["keypoints_cam"][MUCO.index("Pelvis")][2])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return np.inf
    return depth if np.isfinite(depth) else np.inf


def _muco(pictures: Pictures, image: Entry, group: Sequence[Entry], parameters: Entry) -> Person:
    depths = [_depth(entry) for entry in group]
    at = int(np.argmin(depths))
    entry = group[at]
    joints = [np.column_stack([other["keypoints_img"], np.ones(len(MUCO))]) for other in group]
    boxes = np.array([other["bbox"] for other in group], np.float64)
    crop_box(boxes[at], image["width"], image["height"])
    points3d = np.array(entry["keypoints_cam"], np.float64) / 1000
    check_person(points3d, "muco21")
    given = parameters.get(str(entry["id"]))
    return Person(
        id=str(entry["id"]),
        image=pictures.find(image["file_name"]),
        width=image["width"],
        height=image["height"],
        box=boxes[at],
        tight=boxes[at],
        names=MUCO,
        points=joints[at][:, :2],
        valid=np.ones(len(MUCO), bool),
        points3d=points3d,
        fit=None if given is None else _fit(given, Camera(image["f"], image["c"])),
        neighbours=_neighbours(at, boxes, [(one, MUCO) for one in joints]),
        checked=True,
    )


def _neighbours(at: int, boxes: Floats, joints: Sequence[tuple[Floats, Names]]) -> Floats:
    """COCO's joints (N, 17, 3) of the people whose boxes overlap that of person ``at``."""
    near = [int(other) for other in np.flatnonzero(overlap(boxes[at], boxes) >= NEIGHBOUR) if other != at]
    result = np.zeros((len(near), len(COCO), 3))
    for row, other in zip(result, near, strict=True):
        points, names = joints[other]
        common = [(COCO.index(name), here) for here, name in enumerate(names) if name in COCO]
        there, here = np.array(common).T
        row[there] = points[here]
    return result


@frozen
class TestPerson:
    """A person of 3DPW's test: detected 2D joints (J, 3: x, y, confidence), and the true body with its gender."""

    id: int
    image: Path
    width: int
    height: int
    box: Floats
    names: Names
    joints: Floats
    truth: Fit
    gender: str


def read_3dpw(data: Path, *, crowd: bool = False, follow_links: bool = False) -> Iterator[TestPerson]:
    """3DPW's test people with OpenPose's joints; with ``crowd`` 3DPW-Crowd's, with HigherHRNet's where there are."""
    folder = data / "PW3D" / "data"
    pictures = Pictures(folder / "imageFiles", follow_links=follow_links)
    document = folder / f"3DPW_latest_{'validation' if crowd else 'test'}.json"
    detections = read_json(folder / "3DPW_validation_crowd_hhrnet_result.json") if crowd else {}
    for image, group in by_image(document):
        if crowd and not any(sequence in image["sequence"] for sequence in CROWD_SEQUENCES):
            continue
        for entry in group:
            joints, names = _detected(entry, detections.get(str(entry["id"])))
            camera = Camera(image["cam_param"]["focal"], image["cam_param"]["princpt"])
            yield TestPerson(
                id=entry["id"],
                image=pictures.find(f"{image['sequence']}/{image['file_name']}"),
                width=image["width"],
                height=image["height"],
                box=np.array(entry["bbox"], np.float64),
                names=names,
                joints=joints,
                truth=_fit(entry["smpl_param"], camera),
                gender=entry["smpl_param"]["gender"],
            )


def _detected(entry: Entry, better: Entry | None) -> tuple[Floats, Names]:
    if better is not None:
        return with_middles(np.array(better["coco_joints"], np.float64), COCO, ["Pelvis", "Neck"])
    joints = np.array(entry["openpose_result"], np.float64).reshape(len(OPENPOSE18), 3)
    return with_middles(joints, OPENPOSE18, ["Pelvis"])


def read_json(path: Path) -> Any:
    """A JSON file; UserError if it is missing or none."""
    return reading.read_json(path, "annotation file", "3DCrowdNet's annotations")


def _as_it_is(entry: Entry) -> Entry:
    return entry


def _attempted(ordered: Callable[[Entry], Entry], entry: Any, at: int) -> Entry:
    """The annotation in order; one that can't be brought there stays as it is, to be rejected."""
    if not isinstance(entry, dict):
        return {"id": f"entry-{at}"}
    try:
        return ordered(entry)
    except (TypeError, ValueError, OverflowError):
        return entry


def _in_order(document: Any, joint_set: str) -> Callable[[Entry], Entry]:
    """What brings an annotation's joints into the order of the set, by the names that the file's categories have.

    UserError if the names are not those of the set. Annotations of other categories lose their joints.
    """
    categories = [category for category in document.get("categories") or () if category.get("keypoints")]
    namings = {
        category.get("id"): naming(category["keypoints"], joint_set, wanted=joint_set) for category in categories
    }

    def ordered(entry: Entry) -> Entry:
        found = namings.get(entry.get("category_id", next(iter(namings), None)))
        if (
            not namings
            or "keypoints" not in entry
            or (found is not None and len(entry["keypoints"]) != 3 * found.count)
        ):
            return entry
        if found is None:
            return {key: value for key, value in entry.items() if key != "keypoints"}
        return {**entry, "keypoints": found.take(np.array(entry["keypoints"], np.float64).reshape(-1, 3)).ravel()}

    return ordered


def by_image(path: Path, joint_set: str = "") -> Iterator[tuple[Entry, list[Entry]]]:
    """Each image of a COCO-like file that has annotations, with these, in the order of the first of them.

    With a ``joint_set``, joints come in its order where the file names them. An annotation whose image is not
    listed comes with an empty one, to be rejected. UserError if the file is none.
    """
    document, expected = read_json(path), "a COCO-like file, with the lists 'images' and 'annotations'"
    with reading.reading(path, "annotation file", expected):
        images = {image["id"]: image for image in document["images"] if isinstance(image, dict) and "id" in image}
        ordered = _in_order(document, joint_set) if joint_set else _as_it_is
        groups: dict[Any, list[Entry]] = {}
        for at, entry in enumerate(document["annotations"]):
            broken = not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str)
            key = ("entry", at) if broken else entry["image_id"]
            groups.setdefault(key, []).append(_attempted(ordered, entry, at))
        found = [(images.get(key, {}), group) for key, group in groups.items()]
    yield from found
