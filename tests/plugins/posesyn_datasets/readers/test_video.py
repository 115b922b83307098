"""Unlabelled videos."""

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.films import decoded, frame_rate
from posesyn_core.files.images import load_image
from posesyn_core.values import Detections, Image, SampleOrRejection
from posesyn_datasets.readers.video import Ucf101Config, Ucf101Reader, VideoConfig, VideoReader
from tests.plugins.posesyn_datasets.overlays import drawn

SIZE = (64, 48)


def write_video(path: Path, frames: int = 7) -> None:
    """A video whose frame n is grey of brightness 30 n with a white top left corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = SIZE
        for number in range(frames):
            pixels = np.full((SIZE[1], SIZE[0], 3), 30 * number, np.uint8)
            pixels[:16, :16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(VideoReader(VideoConfig(root, **options)).samples())


def test_frames_are_sampled_at_the_stride_without_labels(root: Path) -> None:
    write_video(root / "clips/jump.mp4")
    write_video(root / "walk.avi", frames=1)
    samples = [sample for sample in read(root, stride=3) if isinstance(sample, Sample)]
    names = ["clips/jump.mp4/000000", "clips/jump.mp4/000003", "clips/jump.mp4/000006", "walk.avi/000000"]
    assert [sample.id for sample in samples] == [f"video/{name}-0" for name in names]
    for sample, number in zip(samples, (0, 3, 6, 0), strict=True):
        image = load_image(sample.image)
        assert image.shape == (48, 64, 3)
        assert image[30:, 30:].mean() == pytest.approx(30 * number, abs=6)
        assert image[2:12, 2:12].mean() > 235
        assert sample.box.tolist() == [0, 0, 63, 47]
        assert not sample.confidence.any()
        assert sample.keypoints2d.shape == (24, 2)
        assert sample.joints3d is sample.smpl is sample.camera is None
        drawn(sample)


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_a_film_that_was_cut_is_told(root: Path, suffix: str) -> None:
    """Where the cut is at the end of a frame, FFmpeg says nothing."""
    path = root / f"a{suffix}"
    write_video(path, frames=8)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos]
    path.write_bytes(path.read_bytes()[: places[4]])
    *frames, told = read(root, stride=1)
    assert 3 <= len(frames) <= 5
    assert isinstance(told, tuple)
    assert told[0] == f"video/a{suffix}"
    assert "the video can't be decoded after frame" in told[1]
    assert isinstance(read(root, stride=8)[-1], Sample)  # no frame that is taken was lost


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_film_whose_frames_are_shown_for_unequal_times_is_complete(root: Path, suffix: str) -> None:
    """As telephones and recorders of screens write them: its length and its rate tell more frames than there are."""
    root.mkdir(parents=True, exist_ok=True)
    with av.open(str(root / f"a{suffix}"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + 2 * (number // 3), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = read(root, stride=1)
    assert len(found) == 12
    assert all(isinstance(one, Sample) for one in found)


def test_a_film_whose_rate_is_damaged_is_told(root: Path) -> None:
    """Its header says one frame in days; the length and the frames that are left say that most were lost."""
    path = root / "a.avi"
    write_video(path)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos]
    data = path.read_bytes()[: places[1]]
    rate = data.index(b"strh") + 8 + 20
    path.write_bytes(data[:rate] + struct.pack("<II", 1 << 24, 1) + data[rate + 8 :])
    assert isinstance(read(root, stride=3)[-1], tuple)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_frames_behind_a_damaged_one_keep_their_numbers(root: Path, suffix: str) -> None:
    """The decoder says nothing of a frame whose beginning it does not know."""
    path = root / f"a{suffix}"
    write_video(path, frames=8)
    with av.open(str(path)) as container:
        packet = bytes([packet for packet in container.demux(video=0) if packet.size][3])
    data = path.read_bytes()
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, packet.replace(b"\0\0\1\xb6", bytes(4))))
    *frames, told = read(root, stride=1)
    assert [sample.id[-8:-2] for sample in frames if isinstance(sample, Sample)] == [
        f"{number:06d}" for number in (0, 1, 2, 4, 5, 6, 7)
    ]
    assert isinstance(told, tuple)
    assert "1 of its frames can't be decoded, the first is number 3" in told[1]


def test_a_lost_frame_is_told_whatever_its_time_was(root: Path) -> None:
    """Where it hardly had any, the wait for the next one tells nothing; that it was sent does."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = SIZE
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate((0, 40, 80, 81, 120, 160)):
            frame = av.VideoFrame.from_ndarray(np.full((SIZE[1], SIZE[0], 3), 30 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert all(isinstance(entry, Sample) for entry in read(root, stride=1))
    with av.open(str(path)) as container:
        packet = bytes([packet for packet in container.demux(video=0) if packet.size][3])
    path.write_bytes(path.read_bytes().replace(packet, packet.replace(b"\0\0\1\xb6", bytes(4))))
    *frames, told = read(root, stride=1)
    assert len(frames) == 5 and isinstance(told, tuple)
    assert "5 of some 6 frames" in told[1]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.mkv", "libx264", {"bf": "3", "flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "10"}),
        ("a.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "10"}),
        ("a.ts", "mpeg2video", {"bf": "2"}),
        ("a.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_a_complete_film_has_all_its_frames(root: Path, name: str, codec: str, options: dict[str, str]) -> None:
    """Frames that come in another order than they are shown in, or are never shown, are none that got lost."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
    with av.open(str(root / name), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(40):
            pixels = np.roll(still, 3 * number, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    entries = read(root, stride=1)
    assert len(entries) == 40
    assert all(isinstance(entry, Sample) for entry in entries), [entry for entry in entries if isinstance(entry, tuple)]


def test_boxes_of_no_film_are_refused(root: Path, tmp_path: Path) -> None:
    write_video(root / "a.avi", frames=2)
    boxes = {"a.avi/000000": [[1, 2, 30, 40]], "a.avi/000001": [[1, 2, 30, 40]], "b.avi/000000": [[1, 2, 30, 40]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    _, strange = read(root, boxes=tmp_path / "boxes.json")
    assert strange == ("video/b.avi/000000", "the box file has people of this picture, but there is no such picture")


class Swaps:
    """A detector of two people who come nearer, told in another order in every other frame."""

    def __init__(self) -> None:
        self.asked = 0

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        found = []
        for _ in images:
            at, self.asked = self.asked, self.asked + 1
            people = [[2 + at, 5, 20 + at, 40], [40 - at, 5, 60 - at, 45]][:: 1 if at % 2 == 0 else -1]
            found.append(Detections(people, [0.9, 0.8]))
        return found


def test_people_are_followed_through_a_video_and_begin_anew_in_the_next(root: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(root / name, frames=6)
    assert frame_rate(root / "a.mp4") == 25
    found = [sample for sample in read(root, stride=1, detector=Swaps()) if isinstance(sample, Sample)]
    assert {sample.id.rpartition("-")[2] for sample in found} == {"0", "1"} and len(found) == 24
    for video in ("a.mp4", "b.mp4"):
        edges = [float(one.box[0]) for one in found if one.id.startswith(f"video/{video}/") and one.id.endswith("-0")]
        assert len(edges) == 6 and (np.abs(np.diff(edges)) == 1).all()  # the same person, who moves a pixel a frame


def test_people_come_from_the_box_file(root: Path, tmp_path: Path) -> None:
    write_video(root / "jump.mp4", frames=3)
    boxes = {"jump.mp4/000000": [[1, 2, 30, 40], [5, 5, 60, 45]], "jump.mp4/000001": [], "jump.mp4/000002": [[1, 2, 3]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    first, second, nobody, broken = read(root / "jump.mp4", stride=1, boxes=tmp_path / "boxes.json")
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert (first.id, first.box.tolist()) == ("video/jump.mp4/000000-0", [1, 2, 30, 40])
    assert (second.id, second.box.tolist()) == ("video/jump.mp4/000000-1", [5, 5, 60, 45])
    assert nobody == ("video/jump.mp4/000001", "the box file has nobody in this picture")
    assert isinstance(broken, tuple)
    assert "four numbers" in broken[1]


def test_a_broken_video_is_refused_and_the_next_one_read(root: Path) -> None:
    write_video(root / "b.avi", frames=1)
    (root / "a.mp4").write_bytes(b"no video")
    broken, good = read(root)
    assert isinstance(broken, tuple)
    assert broken[0] == "video/a.mp4"
    assert "can't be decoded" in broken[1]
    assert isinstance(good, Sample)


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.*not a folder"):
        read(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"no video .*\.mp4.*data"):
        read(root)
    write_video(root / "b.avi", frames=1)
    with pytest.raises(UserError, match=r"box file .*gone\.json.*does not exist"):
        read(root, boxes=tmp_path / "gone.json")
    (tmp_path / "boxes.json").write_text('{"b.avi/000000": 3}')
    with pytest.raises(UserError, match=r"boxes\.json.*list of boxes"):
        read(root, boxes=tmp_path / "boxes.json")


def test_ucf101(root: Path) -> None:
    names = ["Archery/v_Archery_g01_c01.avi", "YoYo/v_YoYo_g08_c02.avi"]
    write_video(root / "UCF-101" / names[0], frames=2)
    write_video(root / "UCF-101" / names[1], frames=2)
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(f"{names[1]} 101\r\nYoYo/v_YoYo_g09_c01.avi 101\r\n")
    (lists / "testlist01.txt").write_text(f"{names[0]}\n")

    def ids(split: str) -> list[str]:
        entries = Ucf101Reader(Ucf101Config(root, split)).samples()
        return [entry.id if isinstance(entry, Sample) else entry[1] for entry in entries]

    assert ids("all") == [f"ucf101/{name}/000000-0" for name in names]
    assert ids("testlist01") == [f"ucf101/{names[0]}/000000-0"]
    assert ids("trainlist01") == [
        f"ucf101/{names[1]}/000000-0",
        "the video YoYo/v_YoYo_g09_c01.avi is missing in UCF-101",
    ]
    with pytest.raises(UserError, match=r"testlist02\.txt"):
        ids("testlist02")


def test_ucf101_says_what_is_missing(root: Path) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"misses UCF-101.*UCF101\.rar"):
        list(Ucf101Reader(Ucf101Config(root)).samples())


def test_a_real_video(shared: Path) -> None:
    path = shared / "data/images/video/single_person_demo.mp4"
    if not path.is_file():
        pytest.skip(f"no {path}")
    samples = read(path, stride=30)
    assert len(samples) == 2
    for sample in samples:
        assert isinstance(sample, Sample)
        image = load_image(sample.image)
        assert image.shape == (1920, 1080, 3)
        assert image.std() > 20


def colours(image: np.ndarray) -> str:
    """The quarters of a picture, from the top left: r, g, b or w."""
    names = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "w": (255, 255, 255)}
    height, width = image.shape[:2]
    points = [image[y, x].astype(int) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join(min(names, key=lambda name: np.abs(point - names[name]).sum()) for point in points)


def write_quarters(path: Path, aspect: tuple[int, int] = (1, 1)) -> None:
    """Three frames of 64 x 48, red, green, blue and white from the top left."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("matrix", "seen", "size"),
    [
        ((1, 0, 0, 1), "rgbw", (64, 48)),
        ((0, 1, -1, 0), "brwg", (48, 64)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), "wbgr", (64, 48)),
        ((0, -1, 1, 0), "gwrb", (48, 64)),
        ((-1, 0, 0, 1), "grwb", (64, 48)),  # a front camera's mirror image
        ((1, 0, 0, -1), "bwrg", (64, 48)),
        ((0, 1, 1, 0), "rbgw", (48, 64)),
        ((0, -1, -1, 0), "wgbr", (48, 64)),
    ],
)
def test_frames_are_turned_and_mirrored_as_players_show_them(
    tmp_path: Path, matrix: tuple[int, ...], seen: str, size: tuple[int, int]
) -> None:
    write_quarters(tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # where the track's header has its matrix: a b u c d v x y w
    a, b, c, d = (round(65536 * value) for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    _, image = next(decoded(tmp_path / "a.mp4", lambda _: True))
    assert (colours(image), image.shape[1::-1]) == (seen, size)
    _, stored = next(decoded(tmp_path / "a.mp4", lambda _: True, as_stored=True))
    assert colours(stored) == "rgbw"


@pytest.mark.parametrize(("aspect", "size"), [((4, 3), (85, 48)), ((8, 9), (64, 54)), ((1, 1), (64, 48))])
def test_pixels_are_made_square(tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]) -> None:
    write_quarters(tmp_path / "a.mp4", aspect)
    _, image = next(decoded(tmp_path / "a.mp4", lambda _: True))
    assert (colours(image), image.shape[1::-1]) == ("rgbw", size)


def test_what_is_not_read_is_counted_and_videos_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("clip10.mp4", "clip2.mp4"):
        write_quarters(tmp_path / name)
    for name in ("film.rm", "notes.txt", ".hidden.xyz", "photo.heic"):
        (tmp_path / name).touch()
    found = list(VideoReader(VideoConfig(tmp_path)).samples())
    skipped = {entry[0]: entry[1] for entry in found if isinstance(entry, tuple)}
    assert skipped.keys() == {"video/film.rm", "video/photo.heic"}
    assert "is no video's" in skipped["video/film.rm"]
    ids = [entry.id for entry in found if isinstance(entry, Sample)]
    assert ids == ["video/clip2.mp4/000000-0", "video/clip10.mp4/000000-0"]
