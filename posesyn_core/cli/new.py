"""``posesyn new``: a plugin of one's own to start from."""

from pathlib import Path

import click

from posesyn_core.authoring.scaffold import TEST_OPTIONS, new_package
from posesyn_core.components import Kind


@click.command(short_help="Create a plugin package from a template.")
@click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
@click.argument("name")
@click.option(
    "--out", default=".", show_default=True, type=click.Path(path_type=Path), help="Parent folder of the package."
)
def new(kind: str, name: str, out: Path) -> None:
    """Create the package NAME with a component of that KIND: entry point, options, a working component and a test.

    \b
    posesyn new estimator my_estimator
    pip install --editable ./my_estimator
    posesyn plugins test my_estimator
    """
    chosen = Kind(kind)
    for path in new_package(chosen, name, out):
        click.echo(path)
    options = f" {TEST_OPTIONS[chosen]}" if chosen in TEST_OPTIONS else ""
    click.echo(f"\nnext: pip install --editable {out / name} && posesyn plugins test {name}{options}")
