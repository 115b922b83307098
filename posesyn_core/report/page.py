"""``report.html``: one self-contained page about a run, finished or not.

Everything on the page follows from the run directory alone (no dates, no paths of the machine beyond the recipe's), so
the same run gives the same bytes. Long tables are shown in part, and the page says so: it stays below about 8 MB.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import jinja2
import tomli_w
from markupsafe import Markup, escape

from posesyn_core.drawing.sheets import LABELLED, PREDICTED
from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, Colour
from posesyn_core.drawing.truth import BOX, TRUTH
from posesyn_core.files.paths import write_atomic
from posesyn_core.method import eem
from posesyn_core.pipeline.parts import parts
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import unstructure
from posesyn_core.report import figures, mining, synthesis, training
from posesyn_core.report.figures import unit_of


def write_report(run: Run) -> Path:
    """Write ``report.html`` atomically and return its path; stages that have not run say so in their section."""
    judged = list(figures.judged_frames(run))
    page = template("report.html").render(
        name=run.recipe.name,
        seed=run.recipe.seed,
        parts=list(_components(run)),
        funnel=figures.funnel(run, judged),
        rejections=figures.rejections(run),
        weakness=mining.weakness(run),
        comparison=training.comparison(run),
        mining=mining.mined(run),
        motions=synthesis.motions(run),
        clips=synthesis.clips(run, judged),
        passing=synthesis.passing(run, judged),
        data=training.data(run),
        crop=eem.CROP,
        unit=unit_of(run),
        recipe=tomli_w.dumps(unstructure(run.recipe)),
        missing={stage: not table.parts() for stage, table in run.tables().items()},
        colours=colours(),
    )
    target = run.folder / "report.html"
    write_atomic(target, page)
    return target


@cache
def template(name: str) -> jinja2.Template:
    """A page of this folder, strict about what it is given."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
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
