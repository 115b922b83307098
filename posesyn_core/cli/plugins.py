"""``posesyn plugins``: what is installed, where it comes from, what it lacks."""

import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from posesyn_core.authoring.reference import rows
from posesyn_core.components import Kind, Licence
from posesyn_core.engines.readiness import Lack, lacking, state_of
from posesyn_core.errors import UserError
from posesyn_core.recipe import settings_of
from posesyn_core.registry import Registered, Registry

if TYPE_CHECKING:
    from posesyn_core.authoring.findings import Finding


@click.group(invoke_without_command=True, short_help="List the installed components and what each needs.")
@click.pass_context
def plugins(context: click.Context) -> None:
    """List every component by kind, whether it is ready to run, and what it needs.

    "ready" means that the component runs as it is, with its default options. `posesyn plugins show NAME` prints a
    component's options and how to get what it lacks. Other packages add components through the entry-point group
    "posesyn"; see CONTRIBUTING.md.
    """
    if context.invoked_subcommand is None:
        _list(context.find_object(Registry) or Registry.discover())


def _list(registry: Registry) -> None:
    """A block for each kind, in columns as wide as the longest name and state of all."""
    listed = {kind: [(each, lacking(registry, each)) for each in registry.of_kind(kind)] for kind in Kind}
    every = [pair for of_kind in listed.values() for pair in of_kind]
    names = max((len(each.component.name) for each, _ in every), default=0)
    states = max((len(state_of(lack)) for _, lack in every), default=0)
    for kind, of_kind in listed.items():
        if of_kind:
            click.secho(f"{kind}s" if kind[-1] != "s" else str(kind), bold=True)
        for each, lack in of_kind:
            name, state = f"{each.component.name:<{names}}", f"{state_of(lack):<{states}}"
            origin = "" if each.origin.distribution == "posesyn" else f"  [{each.origin}]"
            coloured = click.style(state, fg="yellow" if lack else "green")
            click.echo(f"  {name}  {coloured}  {each.component.summary}{origin}")
    for name, reason in registry.failures.items():
        click.secho(f"failed     {name}: {reason}", fg="red")


@plugins.command("show", short_help="Show a component's options, defaults and needs.")
@click.argument("name")
@click.pass_obj
def show(registry: Registry, name: str) -> None:
    """Show the component NAME: options with types and defaults, licences, and how to get what it lacks."""
    for kind in registry.kinds_of(name):
        found = registry.find(kind, name)
        _describe(found, lacking(registry, found))


@plugins.command("test", short_help="Test a component on a few samples: shapes, units, repeatability, training.")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="Kind, if components of several kinds are called NAME.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the component; repeatable."
)
@click.option("--estimator", help="For an augmenter: the estimator whose training it augments.")
@click.pass_obj
def test(registry: Registry, name: str, kind: str | None, settings: tuple[str, ...], estimator: str | None) -> None:
    """Run the component NAME on rendered people, a motion or a small network, and check what it returns.

    Exits with 1 if the results break the component's protocol (posesyn_core/components.py).

    \b
    posesyn plugins test my_estimator --set weights=mine.safetensors
    posesyn plugins test coco --set root=/data/coco --set split=val2017
    """
    from posesyn_core.authoring.trial import trial

    kinds = registry.kinds_of(name)
    if kind is not None and Kind(kind) not in kinds:
        raise UserError(f"there is no {kind} named {name!r}; {name!r} is: {', '.join(kinds)}")
    chosen = [Kind(kind)] if kind is not None else kinds
    failed = 0
    for each in chosen:
        click.secho(f"{name} ({each})", bold=True)
        try:
            for finding in trial(registry, each, name, settings_of(settings), estimator):
                failed += not finding.passed
                _show(finding)
        except UserError as error:  # its options are missing, or are another kind's of the same name
            if len(chosen) == 1:
                raise
            click.echo(f"  not tried: {error}; choose it with --kind {each}")
    if failed:
        sys.exit(1)


def _show(finding: "Finding") -> None:
    word, colour = ("ok    ", "green") if finding.passed else ("FAILED", "red")
    click.echo(f"  {click.style(word, fg=colour)} {finding.check:<16} {finding.fault or finding.note}".rstrip())


def _describe(registered: Registered, lacks: Sequence[Lack]) -> None:
    component = registered.component
    click.secho(f"{component.name} ({component.kind})", bold=True)
    click.echo(f"{component.summary}\nfrom {registered.origin}, plugin {registered.origin.plugin!r}")
    click.echo(f"licences: {_licences(component.licence)}\n")
    if about := inspect.getdoc(component.config):
        click.echo(f"{about.replace('``', '')}\n")
    options = rows(component.config)
    click.echo("options:" if options else "no options")
    for option in options:
        click.echo(f"  {option.name}: {option.type} = {option.default}")
        if option.meaning:
            click.echo(f"      {option.meaning}")
    click.echo("needs:" if component.needs or lacks else "needs nothing else")
    for need in component.needs:
        state = "missing" if need in registered.missing else "found"
        click.echo(f"  {need.what}: {state}\n      {need.remedy}")
    for lack in (lack for lack in lacks if lack.what not in {need.what for need in component.needs}):
        click.echo(f"  {lack.what}: missing\n      {lack.remedy}")


def _licences(stated: Licence | None) -> str:
    if stated is None:
        return "not stated by the plugin; check yourself"
    return f"code follows: {stated.code}; weights: {stated.weights}; your data: {stated.data}"
