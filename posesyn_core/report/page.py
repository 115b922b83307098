"""``report.html``: one page about a run, finished or not, that needs no server and no network.

Everything on the page follows from the run directory alone (no dates, no paths of the machine beyond the recipe's), so
the same run gives the same bytes. Long tables are shown in part, and the page says so: it stays below 5 MB. What it
opens on a click (large pictures, further pages of motions) lies beside it, in ``report.files/`` and the run's own
folders, and is read when it is looked at; without them the page is whole but for that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import tomli_w
from markupsafe import Markup, escape

from posesyn_core.drawing.sheets import LABELLED, PREDICTED
from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, Colour
from posesyn_core.drawing.truth import BOX, TRUTH
from posesyn_core.files.images import encode_jpeg, load_image
from posesyn_core.files.paths import atomic_folder, write_atomic
from posesyn_core.method import eem
from posesyn_core.pipeline.parts import parts
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import unstructure
from posesyn_core.report import fidelity, figures, mining, scenes, synthesis, training
from posesyn_core.report.figures import unit_of
from posesyn_core.report.large import FILES, OURS, Beside
from posesyn_core.report.pictures import QUALITY, data_uri
from posesyn_core.report.summary import summary
from posesyn_core.report.within import within

HERE = Path(__file__).parent
DRAWN = "picture.jpg"
"""The picture of a run (:mod:`posesyn_core.report.picture`), where one was drawn: it stands on the page."""


def write_report(run: Run) -> Path:
    """Write ``report.html`` and the files beside it, atomically, and return its path.

    Stages that have not run say so in their section.
    """
    with atomic_folder(run.folder / FILES, OURS) as files:
        page = _page(run, Beside(files, run.folder))
    target = run.folder / "report.html"
    write_atomic(target, page)
    return target


def _page(run: Run, beside: Beside) -> str:
    judged = list(figures.judged_frames(run))
    body, rejected = scenes.run_body(run), figures.rejections(run)
    comparison = training.comparison(run, body)
    shared = {"missing": {stage: not table.parts() for stage, table in run.tables().items()}, "colours": colours()}
    motions, clips = synthesis.motions(run, body), synthesis.clips(run, judged, beside)
    return template("report.html").render(
        name=run.recipe.name,
        seed=run.recipe.seed,
        summary=summary(run, judged, comparison),
        parts=list(_components(run)),
        funnel=figures.funnel(run, judged),
        rejections=rejected,
        weakness=mining.weakness(run),
        comparison=comparison,
        drawn=_drawn(run.folder / DRAWN),
        within=within(run, beside),
        mining=mining.mined(run, beside),
        motions=motions,
        motions_cards=_first_page("motions", motions["pages"], beside, shared),
        clips=clips,
        clips_cards=_first_page("clips", clips["pages"], beside, shared),
        passing=synthesis.passing(run, judged),
        fidelity=fidelity.fidelity(run),
        data=training.data(run),
        crop=eem.CROP,
        unit=unit_of(run),
        recipe=tomli_w.dumps(unstructure(run.recipe)),
        files=FILES,
        faces="" if body is None else scenes.packed_faces(body),
        three=Markup((HERE / "three" / "three.min.js").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        **shared,
    )


def _drawn(path: Path) -> str:
    """The picture of the run as the page holds it; empty where none was drawn."""
    return data_uri(encode_jpeg(load_image(path), QUALITY)) if path.is_file() else ""


def _first_page(name: str, pages: Iterable[Sequence[Any]], beside: Beside, shared: Mapping[str, Any]) -> Sequence[Any]:
    """The cards of the first page of "motions" or "clips"; the other pages are written beside the report."""
    first: Sequence[Any] = ()
    for number, cards in enumerate(pages):
        if number == 0:
            first = cards
        else:
            beside.page(name, number, template(f"{name}.html").render({f"{name}_cards": cards, **shared}))
    return first


@cache
def template(name: str) -> jinja2.Template:
    """A page of this folder, strict about what it is given."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    environment.filters["breakable"] = lambda name: escape(name).replace("/", Markup("/<wbr>"))
    return environment.get_template(name)


def colours() -> dict[str, list[str]]:
    """The colours of skeletons, as the style sheet wants them."""
    return {
        "labelled": _css(LABELLED),
        "predicted": _css(PREDICTED),
        "truth": _css(TRUTH),
        "box": _css([BOX]),
        "sides": _css((LEFT, RIGHT, MIDDLE)),
    }


def _css(shades: Sequence[Colour]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in shades]


def _components(run: Run) -> Iterator[tuple[str, str, str]]:
    """(part, component, its summary) of everything that the recipe chose."""
    for part in parts(run):
        engine = "" if part.choice.engine.name == "torch" else f" on {part.choice.engine.name}"
        summary = "not installed here" if part.component is None else part.component.summary
        yield part.name, part.choice.name + engine, summary
