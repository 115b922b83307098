"""What readers of unlabelled pictures share: where people are in them, and samples without labels.

Nothing is known of such a person but the box. The option ``labeller`` names the component whose 2D joints become the
person's labels, for mining and training alike::

    labeller = { name = "blazepose", weights = "pose_landmark_heavy.tflite" }

Without it all joints of the sample have confidence 0, and a recipe that mines them must let an estimator stand in for
the annotations (``score.labels = "estimated_2d"`` or ``"estimated_3d"``).

The boxes are found by a person detector, the option ``detector``, a component by its name and options::

    detector = { name = "rtmdet", model = "rtmdet_m.onnx" }

or come from a JSON file, the option ``boxes``, with those (x0, y0, x1, y1 in pixels, the first pixel's centre at
(0, 0)) of every picture::

    {"beach/001.jpg": [[350, 60, 520, 470], [10, 55, 160, 480]], "beach/002.jpg": []}

A video's frame is named by the video and the frame's number: ``"clips/jump.mp4/000015"``. Without either the whole
picture counts as one person's, which is right for pictures of one large person only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from posesyn_core.components import KeypointEstimator, PersonDetector
from posesyn_core.contracts.results import expect
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import remote
from posesyn_core.files.locating import Pictures, files_below, in_order, links_to_folders
from posesyn_core.files.paths import existing_file
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.geometry.tracking import Tracker
from posesyn_core.values import Detections, EncodedImage, Image, Sample, SampleOrRejection, Url
from posesyn_datasets.readers.annotations import build_each, load_json

LOOKED_AT = 8
"""Pictures that a detector is given together."""
LABELLER = "component whose 2D joints become the people's labels, by name and options; empty = no labels"
DETECTOR = "component that finds the people, by name and options (see `posesyn plugins`); empty = none"

BESIDE = {".csv", ".db", ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".mat", ".md", ".npy", ".npz", ".parquet",
          ".pdf", ".pkl", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"}  # fmt: skip
"""Suffixes of what usually lies beside pictures and videos."""

UNFOLLOWED = "a link to a folder, which is not followed; set follow_links = true if you trust it"

Boxes = Mapping[str, list[Any]]


@frozen
class Picture:
    """A picture without labels: its name, the image as samples carry it, (width, height), and its pixels.

    A frame of a film also has the film's name, and its ``time`` in seconds.
    """

    name: str
    image: EncodedImage
    size: tuple[int, int]
    pixels: Callable[[], Image]
    film: str = ""
    time: float = 0.0


PictureOrRejection = Picture | tuple[str, str]


def sorted_out(
    dataset: str, folder: Path, suffixes: set[str], what: str, *, follow_links: bool, boxes: Path | None
) -> tuple[list[Path], list[tuple[str, str]]]:
    """The files below a folder that are read, by their suffix, in natural order; and (id, reason) of those that aren't.

    Hidden files, the file of ``boxes``, and what is ``BESIDE`` pictures by its suffix are neither. UserError if there
    is nothing else.
    """
    found = in_order(files_below(folder, follow_links=follow_links))
    strange = _strange(suffixes, what)
    places, read = Pictures(folder, follow_links=follow_links), list[Path]()
    left = [] if follow_links else [(path, UNFOLLOWED) for path in in_order(links_to_folders(folder))]
    for path in found:
        if path.suffix.lower() in suffixes:
            try:
                places.at(str(path.relative_to(folder)))
                read.append(path)
            except SampleError as error:
                left.append((path, str(error)))
        elif _told(path.relative_to(folder)) and path != boxes:
            left.append((path, strange))
    if not read and all(reason == strange for _, reason in left):
        raise UserError(f"there is no {what} ({', '.join(sorted(suffixes))}) in the folder {str(folder)!r}")
    return read, [(f"{dataset}/{path.relative_to(folder).as_posix()}", reason) for path, reason in left]


def sorted_out_at(dataset: str, base: Url, suffixes: set[str], what: str) -> tuple[list[Url], list[tuple[str, str]]]:
    """As :func:`sorted_out`, of what lies below an address."""
    found = {url.name: url for url in remote.listed(base)}
    read = [found[name] for name in in_order(found) if found[name].suffix.lower() in suffixes]
    if not read:
        raise UserError(f"there is no {what} ({', '.join(sorted(suffixes))}) below {str(base)!r}")
    left = [name for name in in_order(found) if found[name].suffix.lower() not in suffixes and _told(Path(name))]
    return read, [(f"{dataset}/{name}", _strange(suffixes, what)) for name in left]


def _strange(suffixes: set[str], what: str) -> str:
    return f"not read, because its name is no {what}'s ({', '.join(sorted(suffixes))}): convert it, or rename it"


def _told(path: Path) -> bool:
    """Whether a file that is not read is worth a word: neither hidden nor what usually lies there."""
    return path.suffix.lower() not in BESIDE and not any(part.startswith(".") for part in path.parts)


def people(
    dataset: str,
    pictures: Iterable[PictureOrRejection],
    boxes: Path | None,
    detector: PersonDetector | None,
    labeller: KeypointEstimator | None,
) -> Iterator[SampleOrRejection]:
    """The people of all pictures as samples, labelled if there is a ``labeller``, in order; rejections are passed on.

    Ids: ``<dataset>/<name>-<person>``, people counted from 0; whom a detector finds in the frames of a film is followed
    and has one number throughout. A picture without people is yielded as (id, reason).
    UserError if there is both a box file and a detector.
    """
    if detector is not None and boxes is not None:
        raise UserError(f"the {dataset} reader has both a detector and a file of boxes; remove one of the options")
    if detector is not None:
        found = _detected(dataset, pictures, detector)
    else:
        found = _boxed(dataset, pictures, _read_boxes(boxes))
    if labeller is None:
        yield from found
        return
    from posesyn_core.inference.labelling import with_labels  # loads torch

    yield from with_labels(found, labeller)


def _boxed(dataset: str, pictures: Iterable[PictureOrRejection], listed: Boxes | None) -> Iterator[SampleOrRejection]:
    """The people ``listed``, or without a list the whole pictures; (id, reason) for those of no picture at the end."""
    known, films = set[str](), set[str]()
    for picture in pictures:
        if not isinstance(picture, Picture):
            known.add(picture[0].removeprefix(f"{dataset}/"))
            yield picture
        elif listed is None:
            yield from _samples(dataset, picture, [[0, 0, picture.size[0] - 1, picture.size[1] - 1]], "")
        else:
            known.add(picture.name)
            films.add(picture.film)
            found = listed.get(picture.name, [])
            yield from _samples(dataset, picture, found, "the box file has nobody in this picture")
    for name in listed or ():
        film = name.rpartition("/")[0]  # of which not every frame is taken
        if not (name in known or film in known or (film and film in films)):
            yield f"{dataset}/{name}", "the box file has people of this picture, but there is no such picture"


def _read_boxes(path: Path | None) -> Boxes | None:
    """The people's boxes by picture; None without a file, UserError if it is missing or malformed."""
    if path is None:
        return None
    expected = "an object with a list of boxes [x0, y0, x1, y1] for every picture"
    document = load_json(existing_file(path.expanduser(), "box file"), expected)
    if not (isinstance(document, dict) and all(isinstance(boxes, list) for boxes in document.values())):
        raise UserError(f"the box file {str(path)!r} is not {expected}")
    return document


def _detected(
    dataset: str, pictures: Iterable[PictureOrRejection], detector: PersonDetector
) -> Iterator[SampleOrRejection]:
    remaining, film, tracker = iter(pictures), "", Tracker()
    while group := list(islice(remaining, LOOKED_AT)):
        found = iter(_look(detector, [entry for entry in group if isinstance(entry, Picture)]))
        for entry in group:
            boxes = next(found) if isinstance(entry, Picture) else None
            if not isinstance(entry, Picture):
                yield entry
            elif isinstance(boxes, SampleError):
                yield f"{dataset}/{entry.name}", str(boxes)
            else:
                numbers: Sequence[int] = range(len(boxes or ()))
                if entry.film:
                    film, tracker = entry.film, tracker if film == entry.film else Tracker()
                    numbers = tracker.follow(boxes or (), entry.time)
                yield from _samples(dataset, entry, boxes or (), "the detector found nobody in this picture", numbers)


def _look(detector: PersonDetector, pictures: Sequence[Picture]) -> list[list[Any] | SampleError]:
    """The boxes of each picture, or why there are none; if the detector fails, it is asked picture by picture."""
    if not pictures:
        return []
    try:
        seen = [picture.pixels() for picture in pictures]
        people = expect(detector.find_people(seen), Detections, len(seen), detector.find_people)
        return [found.boxes.tolist() for found in people]
    except UserError:
        raise
    except Exception as error:  # whatever a plugin raises for one picture rejects that picture
        if len(pictures) == 1:
            return [error if isinstance(error, SampleError) else SampleError(f"{type(error).__name__}: {error}")]
        return [boxes for picture in pictures for boxes in _look(detector, [picture])]


def _samples(
    dataset: str, picture: Picture, boxes: Sequence[Any], nobody: str, numbers: Sequence[int] | None = None
) -> Iterator[SampleOrRejection]:
    """The people in ``boxes``, with those ``numbers``, else counted."""
    if not boxes:
        yield f"{dataset}/{picture.name}", nobody

    def build(sample_id: str, box: ArrayLike) -> Sample:
        corners = np.asarray(box, np.float32)
        if corners.shape != (4,):
            raise SampleError(f"a box must be four numbers x0, y0, x1, y1, not {box!r}")
        check_box(corners, *picture.size)
        joints = len(SMPL24)
        return Sample(
            id=sample_id,
            image=picture.image,
            box=corners,
            joint_set=SMPL24.name,
            keypoints2d=np.zeros((joints, 2), np.float32),
            confidence=np.zeros(joints, np.float32),
        )

    counted = range(len(boxes)) if numbers is None else numbers
    named = zip(counted, boxes, strict=True)
    yield from build_each(((f"{dataset}/{picture.name}-{number}", box) for number, box in named), build)
