"""Runs that lie in a run's folder, such as the demo's photographs: each is a section that leads to its own page."""

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen

from posesyn_core.errors import PoseSynError
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.pipeline.run import Run, open_run
from posesyn_core.report import figures, scenes, synthesis, training
from posesyn_core.report.large import Beside
from posesyn_core.report.summary import summary

CLIPS = 4
PAGE = "report.html"


@frozen
class Within:
    """A run in a run's folder: the ``name`` of that folder, its ``page`` (empty if it has none yet), what it made.

    ``fault`` says why nothing of it can be shown.
    """

    name: str
    page: str = ""
    fault: str = ""
    summary: str = ""
    funnel: Sequence[figures.Step] = ()
    clips: Sequence[synthesis.ClipCard] = ()


def folders(run: Run) -> list[Path]:
    """The folders of the runs in ``run``'s, in order."""
    found = (path.parent for path in run.folder.glob(f"*/{RECIPE}"))
    return sorted(folder for folder in found if not folder.name.startswith("."))


def within(run: Run, beside: Beside) -> list[Within]:
    """The runs in ``run``'s folder, with some clips of each."""
    return [_within(folder, run, evolve(beside, of=folder.name)) for folder in folders(run)]


def _within(folder: Path, outer: Run, beside: Beside) -> Within:
    page = f"{folder.name}/{PAGE}" if (folder / PAGE).exists() else ""
    try:
        run = open_run(folder, outer.registry)
        judged = list(figures.judged_frames(run))
        return Within(
            folder.name,
            page,
            summary=summary(run, judged, training.comparison(run, scenes.run_body(run))),
            funnel=[*figures.funnel(run, judged), figures.Step("units rejected", figures.rejections(run).total)],
            clips=synthesis.some_clips(run, judged, beside, CLIPS),
        )
    except PoseSynError as error:  # one that is damaged does not take the others' page away
        return Within(folder.name, page, fault=str(error))
