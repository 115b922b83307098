"""The official annotation files: training shards (tar), evaluation sets (npz) and motion capture (npz).

A shard holds for each image ``<key>.jpg`` (or .jpeg, .png), ``<key>.data.pyd`` (a pickled list of one dict per person,
read here without running what a pickle may ask for) and optionally ``<key>.detection.npz`` with ``masks``. Boxes are
divided by 200 in shards, and in pixels in npz files.
"""

import io
import itertools
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import reading, remote
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.reading import reason_of
from posesyn_core.files.sniffing import head_of, not_data
from posesyn_core.files.unpickle import read_pickle
from posesyn_core.values import FileSlice, FloatArray, Url
from posesyn_hmr2.joints import NAMES, OPENPOSE
from posesyn_hmr2.people import Person

SCALE_UNIT = 200.0
"""Pixels of a box of ``scale`` 1 in a shard."""
IMAGES = ("jpg", "jpeg", "png")
TAR_MARK = 257
"""Where a tar says that it is one, which a damaged one may do as well."""

PersonOrRejection = Person | tuple[str, str]
"""A person, or (id, reason) for an entry that can't be used."""

_MEMBER = re.compile(r"((?:.*/)?[^./][^.]*)\.([^/]+)")  # as webdataset splits a name: at the first dot of its last part
_KINEMATIC = slice(1, 15)  # OpenPose's joints of the body, whose 3D confidence the official npz reader sets to 0


def read_shard(path: Path | Url, *, lazily: bool = False) -> Iterator[PersonOrRejection]:
    """The people of a shard in order; a shard that ends early, or is damaged, is (its name, reason) where it does.

    ``lazily`` leaves the images in the shard, to be read from there when they are needed. A shard at an address is read
    once, from its beginning to its end. UserError if the file is no tar.
    """
    keys = 0
    try:
        with _opened(path, lazily) as tar:
            for key, members in itertools.groupby(_members(tar, path, lazily), key=lambda member: member[0]):
                yield from _people(key, {extension: data for _, extension, data in members})
                keys += 1
            _expect_end(tar, again=isinstance(path, Path))
        if not keys:
            raise tarfile.ReadError("it holds no image with its people")
    except UserError:
        raise
    except Exception as error:  # whatever a damaged tar leads its reader to
        if not keys:
            known = "" if isinstance(path, Url) else not_data(head_of(path)[:TAR_MARK])
            where = repr(str(path)) if isinstance(path, Url) else shown(path)
            raise UserError(f"shard {where} is no tar file, or damaged: {known or reason_of(error)}") from error
        yield "damage", f"the shard ends early or is damaged after {keys} images: {reason_of(error)}; download it again"


@contextmanager
def _opened(path: Path | Url, lazily: bool) -> Iterator[tarfile.TarFile]:
    if isinstance(path, Url):
        with remote.streaming(path) as stream, tarfile.open(fileobj=stream, mode="r|" if lazily else "r|*") as tar:
            yield tar
    else:
        with tarfile.open(existing_file(path, "shard"), "r:" if lazily else "r") as tar:
            yield tar


def _members(tar: tarfile.TarFile, path: Path | Url, lazily: bool) -> Iterator[tuple[str, str, bytes | FileSlice]]:
    """Key, extension and content of each file, in order."""
    for member in tar:
        name = _MEMBER.fullmatch(member.name)
        if name is None or not member.isfile():
            continue
        if lazily and name[2].lower() in IMAGES:
            if isinstance(path, Path) and member.offset_data + member.size > path.stat().st_size:
                raise tarfile.ReadError("unexpected end of data")
            yield name[1], name[2].lower(), FileSlice(path, member.offset_data, member.size)
        elif (stream := tar.extractfile(member)) is not None:
            data = stream.read()
            if len(data) < member.size:
                raise tarfile.ReadError("unexpected end of data")
            yield name[1], name[2].lower(), data
        tar.members = []  # type: ignore[attr-defined]  # else it keeps a note of every file of the shard


def _expect_end(tar: tarfile.TarFile, again: bool) -> None:
    """ReadError unless the archive ends as one does, with empty blocks: at a damaged header its reader just stops.

    Only a file can be read ``again`` from that header on; of a stream the rest is looked at.
    """
    file: IO[bytes] = tar.fileobj  # type: ignore[assignment]
    if again:
        file.seek(tar.offset)  # of the header that was read last
        file.read(tarfile.BLOCKSIZE)
    if file.tell() < tar.offset + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it lacks the mark at the end")
    if again:
        file.seek(tar.offset)
    while rest := file.read(tarfile.RECORDSIZE):
        if any(rest):
            raise tarfile.ReadError("a header is damaged")


def _people(key: str, members: Mapping[str, bytes | FileSlice]) -> Iterator[PersonOrRejection]:
    """The people of one image."""
    image = next((members[extension] for extension in IMAGES if extension in members), None)
    labels, detection = members.get("data.pyd"), members.get("detection.npz")
    if image is None or not isinstance(labels, bytes):
        yield key, "the shard lacks the image or its data.pyd"
        return
    try:
        entries = read_pickle(labels, f"{key}.data.pyd")
        masks = _masks(detection if isinstance(detection, bytes) else None)
    except Exception as error:  # whatever damaged data lead to
        yield key, reason_of(error)
        return
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        yield _attempt(f"{key}/{number}", partial(_person, f"{key}/{number}", image, entry, masks))


def _attempt(name: str, build: Callable[[], Person]) -> PersonOrRejection:
    """The person, or why there is none."""
    try:
        return build()
    except SampleError as error:
        return name, str(error)
    except Exception as error:  # whatever a broken entry leads to
        return name, f"malformed entry: {reason_of(error)}"


def _masks(data: bytes | None) -> NDArray[np.bool_] | None:
    """(D, H, W) the silhouettes of an image's detections."""
    if data is None:
        return None
    return np.asarray(reading.read_npz(io.BytesIO(data), "detection.npz", "masks", ["masks"])["masks"], bool)


def _person(name: str, image: bytes | FileSlice, entry: Any, masks: NDArray[np.bool_] | None) -> Person:
    if not isinstance(entry, dict):
        raise SampleError("its entry is no dict")
    extra = entry.get("extra_info") or {}
    return Person(
        id=name,
        image=image,
        keypoints_2d=_array(entry, "keypoints_2d", (len(NAMES), 3)),
        keypoints_3d=_array(entry, "keypoints_3d", (len(NAMES), 4)),
        center=_array(entry, "center", (2,)),
        extent=_array(entry, "scale", (2,)) * np.float32(SCALE_UNIT),
        body_pose=_array(entry, "body_pose", (72,)),
        betas=_array(entry, "betas", (10,)),
        has_body_pose=bool(_array(entry, "has_body_pose", ())),
        has_betas=bool(_array(entry, "has_betas", ())),
        mask=None if masks is None else _mask(masks, extra),
        reprojection_loss=_reprojection_loss(extra),
    )


def _array(entry: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> FloatArray:
    """The entry's array of that name as float32; SampleError if it is missing, of another shape, or not finite."""
    try:
        value = np.asarray(entry[name], np.float32)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SampleError(f"its {name} is missing or no array of numbers") from error
    if value.shape != shape:
        raise SampleError(f"its {name} has shape {value.shape}, not {shape}")
    if not np.isfinite(value).all():
        raise SampleError(f"its {name} has numbers that are not finite")
    return value


def _mask(masks: NDArray[np.bool_], extra: Any) -> NDArray[np.bool_]:
    at = extra.get("detection_npz_idx") if isinstance(extra, dict) else None
    if at is None or not 0 <= int(at) < len(masks):
        raise SampleError(f"its detection_npz_idx {at} is none of the {len(masks)} masks")
    return masks[int(at)]


def _reprojection_loss(extra: Any) -> float:
    """0 where the file does not say; it hides the dict in an array without dimensions."""
    fitting = extra.get("fitting_loss") if isinstance(extra, dict) else None
    fitting = fitting.item() if isinstance(fitting, np.ndarray) and fitting.ndim == 0 else fitting
    return float(fitting.get("reprojection_loss", 0.0)) if isinstance(fitting, dict) else 0.0


def read_npz(path: Path, pictures: Pictures | PicturesAt) -> Iterator[PersonOrRejection]:
    """The people of an evaluation set, whose images are among the ``pictures``. UserError if the file is no such set.

    As in the official reader, OpenPose's joints 1 to 14 have no confidence in 3D: evaluation is on the second block.
    """
    data = _load(path)
    for name in ("imgname", "center", "scale"):
        if name not in data:
            raise UserError(f"{str(path)!r} is no evaluation set of 4D-Humans: it lacks {name}")
    expected = "an evaluation set of 4D-Humans, whose arrays have a row for every image"
    with reading.reading(path, "annotations", expected):
        count = len(data["imgname"])
        short = [name for name, array in data.items() if array.shape[:1] != (count,)]
        if short:
            raise UserError(f"annotations {shown(path)} have other than {count} rows of {', '.join(short)}")
        labels_2d = _blocks(data, "keypoints_2d", count, 3)
        labels_3d = _blocks(data, "keypoints_3d", count, 4)
        labels_3d[:, _KINEMATIC, 3] = 0
        extent = np.broadcast_to(data["scale"].reshape(count, -1), (count, 2)).astype(np.float32)
    for at in range(count):
        raw = data["imgname"][at]
        image_name = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)
        build = partial(_row, data, at, pictures, image_name, labels_2d[at], labels_3d[at], extent[at])
        yield _attempt(f"{image_name}/{at}", build)


def _row(
    data: Mapping[str, NDArray], at: int, pictures: Pictures | PicturesAt, image_name: str,
    labels_2d: FloatArray, labels_3d: FloatArray, extent: FloatArray,
) -> Person:  # fmt: skip
    """The person of one row of an evaluation set."""
    row = {key: data[key][at] if key in data else np.zeros(size) for key, size in (("body_pose", 72), ("betas", 10))}
    numbers = {"keypoints_2d": labels_2d, "keypoints_3d": labels_3d, "scale": extent, "center": data["center"][at]}
    return Person(
        id=f"{image_name}/{at}",
        image=pictures.find(image_name),
        keypoints_2d=_array(numbers, "keypoints_2d", labels_2d.shape),
        keypoints_3d=_array(numbers, "keypoints_3d", labels_3d.shape),
        center=_array(numbers, "center", (2,)),
        extent=_array(numbers, "scale", (2,)),
        body_pose=_array(row, "body_pose", (72,)),
        betas=_array(row, "betas", (10,)),
        has_body_pose="body_pose" in data and ("has_body_pose" not in data or bool(data["has_body_pose"][at])),
        has_betas="betas" in data and ("has_betas" not in data or bool(data["has_betas"][at])),
    )


def _blocks(data: Mapping[str, NDArray], kind: str, count: int, columns: int) -> FloatArray:
    """(N, 44, columns) of both blocks of joints; 0 where the file lacks one."""
    sizes = {f"body_{kind}": OPENPOSE, f"extra_{kind}": len(NAMES) - OPENPOSE}
    blocks = [data.get(name, np.zeros((count, size, columns))) for name, size in sizes.items()]
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _load(path: Path) -> dict[str, NDArray]:
    """The plain arrays of an npz; what would have to be unpickled is left out."""
    joints = [f"{block}_keypoints_{dimensions}" for block in ("body", "extra") for dimensions in ("2d", "3d")]
    keys = ("imgname", "center", "scale", "body_pose", "betas", "has_body_pose", "has_betas", *joints)
    return reading.read_npz(path, "annotations", "4D-Humans' npz, of plain arrays", keys)


def read_mocap(path: Path) -> tuple[FloatArray, FloatArray]:
    """Real bodies for the discriminator: poses (N, 23, 3) axis-angle and betas (N, 10). UserError if it has none."""
    data = _load(path)
    shapes = {name: data[name].shape[1:] for name in ("body_pose", "betas") if name in data}
    if shapes != {"body_pose": (72,), "betas": (10,)} or len(data["body_pose"]) != len(data["betas"]):
        raise UserError(
            f"motion capture {str(path)!r} must hold body_pose (N, 72) and betas (N, 10) of SMPL; it holds "
            f"{ {name: data[name].shape for name in data} }"
        )
    return data["body_pose"][:, 3:].reshape(-1, 23, 3).astype(np.float32), data["betas"].astype(np.float32)
