"""``posesyn plugins``: what is installed, where it comes from, what it lacks."""

import inspect
import sys
from typing import TYPE_CHECKING

import attrs
import click

from posesyn_core.components import Kind, Licence, kind_of
from posesyn_core.contracts.options import RANGE
from posesyn_core.errors import UserError
from posesyn_core.recipe import settings_of
from posesyn_core.registry import Registered, Registry

if TYPE_CHECKING:
    from posesyn_core.authoring.findings import Finding


@click.group(invoke_without_command=True, short_help="List the installed components and what each needs.")
@click.pass_context
def plugins(context: click.Context) -> None:
    """List every component with its origin and whether it is ready; `posesyn plugins show NAME` tells the rest.

    A third party's package adds components through the entry-point group "posesyn"; see CONTRIBUTING.md.
    """
    if context.invoked_subcommand is None:
        _list(context.find_object(Registry) or Registry.discover())


def _list(registry: Registry) -> None:
    for kind in Kind:
        for registered in registry.of_kind(kind):
            component = registered.component
            state = "ready" if not registered.missing else f"needs {', '.join(n.what for n in registered.missing)}"
            colour = "yellow" if registered.missing else "green"
            click.echo(
                f"{kind:<10} {component.name:<14} {click.style(f'{state:<8}', fg=colour)} "
                f"{component.summary}  [{registered.origin}]"
            )
    for name, reason in registry.failures.items():
        click.secho(f"failed     {name}: {reason}", fg="red")


@plugins.command("show", short_help="One component's options, defaults and needs.")
@click.argument("name")
@click.pass_obj
def show(registry: Registry, name: str) -> None:
    """Print the options of the component NAME with types, defaults and meaning, and how to get what it lacks."""
    for kind in registry.kinds_of(name):
        _describe(registry.find(kind, name))


@plugins.command("test", short_help="Try a component on a few samples: shapes, units, repeatability, training.")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="Which one, if several kinds have a component NAME.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the component.")
@click.option("--estimator", help="For an augmenter: the estimator whose training it is to augment.")
@click.pass_obj
def test(registry: Registry, name: str, kind: str | None, settings: tuple[str, ...], estimator: str | None) -> None:
    """Try the component NAME on rendered people, a motion or a small network, and check what it returns.

    Exits with 1 if it does not keep what its protocol (posesyn_core/components.py) promises.

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


def _describe(registered: Registered) -> None:
    component = registered.component
    click.secho(f"{component.name} ({component.kind})", bold=True)
    click.echo(f"{component.summary}\nfrom {registered.origin}, plugin {registered.origin.plugin!r}")
    click.echo(f"licences: {_licences(component.licence)}\n")
    if about := inspect.getdoc(component.config):
        click.echo(f"{about.replace('``', '')}\n")
    fields = attrs.fields(component.config)
    click.echo("options:" if fields else "no options")
    for attribute in fields:
        click.echo(f"  {attribute.name}: {_type_name(attribute.type)} = {_default(attribute)!r}")
        limits = f" ({attribute.metadata[RANGE]})" if RANGE in attribute.metadata else ""
        if doc := attribute.metadata.get("doc"):
            click.echo(f"      {doc}{limits}")
    click.echo("needs:" if component.needs else "needs nothing else")
    for need in component.needs:
        state = "missing" if need in registered.missing else "found"
        click.echo(f"  {need.what}: {state}\n      {need.remedy}")


def _licences(stated: Licence | None) -> str:
    if stated is None:
        return "not stated by the plugin; check yourself"
    return f"code follows: {stated.code}; weights: {stated.weights}; your data: {stated.data}"


def _type_name(kind: object) -> str:
    if part := kind_of(kind):
        return f"a {part} by its name"
    return kind.__name__ if isinstance(kind, type) and "[" not in str(kind) else str(kind).removeprefix("typing.")


def _default(attribute: "attrs.Attribute[object]") -> object:
    if attribute.default is attrs.NOTHING:
        return "required"
    factory = getattr(attribute.default, "factory", None)
    return factory() if factory is not None else attribute.default
