"""Unlabelled videos: any file or folder of them, and UCF101 (Soomro et al., CRCV-TR-12-01).

PyAV decodes them. A sampled frame is handed on as JPEG bytes, which a run keeps in its table of scores.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.components import KeypointEstimator, PersonDetector
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.films import decoded, fault, frame_rate
from posesyn_core.files.locating import in_order
from posesyn_core.files.paths import existing_file, inside
from posesyn_core.files.reading import read_text
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.annotations import existing_root
from posesyn_datasets.readers.checks import expect_layout
from posesyn_datasets.readers.unlabelled import DETECTOR, LABELLER, Picture, PictureOrRejection, people, sorted_out

SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
            ".webm", ".wmv"}  # fmt: skip
JPEG_QUALITY = 95

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
    """Reads videos; ids: ``video/<video>/<frame>-<person>``, frames counted from 0.

    Whom a detector finds is followed from frame to frame: the same person has the same number throughout a video.
    """

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
    """Reads UCF101; ids: ``ucf101/<action>/<video>/<frame>-<person>``, frames and people as in :class:`VideoReader`."""

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
        rate = frame_rate(path)
        for at, image in decoded(path, lambda number: number % stride == 0):
            height, width = image.shape[:2]
            encoded = encode_jpeg(image, JPEG_QUALITY)
            yield Picture(f"{name}/{at:06d}", encoded, (width, height), image.copy, film=name, time=at / rate)
    except Exception as error:  # whatever a damaged file leads FFmpeg and its binding to
        yield f"{dataset}/{name}", f"the video can't be decoded{f' after frame {at}' * (at >= 0)}: {fault(error)}"
    else:
        if at < 0:
            yield f"{dataset}/{name}", "the file has no video frames"
