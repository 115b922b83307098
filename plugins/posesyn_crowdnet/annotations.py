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

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen
from scipy.spatial.transform import Rotation

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import existing_file, inside
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


def read_mpii(data: Path) -> Iterator[PersonOrRejection]:
    """MPII's training people."""
    folder = data / "MPII" / "data"
    yield from _read_2d(
        folder / "annotations" / "train.json",
        folder / "annotations" / "MPII_train_SMPL_NeuralAnnot.json",
        folder,
        MPII,
        official_mpii=True,
    )


def read_mscoco(data: Path) -> Iterator[PersonOrRejection]:
    """COCO's training people; the middle of the hips is a joint too."""
    folder = data / "MSCOCO"
    yield from _read_2d(
        folder / "annotations" / "person_keypoints_train2017.json",
        folder / "annotations" / "MSCOCO_train_SMPL_NeuralAnnot.json",
        folder / "images" / "train2017",
        COCO,
        official_mpii=False,
    )


def _read_2d(
    annotations: Path, fits: Path, images: Path, names: Names, *, official_mpii: bool
) -> Iterator[PersonOrRejection]:
    parameters = read_json(fits) if fits.is_file() else {}
    for image, group in by_image(annotations):
        people = [entry for entry in group if _is_person(entry)]
        for entry in group:
            person = attempt(entry, partial(_person_2d, image, entry, people, parameters, images, names))
            yield evolve(person, official_mpii=official_mpii) if isinstance(person, Person) else person


def _person_2d(
    image: Entry, entry: Entry, people: Sequence[Entry], parameters: Entry, images: Path, names: Names
) -> Person:
    """One of the ``people`` of an image."""
    if not _is_person(entry):
        raise SampleError("marked as a crowd, or without a labelled joint")
    joints = [labelled(other["keypoints"], names) for other in people]
    boxes = np.array([other["bbox"] for other in people], np.float64)
    at = next(at for at, other in enumerate(people) if other is entry)
    crop_box(boxes[at], image["width"], image["height"])
    points, found = joints[at]
    given = parameters.get(str(entry["id"]))
    return Person(
        id=str(entry["id"]),
        image=inside(images, image["file_name"]),
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


def _is_person(entry: Entry) -> bool:
    return not entry.get("iscrowd") and bool(entry.get("num_keypoints", 1))


def attempt(entry: Entry, build: Callable[[], Person]) -> PersonOrRejection:
    """The person, or why there is none."""
    try:
        return build()
    except SampleError as error:
        return str(entry.get("id")), str(error)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return str(entry.get("id")), f"malformed entry: {error!r}"


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


def read_human36m(data: Path, subjects: Iterable[int] = HUMAN36M_TRAINING) -> Iterator[PersonOrRejection]:
    """Every fifth frame of those subjects that are there, with joints and SMPL brought into the camera."""
    folder = data / "Human36M"
    stems = {subject: folder / "annotations" / f"Human36M_subject{subject}" for subject in subjects}
    there = [stem for stem in stems.values() if stem.with_name(f"{stem.name}_data.json").is_file()]
    if not there:
        raise UserError(f"{str(folder / 'annotations')!r} has no Human36M_subject<n>_data.json of these subjects")
    for stem in there:
        cameras, joints, smpl = (
            read_json(stem.with_name(f"{stem.name}_{part}.json")) for part in ("camera", "joint_3d", "smpl_param")
        )
        for image, group in by_image(stem.with_name(f"{stem.name}_data.json")):
            if image["frame_idx"] % HUMAN36M_STEP:
                continue
            for entry in group:
                yield attempt(entry, partial(_human36m, folder / "images", image, entry, cameras, joints, smpl))


def _human36m(images: Path, image: Entry, entry: Entry, cameras: Entry, joints: Entry, smpl: Entry) -> Person:
    place = [str(image[key]) for key in ("action_idx", "subaction_idx", "frame_idx")]
    view = cameras[str(image["cam_idx"])]
    rotation, shift = np.array(view["R"]), np.array(view["t"]) / 1000
    points3d = np.array(_at(joints, place), np.float64) / 1000 @ rotation.T + shift
    check_person(points3d, "h36m17")
    crop_box(entry["bbox"], image["width"], image["height"])
    given = _at(smpl, place)
    return Person(
        id=str(entry["id"]),
        image=inside(images, image["file_name"]),
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


def read_muco(data: Path) -> Iterator[PersonOrRejection]:
    """Of every image the person whose pelvis is nearest to the camera."""
    folder = data / "MuCo" / "data"
    parameters = read_json(folder / "smpl_param.json")
    for image, group in by_image(folder / "MuCo-3DHP.json"):
        yield attempt(group[0], partial(_muco, folder, image, group, parameters))


def _muco(folder: Path, image: Entry, group: Sequence[Entry], parameters: Entry) -> Person:
    depths = [entry["keypoints_cam"][MUCO.index("Pelvis")][2] for entry in group]
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
        image=inside(folder, image["file_name"]),
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


def read_3dpw(data: Path, *, crowd: bool = False) -> Iterator[TestPerson]:
    """3DPW's test people with OpenPose's joints; with ``crowd`` 3DPW-Crowd's, with HigherHRNet's where there are."""
    folder = data / "PW3D" / "data"
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
                image=inside(folder / "imageFiles", f"{image['sequence']}/{image['file_name']}"),
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
    try:
        return json.loads(existing_file(path, "annotation file").read_bytes())
    except ValueError as error:
        raise UserError(f"annotation file {str(path)!r} is not valid JSON ({error}); is it complete?") from error


def by_image(path: Path) -> Iterator[tuple[Entry, list[Entry]]]:
    """Each image of a COCO-like file that has annotations, with these, in the order of the first of them.

    UserError if the file is none.
    """
    document = read_json(path)
    try:
        images = {image["id"]: image for image in document["images"]}
        groups: dict[Any, list[Entry]] = {}
        for entry in document["annotations"]:
            groups.setdefault(entry["image_id"], []).append(entry)
        found = [(images[key], group) for key, group in groups.items()]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"annotation file {str(path)!r} is not COCO-like ({error!r}): it needs the lists 'images' and "
            "'annotations', and the image of every annotation"
        ) from error
    yield from found
