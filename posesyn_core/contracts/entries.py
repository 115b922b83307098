"""What a reader yields, held against what it promised: the one guard that every data set's entries pass.

A sample that can't be used, for numbers that are not finite or a name that no table can store, is a rejection like any
that the reader makes itself. Whatever else a reader raises is one sentence that names it.
"""

from collections.abc import Iterator

import numpy as np

from posesyn_core.components import DatasetReader
from posesyn_core.contracts.results import a_value, name_of
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.reading import reason_of
from posesyn_core.geometry.skeletons import JOINT_SETS
from posesyn_core.values import EncodedImage, Sample, SampleOrRejection

FARTHEST_PIXEL = 1e6
"""What is further from a picture's corner is damage: no picture is so large."""


def entries(reader: DatasetReader) -> Iterator[SampleOrRejection]:
    """The samples of a reader, and (id, reason) for each entry that was or is rejected, in its order.

    UserError if it fails as a whole, naming its class.
    """
    where, count = name_of(reader.samples), 0
    try:
        for entry in reader.samples():
            yield _checked(entry, where)
            count += 1
    except UserError:
        raise
    except SampleError as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:  # a fault of the reader, or data that its author did not think of
        raise UserError(
            f"{where} failed after {count} entries: {type(error).__name__}: {reason_of(error)} (--debug shows where)"
        ) from error


def _checked(entry: object, where: str) -> SampleOrRejection:
    if isinstance(entry, Sample):
        fault = _fault(entry)
        return entry if fault is None else (printable(str(entry.id)), fault)
    if isinstance(entry, tuple) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
        return printable(entry[0]), printable(entry[1])
    raise UserError(f"{where} yielded {a_value(entry)} where a Sample, or a tuple of id and reason, is needed")


def printable(text: str) -> str:
    """Text that can be stored: bytes of a name that are no UTF-8 are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _fault(sample: Sample) -> str | None:
    """Why a sample can't be used; None if it can."""
    if not isinstance(sample.id, str) or printable(f"{sample.id}{_name(sample)}") != f"{sample.id}{_name(sample)}":
        return "its name is not UTF-8: rename the file"
    image: object = sample.image  # a reader may put anything there
    if not isinstance(image, EncodedImage):
        return f"its image is {a_value(image)}, where bytes, a Path or an Url are needed"
    if sample.joint_set not in JOINT_SETS or len(sample.keypoints2d) != len(JOINT_SETS[sample.joint_set]):
        return f"its {len(sample.keypoints2d)} joints are not those of the joint set {sample.joint_set!r}"
    box, camera, smpl = sample.box, sample.camera, sample.smpl
    labelled = sample.confidence != 0
    finite = {
        "the person box": (np.abs(box) < FARTHEST_PIXEL).all() and (box[2:] > box[:2]).all(),
        "a confidence": np.isfinite(sample.confidence).all() and (sample.confidence >= 0).all(),
        "a labelled joint": (np.abs(sample.keypoints2d[labelled]) < FARTHEST_PIXEL).all(),
        "the camera": camera is None
        or (np.isfinite([camera.focal_length, camera.principal_point]).all() and (camera.focal_length > 0).all()),
        "a joint in 3D": (sample.joints3d is None or np.isfinite(sample.joints3d).all())
        and (sample.keypoints3d is None or not np.isinf(sample.keypoints3d).any()),
        "the body": smpl is None
        or all(np.isfinite(part).all() for part in (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)),
        "the head size": sample.head_size is None or 0 < sample.head_size < np.inf,
    }
    return next((f"{what} has numbers that can't be" for what, holds in finite.items() if not holds), None)


def _name(sample: Sample) -> str:
    return "" if isinstance(sample.image, bytes) else str(sample.image)
