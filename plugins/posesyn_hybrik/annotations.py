"""The official annotation files that carry SMPL parameters, read as people to train on.

*Human3.6M style*: ``{"images": [...], "annotations": [...]}`` paired by position, millimetres, boxes that already
include the margin, images below ``images/``; the only style with twist angles, and what the writer writes.
*3DPW style*: COCO's, paired by ``image_id``, metres, images below ``imageFiles/<sequence>/``; no twists, and the five
joints on the skin don't count.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures
from posesyn_core.files.reading import read_json, reason_of
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.geometry.units import check_person
from posesyn_core.values import Camera
from posesyn_hybrik.people import MARGIN, Floats, Person, Pose, no_twist
from posesyn_hybrik.skeleton import JOINTS

MM = 1000.0
NO_TWIST = -10.0
"""Twist angles at or below this are marked as unknown (the files write -999)."""
SMALLEST_BOX = 5.0
"""3DPW's boxes with a side of less pixels are left out."""

Entry = Mapping[str, Any]
PersonOrRejection = Person | tuple[str, str]
"""A person, or (id, reason) for an entry that can't be one."""


def read_people(
    annotations: Path, root: Path | None = None, *, follow_links: bool = False
) -> Iterator[PersonOrRejection]:
    """The people of an official file of either style, in its order; (id, reason) for an entry that can't be one.

    ``root`` is the folder of the data set (with ``images`` or ``imageFiles``); by default the file's own. UserError
    naming a file that is missing or of neither style.
    """
    content = _load(annotations)
    root = root or annotations.parent
    h36m = any("smpl_joints" in entry for entry in content["annotations"] if isinstance(entry, dict))
    pictures = Pictures(root / ("images" if h36m else "imageFiles"), follow_links=follow_links)
    build, prefix = (_build_h36m, "h36m") if h36m else (_build_pw3d, "pw3d")
    images = content["images"]
    by_id = {} if h36m else {str(image.get("id")): image for image in images if isinstance(image, dict)}
    for at, entry in enumerate(content["annotations"]):
        name = f"{prefix}/{entry.get('id', at) if isinstance(entry, dict) and not h36m else at}"
        try:
            image = images[at] if h36m else by_id.get(str(entry.get("image_id")), {})
            person = build(pictures, at, {**image, **entry}, image)
            _check(person)
            yield person
        except SampleError as error:
            yield name, str(error)
        except Exception as error:  # whatever a broken entry leads to
            yield name, f"malformed entry: {reason_of(error)}"


def _check(person: Person) -> None:
    """SampleError unless every number that training uses is finite."""
    pose, camera = person.pose, person.camera
    numbers = {
        "the box": [person.centre, np.array(person.side)],
        "a joint": [person.joints2d, person.joints3d],
        "a twist angle": [person.twist],
        "the body": [] if pose is None else [pose.rotations, pose.betas],
        "the camera": [] if camera is None else [camera.focal_length, camera.principal_point],
    }
    for what, arrays in numbers.items():
        if not all(np.isfinite(array).all() for array in arrays):
            raise SampleError(f"{what} has numbers that are not finite")


def _load(path: Path) -> dict[str, Any]:
    content = read_json(path, "annotation file", "annotations in HybrIK's form")
    found = content.get("annotations") if isinstance(content, dict) else None
    entries = found if isinstance(found, list) else []
    first = next((entry for entry in entries if isinstance(entry, dict)), {})
    if not isinstance(first, dict) or not {"smpl_joints", "smpl_param"} & first.keys():
        raise UserError(
            f"annotation file {str(path)!r} is of none of HybrIK's styles: expected annotations with 'smpl_joints' "
            "(Human3.6M's) or 'smpl_param' (3DPW's)"
        )
    images = content.get("images")
    if not isinstance(images, list) or ("smpl_joints" in first and len(images) != len(entries)):
        raise UserError(f"annotation file {str(path)!r} must have as many images as annotations: they are paired")
    return content


def _build_h36m(pictures: Pictures, at: int, entry: Entry, image: Entry) -> Person:
    camera = Camera(entry["cam_param"]["f"], entry["cam_param"]["c"])
    given = np.asarray(entry["smpl_joints"], np.float64) / MM
    _check_joints(given)
    joints = np.zeros((JOINTS, 3))
    joints[: len(given)] = given
    relative = joints - joints[0]
    weights = np.ones((JOINTS, 3))
    weights[len(given) :] = 0  # the official loader weighs missing leaves as if they were at the camera
    centre, side = square(_corners(entry["bbox"], entry["width"], entry["height"]))
    angles = entry.get("angle_twist", {"angle": np.full(23, -999), "cos": np.zeros(23), "sin": np.zeros(23)})
    return Person(
        id=f"h36m/{at}",
        image=pictures.find(image["file_name"]),
        centre=centre,
        side=float(side),
        joints2d=_projected(joints, camera, weights),
        joints3d=relative * weights,
        weights=weights,
        pose=Pose(_array(entry["thetas"], (24, 3)), _array(entry["betas"], (10,))),
        twist=np.column_stack([_array(angles["cos"], (23,)), _array(angles["sin"], (23,))]),
        twist_known=(_array(angles["angle"], (23,)) > NO_TWIST).astype(np.float64),
        camera=camera,
        pelvis=joints[0],
        joints17=_array(entry["h36m_joints"], (17, 3)) / MM,
    )


def _build_pw3d(pictures: Pictures, at: int, entry: Entry, image: Entry) -> Person:
    if not min(entry["bbox"][2:]) >= SMALLEST_BOX:
        raise SampleError(f"the box is smaller than {SMALLEST_BOX:g} pixels, or no number")
    joints, joints2d = np.zeros((JOINTS, 3)), np.zeros((JOINTS, 2))
    given, seen = np.asarray(entry["smpl_joint_cam"], np.float64), _array(entry["smpl_joint_img"], (24, 3))
    _check_joints(given)
    joints[:24], joints2d[:24] = given[:24] - given[0], seen[:, :2]
    joints[:24, 2] = seen[:, 2] - seen[0, 2]
    weights = np.zeros((JOINTS, 3))
    weights[:24] = 1
    centre, side = square(_corners(entry["bbox"], entry["width"], entry["height"]), MARGIN)
    twist, twist_known = no_twist()
    params = entry["smpl_param"]
    return Person(
        id=f"pw3d/{entry.get('id', at)}",
        image=pictures.find(f"{entry['sequence']}/{image['file_name']}"),
        centre=centre,
        side=float(side),
        joints2d=joints2d,
        joints3d=joints,
        weights=weights,
        pose=Pose(_array(params["pose"], (72,)).reshape(24, 3), _array(params["shape"], (10,))),
        twist=twist,
        twist_known=twist_known,
        camera=Camera(entry["cam_param"]["focal"], entry["cam_param"]["princpt"]),
        pelvis=given[0],
        joints17=_array(entry["h36m_joints"], (17, 3)),
    )


def _check_joints(given: Floats) -> None:
    """ValueError unless these are SMPL's 24 joints or more (N, 3), SampleError unless they are a person's in metres."""
    if given.ndim != 2 or given.shape[1] != 3 or not len(SMPL24) <= len(given) <= JOINTS:
        raise ValueError(f"{len(SMPL24)} to {JOINTS} joints in 3D are expected, not an array of shape {given.shape}")
    check_person(given[: len(SMPL24)], SMPL24.name)


def _corners(box: ArrayLike, width: float, height: float) -> Floats:
    """x, y, width, height -> x0, y0, x1, y1, the last pixels included, within the image."""
    x, y, w, h = np.asarray(box, np.float64)
    limit = np.array([width, height]) - 1
    near = np.clip([x, y], 0, limit)
    far = np.clip([x + max(w - 1, 0), y + max(h - 1, 0)], 0, limit)
    if not (far > near).all():
        raise SampleError(f"the box {[x, y, w, h]} has no area within the image")
    return np.concatenate([near, far])


def _projected(joints: Floats, camera: Camera, weights: Floats) -> Floats:
    """Pixels (29, 2) of the known joints; 0 for the others."""
    placed = np.where(weights[:, 2:] > 0, joints, [0, 0, 1])
    focal, centre = camera.focal_length.astype(np.float64), camera.principal_point.astype(np.float64)
    return project(placed, focal, centre) * weights[:, :2]


def _array(values: Any, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"an array of shape {shape} is expected, not {array.shape}")
    return array
