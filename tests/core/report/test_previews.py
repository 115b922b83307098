"""Previews of clips: what stands where, and what is told of frames that are not there."""

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core import Camera, Motion, PoseEstimate, Sample, SmplParams, UserError, Verdict
from posesyn_core.body.guidance import guidance_maps
from posesyn_core.body.model import load_body
from posesyn_core.body.planning import plan_clips
from posesyn_core.cli import main
from posesyn_core.files.images import decode_image, encode_jpeg, encode_png
from posesyn_core.pipeline.filter import labelled_frames
from posesyn_core.pipeline.run import Clip, DrawnFrame, FilteredFrame, Judgement, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.report.previews import BAR, GREY, HEIGHT, write_previews
from posesyn_core.values import ClipPlan

WIDTH = 168
"""Of a tile: the pictures are 120 x 160."""
TALL = HEIGHT + BAR
ORANGE = (220, 120, 40)
BODY = load_body()

Make = Callable[..., Run]


def planned(name: str, frames: int) -> ClipPlan:
    """Somebody stands upright and sinks, in a picture of 120 x 160."""
    camera = Camera([1200.0, 1200.0], [60.0, 80.0])
    smpl = SmplParams([np.pi, 0, 0], np.zeros((23, 3)), np.zeros(10), (0.0, 0.3, 20.0))
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    joints = np.repeat((rest - rest[0] + [0, 1, 0])[None], frames, axis=0)
    joints[:, :, 1] -= np.linspace(0, 0.4, frames)[:, None]
    picture = encode_png(np.full((160, 120, 3), ORANGE, np.uint8))
    reference = Sample("r", picture, [0, 0, 1, 1], "smpl24", np.zeros((24, 2)), np.ones(24), camera)  # type: ignore[arg-type]
    (plan,) = plan_clips(
        BODY, [Motion(name, "s", "sinks", joints.astype(np.float32))], [reference],
        [PoseEstimate(np.zeros((24, 3)), np.zeros((24, 2)), camera, smpl)], names=[name], seeds=[1],
        orientation="anchored",
    )  # fmt: skip
    return plan


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def run_of(errors: Sequence[float], guidance: tuple[str, ...] = (), clips: int = 1, keep_all: bool = False) -> Run:
        """A run with clips of one frame per error; those above 100 mm were dropped."""
        run = create_run(tmp_path / "run", parse_recipe('dataset = "folder"\n[score]\nhard = 4'), Registry.discover())
        rows = []
        for number in range(clips):
            frames = []
            for at, error in enumerate(errors):
                path, keep = tmp_path / f"{number}-{at}.jpg", error <= 100
                if keep or keep_all:
                    path.write_bytes(encode_jpeg(np.full((160, 120, 3), ORANGE, np.uint8)))
                frames.append(DrawnFrame(path, keep or keep_all, Judgement(None, Verdict(keep, error))))
            plan = planned(f"clip{number}", len(errors))
            rows.append(Row(plan.id, Clip(plan, tuple(frames), 120, 160, "", guidance)))
        run.clips.write_part(0, rows)
        run.finish("animate", {})
        return run

    return run_of


def tile(image: np.ndarray, column: int, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The bar and the picture at a place of a strip."""
    found = image[row * TALL : (row + 1) * TALL, column * WIDTH : (column + 1) * WIDTH]
    return found[:BAR], found[BAR:]


def test_a_strip_has_every_nth_frame_above_its_maps(make: Make) -> None:
    run = make([50.0, 300.0, 40.0, 60.0, 250.0], guidance=("depth", "dwpose"))
    (path,) = write_previews(run, every=2)
    assert path.parent == run.folder / "previews" and path.suffix == ".png"
    image = decode_image(path.read_bytes())
    assert image.shape == (3 * TALL, 3 * WIDTH, 3)
    np.testing.assert_allclose(tile(image, 0, 0)[1].mean(axis=(0, 1)), ORANGE, atol=4)
    np.testing.assert_allclose(tile(image, 2, 0)[1][:60].mean(axis=(0, 1)), GREY, atol=1)  # dropped: not there
    bars = [tile(image, column, 0)[0].mean(axis=(0, 1)) for column in range(3)]
    assert bars[2][0] > 150 and max(bar[0] for bar in bars[:2]) < 100  # dropped: red
    maps = list(guidance_maps(BODY, planned("clip0", 5), (160, 120), ("depth", "dwpose")))
    for column, frame in enumerate((0, 2, 4)):
        for row, kind in enumerate(("depth", "dwpose"), start=1):
            seen = tile(image, column, row)[1].mean(axis=(0, 1))
            np.testing.assert_allclose(seen, maps[frame][kind].mean(axis=(0, 1)), atol=1)


def test_a_dropped_frame_that_was_kept_on_disk_is_shown(make: Make) -> None:
    (path,) = write_previews(make([300.0], keep_all=True))
    bar, picture = tile(decode_image(path.read_bytes()), 0, 0)
    np.testing.assert_allclose(picture.mean(axis=(0, 1)), ORANGE, atol=4)
    assert bar.mean(axis=(0, 1))[0] > 150


def test_the_filter_that_came_last_is_believed(make: Make) -> None:
    run = make([50.0, 90.0, 300.0], keep_all=True)
    (clip,) = run.clips.values()
    verdicts = [Verdict(True, 50.0), Verdict(False, 90.0), Verdict(False, 300.0)]
    rows = [FilteredFrame("clip0", at, frame, verdicts[at]) for at, frame in enumerate(labelled_frames(clip))]
    run.frames.write_part(0, [Row(row.frame.id, row) for row in rows])
    (path,) = write_previews(run, every=1)
    image = decode_image(path.read_bytes())
    assert [tile(image, column, 0)[0].mean(axis=(0, 1))[0] > 150 for column in range(3)] == [False, True, True]


def test_without_guidance_a_skeleton_is_shown_and_other_maps_may_be_chosen(make: Make) -> None:
    run = make([50.0])
    (path,) = write_previews(run)
    skeleton = path.read_bytes()
    assert decode_image(skeleton).shape == (2 * TALL, WIDTH, 3)
    assert tile(decode_image(skeleton), 0, 1)[1].any()
    (path,) = write_previews(run, maps=["dwpose"])
    assert path.read_bytes() == skeleton
    (path,) = write_previews(run, maps=["normal", "semantic_map", "depth"])
    assert decode_image(path.read_bytes()).shape == (4 * TALL, WIDTH, 3)


def test_a_picture_that_is_gone_is_grey(make: Make) -> None:
    run = make([50.0])
    next(run.clips.values()).frames[0].image.unlink()
    (path,) = write_previews(run)
    assert np.median(tile(decode_image(path.read_bytes()), 0, 0)[1]) == GREY[0]


@pytest.mark.parametrize("frames", [1, 5])
def test_a_film_shows_every_frame_in_the_motions_time(make: Make, frames: int) -> None:
    av = pytest.importorskip("av")
    image, film = write_previews(make([50.0] * frames, guidance=("normal",)), video=True, every=3)
    assert decode_image(image.read_bytes()).shape == (2 * TALL, WIDTH * -(-frames // 3), 3)
    with av.open(str(film)) as container:
        (stream,) = container.streams.video
        assert stream.average_rate == Fraction(20) and stream.codec_context.name == "h264"
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == frames and shown[0].shape == (TALL, 2 * WIDTH, 3)
    np.testing.assert_allclose(shown[-1][BAR + 4 :, 4 : WIDTH - 4].mean(axis=(0, 1)), ORANGE, atol=8)
    assert not list(film.parent.glob(".*"))


def test_clips_are_spread_over_all_and_printed(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make([50.0], clips=5)
    main(["preview", str(run.folder), "--clips", "3"])
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert [name.partition("-")[0] for name in names] == ["clip0", "clip2", "clip4"]
    assert {path.name for path in (run.folder / "previews").iterdir()} == set(names)


def test_clips_that_are_drawn_anew_lose_their_previews(make: Make) -> None:
    run = make([50.0])
    (path,) = write_previews(run)
    create_run(run.folder, run.recipe, run.registry, restart="filter")
    assert path.exists()
    create_run(run.folder, run.recipe, run.registry, restart="animate")
    assert not path.parent.exists()


def test_mistakes_are_sentences(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make([50.0])
    with pytest.raises(UserError, match="no map outline; known are depth, normal"):
        list(write_previews(run, maps=["outline"]))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"posesyn\[video\]"):
        list(write_previews(run, video=True))
    run.clips.write_part(0, [Row("c", rejected="no")])
    run.finish("animate", {})
    with pytest.raises(UserError, match="no clip was drawn"):
        list(write_previews(run))
