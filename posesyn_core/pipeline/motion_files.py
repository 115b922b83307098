"""A run's motions, and the bodies of its clips, as files for other programs (``posesyn export-motion``)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from posesyn_core.body.formats.gltf import glb
from posesyn_core.body.formats.movement import FITTED_AT_ONCE, Movement, fit_motions, of_plan
from posesyn_core.body.formats.writers import WRITERS
from posesyn_core.body.model import Body
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.animate import clip_folder
from posesyn_core.pipeline.run import Run

T = TypeVar("T")

IN_A_GLB = 100
"""Motions that share a .glb: one body with that many animations."""


def export_motion(run: Run, kind: str, folder: Path | None = None, *, clips: bool = False) -> Iterator[Path]:
    """Write the motions of the run in the format ``kind`` ("bvh", "glb", "npz"); yield each file.

    The motions are those of the stage ``synthesize``, done by the average body, where they go, on the floor y = 0; a
    .glb holds ``IN_A_GLB`` of them as animations of one body. With ``clips`` they are the labelled bodies of the stage
    ``animate``, a file for each clip, in the shape of its reference person, starting at the origin. ``folder``: where
    (default: ``motions/`` in the run folder). UserError for another format, and where there is nothing to write.
    """
    if kind not in WRITERS:
        raise UserError(f"there is no format {kind!r} for motions; choose one of {', '.join(WRITERS)}")
    run.require("animate" if clips else "synthesize")
    folder, body = folder or run.folder / "motions", run.bodies.body
    found = (of_plan(body, clip.plan) for clip in run.clips.values()) if clips else _motions(run, body)
    written = 0
    if kind == "glb" and not clips:
        for number, group in enumerate(_groups(found, IN_A_GLB)):
            written += 1
            yield _write(folder / f"motions-{number:03d}.glb", glb(body, group))
    else:
        for movement in found:
            written += 1
            yield _write(folder / f"{clip_folder(movement.name)}.{kind}", WRITERS[kind](body, movement))
    if not written:
        raise UserError(f"the run has no {'clip' if clips else 'motion'} to write; rejected.parquet says why")


def _motions(run: Run, body: Body) -> Iterator[Movement]:
    for group in _groups(run.motions.values(), FITTED_AT_ONCE):
        yield from fit_motions(body, group)


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def _write(path: Path, content: bytes | str) -> Path:
    write_atomic(path, content)
    return path
