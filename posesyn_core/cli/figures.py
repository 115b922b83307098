"""What a run has done, as lines and tables on the terminal, every figure with its unit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from posesyn_core.pipeline.run import Run

VARIANT_TITLES: Mapping[str, str] = {
    "shipped": "(a) as shipped",
    "real_only": "(b) fine-tuned on real data",
    "posesyn": "(c) fine-tuned on real + synthesised",
}
METRIC_TITLES: Mapping[str, str] = {
    "mpjpe": "MPJPE",
    "pa_mpjpe": "PA-MPJPE",
    "n_mpjpe": "N-MPJPE",
    "pve": "PVE",
    "nmje": "NMJE",
    "pck": "PCK %",
    "auc": "AUC %",
    "pckh": "PCKh %",
}

_PHRASES: Mapping[str, str] = {
    **{name: f"{{}} {name}" for name in ("samples", "captions", "motions", "clips", "frames")},
    "hard": "{} hard samples",
    "easy": "{} easy samples",
    **{name: f"{{}} {name}" for name in ("kept", "dropped", "rejected", "fitted", "references")},
    "references_by": "references posed by {}",
    "references_rejected": "{} references rejected",
    "mean_residual_mm": "mean fitting residual {} mm",
    "near_duplicates": "{} near-duplicates left out",
    "real": "{} real frames",
    "synthesised": "{} synthesised frames",
    "steps": "{} steps",
    "batch_size": "batches of {}",
    "warm_up": "warm-up {} of the steps",
    "entries_rejected": "{} entries rejected",
    "note": "{}",
    "shape": "{}",
    "report": "{}",
}
"""How a figure of a summary reads; the others are "name value", and in ``export`` the files of a format."""
_REASONS: Mapping[str, str] = {
    "reasons": "rejected for",
    "reference_reasons": "references rejected for",
    "drop_reasons": "dropped for",
    "entry_reasons": "entries of its data rejected for",
}


def tell(stage: str, summary: Mapping[str, Any]) -> None:
    """Print a stage's figures on a line, and below it why units were rejected or dropped."""
    from posesyn_core.pipeline.rejections import reasons_text

    order = {name: at for at, name in enumerate(_PHRASES)}  # a summary that was read again has another
    names = sorted(summary, key=lambda name: (order.get(name, len(order)), name))
    shown = [name for name in names if not isinstance(summary[name], dict | list | tuple)]
    click.echo(f"{stage:<11} {', '.join(_phrase(stage, name, summary[name]) for name in shown)}")
    for name in (name for name in summary if name.endswith("reasons")):
        click.echo(f"{'':<11} {_REASONS[name]}: {reasons_text(summary[name])}")


def _phrase(stage: str, name: str, value: Any) -> str:
    if name in _PHRASES:
        return _PHRASES[name].format(value)
    if stage == "export":
        return f"{value} files for {name}"
    return f"{name.replace('_', ' ')} {value}"


def print_result(opened: "Run") -> None:
    """The before/after table of every test set, and where to look."""
    for label, by_variant in (opened.summary("evaluate") or {}).get("sets", {}).items():
        titles = {VARIANT_TITLES[name]: by_variant[name] for name in VARIANT_TITLES if name in by_variant}
        print_figures(label, titles)
        for note in (opened.summary("evaluate") or {}).get("notes", {}).get(label, ()):
            click.echo(f"{label}: {note}")
    click.echo(f"report: {opened.folder / 'report.html'}")


def print_rounds(errors: Sequence[Mapping[str, float]], report: Path) -> None:
    """The held-out errors after every round, and where to look."""
    for one in errors:
        figures = ", ".join(f"{METRIC_TITLES[name]} {value:.1f} mm" for name, value in one.items() if name != "round")
        click.echo(f"after round {one['round']:.0f}: {figures or 'not measured'}")
    click.echo(f"report: {report}")


def print_figures(label: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """The figures of one test set, a row for each estimator."""
    from rich.console import Console
    from rich.table import Table

    samples = next(iter(rows.values()))["samples"]
    shown = [name for name in METRIC_TITLES if all(name in figures for figures in rows.values())]
    table = Table("estimator", title=f"{label}: {samples:.0f} held-out samples, errors in mm")
    for name in shown:
        table.add_column(METRIC_TITLES[name], justify="right")
    for title, figures in rows.items():
        table.add_row(title, *(f"{figures[name]:.1f}" for name in shown))
    Console().print(table)
