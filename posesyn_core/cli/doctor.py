"""``posesyn doctor``: this machine and what it lacks, on one screen."""

import click

from posesyn_core.engines.doctor import examine
from posesyn_core.registry import Registry


@click.command(short_help="Show what this machine has and what each component lacks.")
@click.pass_obj
def doctor(registry: Registry) -> None:
    """Show this machine's GPU, engines, codecs, body models, weights and cache, and what each component lacks.

    A dash marks something missing. You may not need it: the free default runs without any of these.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 1))
    for section, findings in examine(registry).items():
        table.add_row("", Text(section, style="bold"))
        for finding in findings:
            mark = Text("+", style="green") if finding.found else Text("-", style="yellow")
            table.add_row(mark, finding.subject, Text(finding.detail))
    Console(soft_wrap=False).print(table)
