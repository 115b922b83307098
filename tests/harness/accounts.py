"""What a data set's files list, counted without its reader: every entry must have become a sample or a rejection.

An account takes the folder as the mutation left it and the ids of everything that the reader told, and raises
AssertionError for what is missing. Where the files no longer say what they list, it says nothing.
"""

import itertools
import json
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posesyn_core.files.reading import read_json, read_npz
from posesyn_core.files.unpickle import load_object, load_pickle
from posesyn_datasets.readers.foreign import read_mat

Account = Callable[[Path, Sequence[str]], None]
Count = Callable[[Path], int | None]


def counted(count: Count) -> Account:
    """As many samples and rejections as the files list; nothing is said if they can't be counted."""

    def account(folder: Path, told: Sequence[str]) -> None:
        wanted = attempted(lambda: count(folder))
        assert wanted is None or len(told) == wanted, f"{wanted} entries, but {len(told)} samples and rejections"

    return account


def unless_whole(account: Account, *files: str) -> Account:
    """Nothing is said where one of the data set's files, or the rest of it, is told by its own id."""

    def held(folder: Path, told: Sequence[str]) -> None:
        if not set(files) & set(told):
            account(folder, told)

    return held


def attempted(of: Callable[[], Any]) -> Any:
    """What is counted, or None where a file is none any more."""
    try:
        return of()
    except Exception:  # whatever a damaged file leads to
        return None


def listed(pattern: str, *keys: str, of: Callable[[list[Any]], int] = len) -> Account:
    """The list that stands under the keys in a JSON file."""

    def count(folder: Path) -> int:
        found = json.loads(next(folder.glob(pattern)).read_bytes())
        for key in keys:
            found = found[key]
        return of(found)

    return counted(count)


def rows(pattern: str, key: str) -> Account:
    """The rows of an array in an npz."""
    return counted(lambda folder: len(np.load(next(folder.glob(pattern)))[key]))


def pickled(pattern: str, of: Callable[[Any], int]) -> Account:
    """What pickles hold."""
    return counted(lambda folder: sum(of(load_pickle(path)) for path in folder.glob(pattern)))


def images_of(annotations: list[Any]) -> int:
    """How many images annotations are of; those of none count each."""
    keys = [entry.get("image_id") if isinstance(entry, dict) else None for entry in annotations]
    known = [key for key in keys if isinstance(key, int | str)]
    return len(set(known)) + len(keys) - len(known)


def every_fifth(folder: Path, told: Sequence[str]) -> None:
    """3DCrowdNet's Human3.6M: annotations of every fifth frame, and of those without a number."""

    def count() -> int:
        document = json.loads(next(folder.glob("Human36M/annotations/*_data.json")).read_bytes())
        frames = {image["id"]: image.get("frame_idx") for image in document["images"] if isinstance(image, dict)}
        numbers = [frames.get(entry["image_id"]) for entry in document["annotations"]]
        return sum(not isinstance(number, int) or number % 5 == 0 for number in numbers)

    wanted = attempted(count)
    assert wanted is None or len(told) == wanted, f"{wanted} entries, but {len(told)} samples and rejections"


def either(told: Sequence[str], whole: str, parts: Callable[[str], bool], count: int) -> None:
    """A unit is told as a whole, or part by part, all of them."""
    found = sum(map(parts, told))
    assert whole in told or found == count, f"of {whole} {found} of {count} parts are told, and not the whole"


def nearest(folder: Path, told: Sequence[str]) -> None:
    """MuCo: somebody of every image; the others are not read, unless they are broken."""
    people = attempted(lambda: json.loads((folder / "MuCo-3DHP.json").read_bytes())["annotations"])
    if people is not None:
        assert images_of(people) <= len(told) <= len(people), f"{len(told)} of {len(people)} are told"


def boxes(dataset: str, names: Sequence[str]) -> Account:
    """People by picture: one without any, or that is none, is a rejection, and so is a name of no picture."""

    def account(folder: Path, told: Sequence[str]) -> None:
        found = attempted(lambda: json.loads((folder / "boxes.json").read_bytes()))
        for name in {*names, *found} if isinstance(found, dict) else ():
            whole = f"{dataset}/{name}"
            either(told, whole, lambda one, whole=whole: one.startswith(f"{whole}-"), len(found.get(name, ())))  # type: ignore[misc]

    return account


def films(dataset: str, names: Callable[[Path], Sequence[str]], frames: int) -> Account:
    """Of every film all frames that are taken, or a rejection that says where it ends, if the film itself says."""

    def account(folder: Path, told: Sequence[str]) -> None:
        for name in attempted(lambda: names(folder)) or ():
            file = next(folder.rglob(Path(name).name), None)
            if file is not None and (attempted(partial(_says_nothing, file)) or attempted(partial(_shows_all, file))):
                continue
            film = f"{dataset}/{name}"
            parts = {one[len(film) + 1 :].partition("-")[0] for one in told if one.startswith(f"{film}/")}
            assert film in told or len(parts) >= frames, f"of {film} {len(parts)} of {frames} frames are told"

    return account


def _says_nothing(path: Path) -> bool:
    """Whether a film announces neither frames nor a length, of which one might be missing."""
    import av

    with av.open(str(path), metadata_errors="replace") as film:
        return not (film.duration or any(stream.frames or stream.duration for stream in film.streams.video))


def _shows_all(path: Path) -> bool:
    """Whether a film shows as many frames as it sends, until its own end: its edit list leaves out those behind."""
    import av

    sent, seen, shown = 0, 0, 0.0
    with av.open(str(path), metadata_errors="replace") as film:
        stream = film.streams.video[0]
        for packet in film.demux(stream):
            if packet.size and not packet.is_discard:
                sent += 1
                shown = max(shown, float(((packet.pts or 0) + (packet.duration or 0)) * (stream.time_base or 0)))
            seen += len(packet.decode())
        return sent == seen and shown >= float((stream.duration or 0) * (stream.time_base or 0)) > 0


def lines(pattern: str) -> Callable[[Path], Sequence[str]]:
    """The first words of a list's lines."""
    return lambda folder: [
        line.split()[0] for line in next(folder.glob(pattern)).read_text().splitlines() if line.strip()
    ]


def recordings(*names: str, frames: int) -> Account:
    """Of every recording all frames, or a rejection of the whole or the rest."""

    def account(folder: Path, told: Sequence[str]) -> None:
        for name in names:
            either(told, name, lambda one, name=name: one.startswith(f"{name}_"), frames)  # type: ignore[misc]

    return account


def valid_frames(prefix: str, file: str) -> Account:
    """The valid frames of MPI-INF-3DHP's test set."""

    def account(folder: Path, told: Sequence[str]) -> None:
        import h5py

        def count() -> int:
            with h5py.File(folder / file) as found:
                return int(np.count_nonzero(found["valid_frame"]))

        wanted = attempted(count)
        if wanted is not None:
            either(told, prefix, lambda one: one.startswith(f"{prefix}/") or one.startswith(f"{prefix}_"), wanted)

    return account


def posed_frames(folder: Path, told: Sequence[str]) -> None:
    """HuMMan: a frame is seen by every Kinect, or refused as a whole."""
    for sequence in folder.glob("p*_a*"):
        kinects = len(list((sequence / "kinect_color").iterdir()))
        for path in (sequence / "smpl_params").iterdir():
            whole = f"humman/{sequence.name}/{path.stem}"
            either(told, whole, lambda one, path=path: one.endswith(f"/{path.stem}"), kinects)  # type: ignore[misc]


def scenes(folder: Path, told: Sequence[str]) -> None:
    """Panoptic: a frame's bodies are seen by every camera, or the frame is refused as a whole."""
    for sequence in folder.glob("17*_pose*"):
        views = len([path for path in (sequence / "hdImgs").iterdir() if path.is_dir()])
        for path in (sequence / "hdPose3d_stage1_coco19").iterdir():
            frame = path.stem.removeprefix("body3DScene_")
            bodies = attempted(lambda path=path: read_json(path, "", "")["bodies"])  # type: ignore[misc]
            whole = f"panoptic/{sequence.name}/{frame}"
            count = views * len(bodies) if isinstance(bodies, list) else -1
            either(told, whole, lambda one, frame=frame: f"/{frame}-" in one, count)  # type: ignore[misc]


def clips(folder: Path, told: Sequence[str]) -> None:
    """JHMDB: every clip of the split's lists is told frame by frame or as a whole, every strange line as one."""
    for path in (folder / "splits").iterdir():
        lines = attempted(lambda path=path: path.read_bytes().decode("utf-8-sig").splitlines())  # type: ignore[misc]
        for number, line in enumerate(lines or (), 1):
            name, _, flag = line.strip().rpartition(" ")
            action = path.name.partition("_test_split")[0]
            if flag in ("0", "1") or not line.strip():
                continue
            if flag != "2":
                assert f"jhmdb/test/{action}/line-{number}" in told, f"line {number} of {path.name} is not told"
                continue
            clip = f"{action}/{name.removesuffix('.avi')}"
            joints = folder / f"joint_positions/{clip}/joint_positions.mat"
            frames = attempted(partial(_length, joints))
            found = [one for one in told if one == f"jhmdb/test/{clip}" or one.startswith(f"jhmdb/test/{clip}/")]
            assert found, f"nothing of {clip} is told"
            assert frames is None or len(found) in (1, frames * lines.count(line)), f"{len(found)} of {clip} are told"


def _length(path: Path) -> int:
    return int(read_mat(path, ["pos_img"], "a .mat file")["pos_img"].shape[2])  # apart: damage may crash scipy


def shards(folder: Path, told: Sequence[str]) -> None:
    """4D-Humans: every image whose name still stands in the archive is told, or its damage is."""
    damaged = any(one.endswith("/damage") for one in told)
    for key in set(_keys((folder / "s.tar").read_bytes())):
        found = f"hmr2/s/{key}"
        assert damaged or any(one == found or one.startswith(f"{found}/") for one in told), f"nothing of {key} is told"


def _keys(data: bytes) -> Iterator[str]:
    """The images of a tar, found by looking for headers at every block."""
    skipped = 0
    for at in range(0, len(data), tarfile.BLOCKSIZE):
        if at < skipped:
            continue
        header = attempted(lambda at=at: tarfile.TarInfo.frombuf(data[at : at + 512], "utf-8", "surrogateescape"))  # type: ignore[misc]
        if header is not None:
            skipped = at + tarfile.BLOCKSIZE + max(header.size, 0)
            if header.isfile() and header.name.endswith(".data.pyd"):
                yield header.name.removesuffix(".data.pyd")


def motions(cameras: int, stride: int) -> Account:
    """The frames of an npz of motions, or a rejection for each motion."""

    def account(folder: Path, told: Sequence[str]) -> None:
        arrays = attempted(lambda: read_npz(folder / "a.npz", "", "", ["offsets", "names"]))
        if arrays is None or len(told) == 0:
            return
        lengths = np.diff(arrays["offsets"])
        wanted = Counter[str]()
        for name, length in zip(arrays["names"], lengths, strict=True):
            wanted[f"mocap/all-lab/{name}"] += math.ceil(int(length) / stride) * cameras
        for whole, count in wanted.items():
            either(told, whole, lambda one, whole=whole: one.startswith(f"{whole}/"), count)  # type: ignore[misc]

    return account


def poses_of(subject: str, cameras: Sequence[str]) -> Account:
    """VideoPose3D's files: every recording that one of them names, by every camera, or refused."""

    def actions(folder: Path) -> Iterable[Any]:
        files = {"data_3d_h36m.npz": "positions_3d", "data_2d_h36m_gt.npz": "positions_2d"}
        return itertools.chain(*(load_object(folder / file, key)[subject] for file, key in files.items()))

    def account(folder: Path, told: Sequence[str]) -> None:
        for action in attempted(lambda: list(actions(folder))) or ():
            whole = f"h36m/gt/{subject}/{action}"
            for camera in cameras:
                film = f"{whole}.{camera}"
                found = [one for one in told if one in (whole, film) or one.startswith(f"{film}/")]
                assert found, f"nothing of {film} is told"

    return account
