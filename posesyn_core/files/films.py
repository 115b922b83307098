"""Films: their frames as players show them, their frame rate, and new ones. PyAV does it (the extra ``video``)."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import atomic_path
from posesyn_core.files.reading import reason_of
from posesyn_core.files.sniffing import head_of, not_data
from posesyn_core.files.upright import Storage, orientation
from posesyn_core.values import Image

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

ODDEST_PIXEL = (0.1, 10.0)
"""Aspect ratios of pixels beyond these are damage."""
MICROSECONDS = 1e6
LOOKED_AHEAD = 100_000
"""Frames behind the end of a film among which a wanted one is looked for."""
SLOWEST_RATE = 1 / 60
"""Frames a second; fewer are damage."""
ALL_SEEN = frozenset({"h264", "hevc", "mjpeg", "mpeg4"})
"""Codecs that send nothing but frames to be shown, as long as a film is not interlaced (VP9 and AV1 send others) and no
AVI (where an empty one follows two that share a packet)."""
USUAL_RATE = 25.0
"""Frames a second of a file that does not say."""


def _opened(path: Path) -> "InputContainer":
    """The film; SampleError if it is no regular file, or a bad download."""
    import av

    if not path.is_file():
        raise SampleError("it does not exist, or is no regular file")
    known = not_data(head_of(path))
    if known:
        raise SampleError(known)
    return av.open(str(path), metadata_errors="replace")


def frame_rate(path: Path) -> float:
    """Frames a second. SampleError, FFmpegError and others if the file is no film."""
    with _opened(path) as container:
        rates = [float(stream.average_rate or 0) for stream in container.streams.video[:1]]
    return rates[0] if rates and rates[0] > 0 else USUAL_RATE


def write_film(target: Path, frames: Iterable[Image], fps: float) -> None:
    """Write frames of one size as H.264 in mp4, atomically. UserError without PyAV."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError("films need PyAV: pip install 'posesyn[video]'") from error

    with atomic_path(target) as temporary, av.open(str(temporary), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        size: tuple[int, int] | None = None
        for image in frames:
            if size is None:
                size = (image.shape[0] // 2 * 2, image.shape[1] // 2 * 2)  # yuv420p halves both
                stream.height, stream.width = size
            cut = np.ascontiguousarray(image[: size[0], : size[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        if size is not None:
            container.mux(stream.encode())


def fault(error: Exception) -> str:
    """Why a video can't be decoded, in a clause."""
    return str(getattr(error, "strerror", None) or reason_of(error))


def decoded(path: Path, wanted: Callable[[int], bool], *, as_stored: bool = False) -> Iterator[tuple[int, Image]]:
    """(number, RGB image) of the frames whose number is ``wanted``.

    As players show them: with square pixels, turned and mirrored as the file says; or as they are stored. SampleError
    if a frame is larger than any picture may be, and at the end of a film that was cut; FFmpegError and others if the
    file is no video.
    """
    from posesyn_core.files.images import MAX_PIXELS

    with _opened(path) as container:
        for stream in container.streams.video[:1]:
            aspect = float(stream.sample_aspect_ratio or 1)
            if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
                raise SampleError(f"its frames have more than {MAX_PIXELS / 1e6:.0f} million pixels")
            film = _Film(stream, from_zero=container.format.name == "avi")
            for packet in container.demux(stream):
                for frame in film.frames(packet):
                    number = film.add(frame)
                    if wanted(number):
                        pixels = frame.to_ndarray(format="rgb24")
                        yield number, pixels if as_stored else _as_shown(pixels, aspect, _matrix(frame))
            missing = max(film.missing(_end(container, stream), stream.frames), film.unseen())
            if any(map(wanted, range(film.count, film.count + min(missing, LOOKED_AHEAD)))):
                raise SampleError(f"it ends after {film.count} of some {film.count + missing} frames: is it complete?")
            lost = list(filter(wanted, film.lost))
            if lost:
                raise SampleError(f"{len(lost)} of its frames can't be decoded, the first is number {lost[0]}")


class _Film:
    """What was decoded of a film: how many frames, when the last one is shown, and the longest wait for a frame.

    A damaged frame may vanish without a word: the times of what was sent to the decoder tell that it was there, so
    that the frames behind it keep their numbers. Not all that is sent is to be seen, however: two fields may make one
    frame, and some codecs send frames that others refer to. A frame is lost if it was sent and the one before it
    stands still for longer.
    """

    def __init__(self, stream: "VideoStream", *, from_zero: bool) -> None:
        """``from_zero``: the first frame's time is 0 in all films of the kind."""
        self._all_seen = stream.codec_context.name in ALL_SEEN and not from_zero
        self._sent = 0
        self.count = 0
        """Frames that there should have been until now."""
        self.lost: list[int] = []
        self.last = 0.0
        self.longest = 0.0
        self.usual = 1 / (_rate(stream) or USUAL_RATE)
        self._begun = not from_zero
        self._shown = False
        self._times: list[float] = []
        """When what was sent, and was not seen yet, is to be shown; a heap."""

    def frames(self, packet: "Packet") -> list["VideoFrame"]:
        """What the decoder makes of the next packet; nothing of a damaged one, and those behind it are decoded."""
        from av import FFmpegError

        timed = packet.pts is not None and packet.time_base
        if not self._begun and packet.dts is not None and packet.time_base:
            self._begun, before = True, round(packet.dts * float(packet.time_base) / self.usual)
            self.count = max(0, min(LOOKED_AHEAD, before))
            self.lost += range(self.count)
        self._sent += bool(packet.size and not packet.is_discard)
        if packet.size and not packet.is_discard and timed:
            heappush(self._times, float(packet.pts * packet.time_base))
        try:
            return packet.decode()
        except FFmpegError:
            if not timed or not self._shown:  # nothing else would tell that it was there, or the film is none at all
                raise
            return []

    def add(self, frame: "VideoFrame") -> int:
        """One frame more; return its number."""
        lost = 0
        self._all_seen &= not frame.interlaced_frame
        if frame.time is not None:
            sent = 0
            while self._times and self._times[0] < frame.time:
                sent += heappop(self._times) > self.last
            if self._shown:
                waited = frame.time - self.last
                lost = min(sent, max(0, round(waited / max(self.usual, self.longest)) - 1))
                self.longest = self.longest if lost else max(self.longest, waited)
            self.last = frame.time
        self._shown = True
        self.lost += range(self.count, self.count + lost)
        self.count += lost + 1
        return self.count - 1

    def missing(self, end: float | None, announced: int) -> int:
        """How many frames should have come until ``end`` (seconds): of a cut file FFmpeg says nothing.

        Films whose frames are shown for unequal times announce no number of frames that could be trusted: the last one
        may be shown for as long as any other was. Where the end is not known, ``announced`` is all that there is.
        """
        if end is None:
            return max(0, announced - self.count)
        if not self._shown:
            return 0
        return max(0, round((end - self.last) / (self.longest or self.usual)) - 1)

    def unseen(self) -> int:
        """How many frames more were sent than came or were lost, if the film's codec shows all that is sent: damaged
        times tell nothing."""
        return max(0, self._sent - self.count) if self._all_seen and self._shown else 0


def _rate(stream: "VideoStream") -> float | None:
    """Frames a second, if the file says a number that can be."""
    rate = float(stream.average_rate or 0)
    return rate if rate >= SLOWEST_RATE else None


def _end(container: "InputContainer", stream: "VideoStream") -> float | None:
    """The second at which the film ends, as the file announces it; None if it does not.

    AVI, whose frames are shown for equal times from the first on, says it twice.
    """
    of_equal_times = container.format.name == "avi"
    rate = _rate(stream) if of_equal_times else None
    length = max(float((stream.duration or 0) * (stream.time_base or 0)), stream.frames / rate if rate else 0)
    if length > 0:
        return length + float(0 if of_equal_times else (stream.start_time or 0) * (stream.time_base or 0))
    if container.duration and len(container.streams) == 1:
        return ((container.start_time or 0) + container.duration) / MICROSECONDS
    return None


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
