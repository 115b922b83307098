"""Previews of clips: frames beside the maps of the body that led the animator, as PNG strips and mp4.

A strip has one column for every n-th frame and one row for the frames and each map. A film shows them side by side, in
the motion's own time. Above each frame stands its error: on red if the filter dropped it. A frame that was not written
is grey.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from attrs import evolve
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from posesyn_core.body.guidance import GUIDANCE, guidance_maps
from posesyn_core.body.model import Body
from posesyn_core.drawing.sheets import spread
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.films import write_film
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.animate import clip_folder
from posesyn_core.pipeline.filter import labelled_frames
from posesyn_core.pipeline.run import Clip, DrawnFrame, Run
from posesyn_core.values import ClipPlan, Image

SKELETON = ("dwpose",)
"""What is shown beside the frames of an animator that no map leads."""
HEIGHT = 224
"""Pixels of a picture; its width follows."""
BAR = 18
"""Pixels of the line of text above it."""
GREY, WHITE, BLACK, RED = (112, 112, 112), (255, 255, 255), (24, 24, 24), (200, 40, 0)

Column = list[Image]
"""A frame and its maps, all of one size."""


def write_previews(
    run: Run, *, count: int = 4, every: int = 8, video: bool = False, maps: Sequence[str] = ()
) -> Iterator[Path]:
    """Write previews of ``count`` clips, spread over all, to ``previews/`` in the run folder; yield each file.

    ``every`` is the step between a strip's frames, ``maps`` the kinds to show (default: the animator's own, or a
    skeleton). UserError for an unknown map, without clips, and for films without PyAV.
    """
    unknown = set(maps) - set(GUIDANCE)
    if unknown:
        raise UserError(f"there is no map {', '.join(sorted(unknown))}; known are {', '.join(GUIDANCE)}")
    run.require("animate")
    names = [unit for unit, _ in run.clips.column("width")]
    if not names:
        raise UserError("no clip was drawn, so there is nothing to preview; rejected.parquet says why")
    body = run.bodies.body
    for name, clip in run.clips.pick(spread(names, count)).items():
        target = run.folder / "previews" / f"{clip_folder(name)}.png"
        step = 1 if video else every
        clip = _as_filtered(run, clip)
        columns = list(columns_of(body, clip, tuple(maps) or clip.guidance or SKELETON, step))
        write_atomic(target, encode_png(strip(columns[:: every // step])))
        yield target
        if video:
            write_film(target.with_suffix(".mp4"), map(np.hstack, columns), clip.plan.fps)
            yield target.with_suffix(".mp4")


def _as_filtered(run: Run, clip: Clip) -> Clip:
    """The clip with the verdicts of the stage ``filter``, where it has run: its filter may be another by then."""
    found = run.frames.pick(frame.id for frame in labelled_frames(clip))
    verdicts = {row.index: row.verdict for row in found.values()}
    frames = (
        evolve(frame, judgement=evolve(frame.judgement, verdict=verdicts.get(at, frame.judgement.verdict)))
        for at, frame in enumerate(clip.frames)
    )
    return evolve(clip, frames=tuple(frames))


def columns_of(body: Body, clip: Clip, maps: Sequence[str], every: int) -> Iterator[Column]:
    """Every n-th frame with its maps, small. ``body`` is the one that the clip was planned with."""
    size = clip.height, clip.width
    drawn = guidance_maps(body, _thinned(clip.plan, every), size, maps)
    for number, (frame, guidance) in enumerate(zip(clip.frames[::every], drawn, strict=True)):
        yield [_frame_tile(frame, number * every, size), *(_tile(guidance[kind], kind) for kind in maps)]


def strip(columns: Sequence[Column]) -> Image:
    """Columns beside each other, each with its images under each other."""
    return np.hstack([np.vstack(column) for column in columns])


def _thinned(plan: ClipPlan, every: int) -> ClipPlan:
    names = ("global_orient", "body_pose", "transl", "joints3d", "joints2d")
    return evolve(plan, **{name: getattr(plan, name)[::every] for name in names})


def _frame_tile(frame: DrawnFrame, number: int, size: tuple[int, int]) -> Image:
    """The frame below its number and error; grey with the reason where there is no image."""
    found = frame.judgement
    error = None if found.verdict is None else f"{found.verdict.error:.0f} mm"
    title = " ".join(filter(None, (f"#{number}", error, None if found.keep else "dropped")))
    try:
        image = load_image(frame.image) if frame.on_disk else None
        missing = found.fault or "not written"
    except SampleError as fault:
        image, missing = None, str(fault)
    if image is None:
        image = np.full((*size, 3), GREY, np.uint8)
        return _tile(image, title, BLACK if found.keep else RED, missing)
    return _tile(image, title, BLACK if found.keep else RED)


def _tile(image: Image, title: str, colour: tuple[int, int, int] = BLACK, within: str = "") -> Image:
    """An image made small below its ``title``, with the text ``within`` it."""
    height, width = image.shape[:2]
    width = max(1, round(width * HEIGHT / height))
    canvas = Pillow.new("RGB", (width, BAR + HEIGHT), colour)
    canvas.paste(Pillow.fromarray(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)), (0, BAR))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    draw.text((width / 2, BAR / 2), title, WHITE, font, anchor="mm")
    lines = "\n".join(textwrap.wrap(within, max(width // 7, 8)))
    draw.multiline_text((width / 2, BAR + HEIGHT / 2), lines, WHITE, font, anchor="mm", align="center")
    return np.array(canvas)
