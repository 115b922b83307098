"""Unlabelled videos: any file or folder of them, and UCF101 (Soomro et al., CRCV-TR-12-01).

PyAV decodes them. A sampled frame is handed on as JPEG bytes, which a run keeps in its table of scores.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import NOTHING, define
from numpy.typing import NDArray

from posesyn_core import option
from posesyn_core.components import KeypointEstimator, PersonDetector
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import in_order
from posesyn_core.files.paths import existing_file, inside
from posesyn_core.files.reading import read_text, reason_of
from posesyn_core.files.upright import Storage, orientation
from posesyn_core.values import Image, SampleOrRejection
from posesyn_datasets.readers.annotations import existing_root
from posesyn_datasets.readers.checks import expect_layout
from posesyn_datasets.readers.unlabelled import DETECTOR, LABELLER, Picture, PictureOrRejection, people, sorted_out

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
            ".webm", ".wmv"}  # fmt: skip
JPEG_QUALITY = 95

ODDEST_PIXEL = (0.1, 10.0)
"""Aspect ratios of pixels beyond these are damage."""

Named = Iterator[tuple[str, Path | str]]
"""Videos with their names, by which samples and the box file call them; or an id, and why that file is not read."""


def _stride() -> int:
    doc = "take every n-th frame, from the first; videos have 24 to 60 a second"
    stride: int = option(15, doc, least=1)
    return stride


@define
class VideoConfig:
    """Which videos to read; they have no labels: name a ``labeller``, or set ``score.labels``.

    ``root`` is one video file, or a folder of them at any depth (.mp4, .avi, .mov, .mkv, .webm and others).
    """

    root: Path = option(NOTHING, "a video file, or a folder of videos at any depth")
    stride: int = _stride()
    boxes: Path | None = option(
        None, "JSON with the people's boxes by frame ('<video>/<number>'); empty = the whole frame is one person's"
    )
    detector: PersonDetector | None = option(None, DETECTOR)
    labeller: KeypointEstimator | None = option(None, LABELLER)
    follow_links: bool = follow_links()


@define
class Ucf101Config:
    """Where UCF101 lies; it has no poses: set ``score.labels = "estimated_2d"`` or ``"estimated_3d"``.

    Get UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip from https://www.crcv.ucf.edu/data/UCF101.php;
    ``root`` holds the unpacked ``UCF-101/<action>/v_*.avi`` and, for a split, ``ucfTrainTestlist/<split>.txt``.
    """

    root: Path = option(NOTHING, "folder of the data set, with UCF-101 and ucfTrainTestlist")
    split: str = option("all", "which videos: all, or those of a list: trainlist01, testlist01, trainlist02, ...")
    stride: int = _stride()
    boxes: Path | None = option(
        None, "JSON with the people's boxes by frame ('<action>/<video>/<number>'); empty = the whole frame is one's"
    )
    detector: PersonDetector | None = option(None, DETECTOR)
    labeller: KeypointEstimator | None = option(None, LABELLER)
    follow_links: bool = follow_links()


@define
class VideoReader:
    """Reads videos; ids: ``video/<video>/<frame>-<person>``, frames counted from 0."""

    config: VideoConfig

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by name, then by frame."""
        config = self.config
        yield from people("video", self._frames(), config.boxes, config.detector, config.labeller)

    def _frames(self) -> Iterator[PictureOrRejection]:
        for name, found in self._videos():
            if isinstance(found, str):
                yield name, found
            else:
                yield from _frames("video", name, found, self.config.stride)

    def _videos(self) -> Named:
        root = self.config.root.expanduser()
        if root.is_file():
            yield root.name, root
            return
        folder, config = existing_root(root, "video"), self.config
        files, skipped = sorted_out(
            "video", folder, SUFFIXES, "video", follow_links=config.follow_links, boxes=config.boxes
        )
        yield from skipped
        yield from ((path.relative_to(root).as_posix(), path) for path in files)


@define(slots=False)  # cached_property needs a __dict__
class Ucf101Reader:
    """Reads UCF101; ids: ``ucf101/<action>/<video>/<frame>-<person>``, frames counted from 0."""

    config: Ucf101Config

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; in the order of the list, or by name, then by frame."""
        yield from people("ucf101", self._frames(), self.config.boxes, self.config.detector, self.config.labeller)

    def _frames(self) -> Iterator[PictureOrRejection]:
        for name in self._names:
            try:
                path = inside(self._folder, name, follow_links=self.config.follow_links)
            except SampleError as error:
                yield f"ucf101/{name}", str(error)
                continue
            if path.is_file():
                yield from _frames("ucf101", name, path, self.config.stride)
            else:
                yield f"ucf101/{name}", f"the video {name} is missing in {self._folder.name}"

    @property
    def _folder(self) -> Path:
        return self.config.root / "UCF-101"

    @cached_property
    def _names(self) -> list[str]:
        root = existing_root(self.config.root, "ucf101")
        expect_layout(root, ["UCF-101"], "ucf101", "unpack UCF101.rar there")
        if self.config.split == "all":
            names = [path.relative_to(self._folder).as_posix() for path in in_order(self._folder.glob("*/*.avi"))]
        else:
            listed = existing_file(root / "ucfTrainTestlist" / f"{self.config.split}.txt", "split list")
            names = [line.split()[0] for line in read_text(listed, "split list").splitlines() if line.strip()]
        if not names:
            raise UserError(f"there is no video <action>/v_*.avi of the split {self.config.split!r} in {str(root)!r}")
        return names


def _frames(dataset: str, name: str, path: Path, stride: int) -> Iterator[PictureOrRejection]:
    """Every ``stride``-th frame; (id, reason) for a video, or the rest of one, that can't be decoded."""
    from posesyn_core.files.images import encode_jpeg

    at = -1
    try:
        for at, image in decoded(path, lambda number: number % stride == 0):
            height, width = image.shape[:2]
            encoded = encode_jpeg(image, JPEG_QUALITY)
            yield Picture(f"{name}/{at:06d}", encoded, (width, height), image.copy)
    except Exception as error:  # whatever a damaged file leads FFmpeg and its binding to
        yield f"{dataset}/{name}", f"the video can't be decoded{f' after frame {at}' * (at >= 0)}: {fault(error)}"
    else:
        if at < 0:
            yield f"{dataset}/{name}", "the file has no video frames"


def fault(error: Exception) -> str:
    """Why a video can't be decoded, in a clause."""
    return str(getattr(error, "strerror", None) or reason_of(error))


def decoded(path: Path, wanted: Callable[[int], bool], *, as_stored: bool = False) -> Iterator[tuple[int, Image]]:
    """(number, RGB image) of the frames whose number is ``wanted``.

    As players show them: with square pixels, turned and mirrored as the file says; or as they are stored. SampleError
    if a frame is larger than any picture may be; FFmpegError and others if the file is no video.
    """
    import av

    from posesyn_core.files.images import MAX_PIXELS

    if not path.is_file():
        raise SampleError("it does not exist, or is no regular file")
    with av.open(str(path), metadata_errors="replace") as container:
        for stream in container.streams.video[:1]:
            aspect = float(stream.sample_aspect_ratio or 1)
            if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
                raise SampleError(f"its frames have more than {MAX_PIXELS / 1e6:.0f} million pixels")
            for number, frame in enumerate(container.decode(stream)):
                if wanted(number):
                    pixels = frame.to_ndarray(format="rgb24")
                    yield number, pixels if as_stored else _as_shown(pixels, aspect, _matrix(frame))


def _matrix(frame: "VideoFrame") -> NDArray[np.int32] | None:
    """The linear part (2, 2) of the frame's display matrix, a row for x and one for y of the stored frame; or None."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    return None


def _as_shown(stored: Image, aspect: float, matrix: NDArray[np.int32] | None) -> Image:
    """A frame with square pixels, turned as its display matrix says (to the nearest quarter) and mirrored."""
    import cv2

    height, width = stored.shape[:2]
    if ODDEST_PIXEL[0] < aspect < ODDEST_PIXEL[1] and aspect != 1:  # the shorter side is stretched: nothing gets lost
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        stored = cv2.resize(stored, size, interpolation=cv2.INTER_LINEAR)
    if matrix is None or not matrix.any():
        return stored
    (xx, xy), (yx, yy) = matrix.tolist()
    exchanged = abs(xx) + abs(yy) < abs(xy) + abs(yx)
    tag = orientation(exchanged, (yx if exchanged else xx) < 0, (xy if exchanged else yy) < 0)
    return Storage(tag, stored.shape[1], stored.shape[0]).pixels(stored)
