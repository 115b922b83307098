"""Finds plugins, looks components up by name, and explains what is missing."""

import difflib
import importlib.metadata
import importlib.util
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

import attrs
import pluggy
from attrs import Factory, define, frozen

from posesyn_core import hookspecs
from posesyn_core.components import Component, Kind, Need, kind_of
from posesyn_core.contracts.products import component_fault, people_fault, product_fault
from posesyn_core.contracts.results import a_value
from posesyn_core.contracts.structuring import abridged
from posesyn_core.contracts.weights import weights_warning
from posesyn_core.errors import PoseSynError, PoseSynWarning, UserError
from posesyn_core.files.reading import reason_of
from posesyn_core.geometry import skeletons
from posesyn_core.recipe import Choice, structure

GROUP = "posesyn"


@frozen
class Origin:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@frozen
class Registered:
    """A component with the plugin that brought it."""

    component: Component
    origin: Origin

    @property
    def missing(self) -> tuple[Need, ...]:
        """What the component needs and this machine lacks; empty = ready."""
        return tuple(need for need in self.component.needs if not _is_met(need))


def _is_met(need: Need) -> bool:
    if need.path is not None and not need.path.exists():
        return False
    return all(importlib.util.find_spec(module) is not None for module in need.modules)


@define(slots=False)  # cached_property needs a __dict__
class Registry:
    """The installed plugins and their components.

    ``failures`` maps a plugin's name to the reason why it could not be used; the others work all the same.
    """

    manager: pluggy.PluginManager
    origins: dict[str, Origin] = Factory(dict)
    failures: dict[str, str] = Factory(dict)

    @classmethod
    def discover(cls) -> "Registry":
        """Load every plugin named in the entry-point group ``posesyn``, the core's own components among them."""
        registry = cls.empty()
        entry_points = importlib.metadata.entry_points(group=GROUP)
        for entry_point in sorted(entry_points, key=lambda point: (_distribution(point), point.name)):
            origin = Origin(entry_point.name, _distribution(entry_point), _version(_distribution(entry_point)))
            try:
                module = entry_point.load()
            except Exception as error:  # a broken plugin, whatever its fault, must not stop the others
                registry.failures[f"{entry_point.name} ({origin})"] = f"{type(error).__name__}: {error}"
                continue
            registry.add(module, origin)
        return registry

    @classmethod
    def empty(cls) -> "Registry":
        """A registry without plugins, for embedding and for tests."""
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        return cls(manager)

    def add(self, module: ModuleType | object, origin: Origin) -> None:
        """Register one plugin module under its origin."""
        name = f"{origin.distribution}:{origin.plugin}"
        try:
            self.manager.register(module, name=name)
        except (ValueError, pluggy.PluginValidationError) as error:
            self._fails(origin, str(error))
            return
        self.origins[name] = origin
        for hook in self.manager.get_hookcallers(module) or ():
            if not hook.has_spec():
                near = difflib.get_close_matches(hook.name, dir(hookspecs), n=1)
                self._fails(origin, f"there is no hook {hook.name!r}" + (f"; {near[0]!r} may be meant" if near else ""))
        self.__dict__.pop("components", None)
        self._add_joint_sets(name)

    def _add_joint_sets(self, name: str) -> None:
        """Make the joint sets of the plugin called ``name`` known; one that has none of its own stays as it is."""
        origin = self.origins[name]
        implementations = self.manager.hook.register_joint_sets.get_hookimpls()
        try:
            for implementation in (each for each in implementations if each.plugin_name == name):
                sets: Any = implementation.function()
                for joint_set in sets:
                    skeletons.register(joint_set)
        except Exception as error:  # as above: report it and go on
            self._fails(origin, f"register_joint_sets failed: {error}")

    @cached_property
    def components(self) -> dict[tuple[Kind, str], Registered]:
        """All components by kind and name.

        Raises UserError if two plugins bring the same kind and name, naming both distributions.
        """
        found: dict[tuple[Kind, str], Registered] = {}
        for kind in Kind:
            for registered in self._of_hook(kind):
                key = (kind, registered.component.name)
                if key in found:
                    raise UserError(
                        f"two plugins provide the {kind} {key[1]!r}: {found[key].origin} and {registered.origin}; "
                        "uninstall one of them"
                    )
                found[key] = registered
        return found

    def _of_hook(self, kind: Kind) -> Iterable[Registered]:
        for implementation in getattr(self.manager.hook, kind.hook).get_hookimpls():
            origin = self.origins[implementation.plugin_name]
            try:
                components = implementation.function()
            except Exception as error:  # as above: report it and go on
                self._fails(origin, f"{kind.hook} failed: {type(error).__name__}: {error}")
                continue
            if not isinstance(components, list | tuple):
                self._fails(origin, f"{kind.hook} returned {a_value(components)} where a list of Component is needed")
                continue
            for component in components:
                if fault := component_fault(component, kind):
                    self._fails(origin, f"{kind.hook}: {fault}")
                else:
                    yield Registered(component, origin)

    def gathered(self, hook: str) -> dict[str, Any]:
        """What plugins bring by name through a hook without arguments; one that fails is reported like any other."""
        found: dict[str, Any] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            origin = self.origins[implementation.plugin_name]
            try:
                brought = implementation.function()
            except Exception as error:
                self._fails(origin, f"{hook} failed: {type(error).__name__}: {error}")
                continue
            if isinstance(brought, Mapping):
                found |= brought
            else:
                self._fails(origin, f"{hook} returned {a_value(brought)} where a dict is needed")
        return found

    def add_commands(self, cli: Any) -> None:
        """Let plugins add to the command line; one that fails is reported, and the others' commands are there."""
        for implementation in self.manager.hook.register_commands.get_hookimpls():
            try:
                implementation.function(cli=cli)
            except Exception as error:
                origin = self.origins[implementation.plugin_name]
                self._fails(origin, f"register_commands failed: {type(error).__name__}: {error}")

    def notify(self, hook: str, **told: Any) -> None:
        """Tell all plugins that listen; UserError naming the one whose hook fails."""
        caller = getattr(self.manager.hook, hook)
        try:
            caller(**told)
        except PoseSynError:
            raise
        except Exception as error:
            passed = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
            at_fault = (each for each in caller.get_hookimpls() if getattr(each.function, "__code__", None) in passed)
            name = next((each.plugin_name for each in at_fault), "?")
            raise UserError(
                f"the hook {hook!r} of the plugin {self.origins.get(name, name)} fails: {type(error).__name__}: "
                f"{reason_of(error)} (--debug shows where)"
            ) from error

    def _fails(self, origin: Origin, fault: str) -> None:
        self.failures[f"{origin.plugin} ({origin})"] = fault

    def of_kind(self, kind: Kind) -> list[Registered]:
        """The components of one kind, by name."""
        return sorted((r for (k, _), r in self.components.items() if k == kind), key=lambda r: r.component.name)

    def find(self, kind: Kind, name: str) -> Registered:
        """The component of that kind and name; UserError with the nearest name if there is none."""
        registered = self.components.get((kind, name))
        if registered is not None:
            return registered
        names = [r.component.name for r in self.of_kind(kind)]
        near = difflib.get_close_matches(name, names, n=1)
        plugin = f"the plugin that provides it (by custom posesyn_{name[:40]})"
        hint = f"did you mean {near[0]!r}?" if near else f"install {plugin}, or take one of: {', '.join(names)}"
        raise UserError(f"no {kind} named {abridged(name)} is installed; {hint}{self.broken()}")

    def kinds_of(self, name: str) -> list[Kind]:
        """The kinds of which there is a component ``name``; UserError naming the installed ones if there is none."""
        kinds = [kind for kind in Kind if (kind, name) in self.components]
        if kinds:
            return kinds
        names = sorted({name for _, name in self.components})
        raise UserError(
            f"no component named {abridged(name)} is installed; there are: {', '.join(names)}{self.broken()}"
        )

    def broken(self) -> str:
        """The plugins that fail, for a sentence about something that is not found."""
        return "".join(f"; or mend the plugin {name}, which fails ({fault})" for name, fault in self.failures.items())

    def create(self, kind: Kind, name: str, options: Mapping[str, Any], where: str) -> Any:
        """Make the component ``name`` with ``options``; ``where`` names their place (recipe section) in errors.

        Raises UserError for an unknown name or option, a missing need, or a product that misses its protocol. Untrained
        and starter weights are a PoseSynWarning.
        """
        config = self.check(kind, name, options, where)
        _check_device(config, where)
        registered = self.find(kind, name)
        parts = {
            field: self.create(part, choice.name, choice.options, f"{where}, {field}")
            for field, part, choice in parts_of(config)
        }
        if told := weights_warning(kind, name, config):
            warnings.warn(told, PoseSynWarning, stacklevel=2)
        product = self._make(registered, attrs.evolve(config, **parts) if parts else config)
        if fault := product_fault(product, kind) or people_fault(product, registered.component):
            raise UserError(f"the {kind} {name!r} of {registered.origin} {fault}")
        return product

    def _make(self, registered: Registered, config: Any) -> Any:
        """The factory's product. UserError naming the plugin if it fails, unless it says so itself."""
        try:
            return registered.component.factory(config)
        except ImportError as error:
            component = registered.component
            raise UserError(
                f"the {component.kind} {component.name!r} of {registered.origin} can't be imported: {error}; "
                "install what it needs, or mend the plugin"
            ) from error
        except Exception as error:  # a plugin may raise anything
            if isinstance(error, PoseSynError) or (isinstance(error, OSError) and error.errno is not None):
                raise
            component = registered.component
            raise UserError(
                f"the {component.kind} {component.name!r} of {registered.origin} can't be made: "
                f"{type(error).__name__}: {reason_of(error)} (--debug shows where)"
            ) from error

    def check(self, kind: Kind, name: str, options: Mapping[str, Any], where: str) -> Any:
        """The config that ``create`` would use, without making anything; UserError as there."""
        registered = self.find(kind, name)
        if registered.missing:
            lacks = "; ".join(f"{need.what} ({need.remedy})" for need in registered.missing)
            raise UserError(f"the {kind} {name!r} lacks {lacks}")
        config = structure(dict(options), registered.component.config, where)
        for field, part, choice in parts_of(config):
            if choice.engine.name != "torch":
                raise UserError(f"{where}, {field}: a {part} has no engine of its own to choose; remove 'engine'")
            self.check(part, choice.name, choice.options, f"{where}, {field}")
        return config

    def lacks(self, kind: Kind, name: str, options: Mapping[str, Any], where: str) -> Iterator[str]:
        """Everything for which ``create`` would fail, a sentence each, as far as it can be told without making it.

        Beside what ``check`` finds, these are the files that the component's config names.
        """
        try:
            registered = self.find(kind, name)
        except UserError as error:
            yield f"{where}: {error}"
            return
        for need in registered.missing:
            yield f"{where}: the {kind} {name!r} lacks {need.what} ({need.remedy})"
        try:
            config = structure(dict(options), registered.component.config, where)
        except UserError as error:
            yield str(error)
            return
        yield from (f"{where}: {fault}" for fault in _own_lacks(registered, config))
        for field, part, choice in parts_of(config):
            if choice.engine.name != "torch":
                yield f"{where}, {field}: a {part} has no engine of its own to choose; remove 'engine'"
            yield from self.lacks(part, choice.name, choice.options, f"{where}, {field}")


def _own_lacks(registered: Registered, config: Any) -> list[str]:
    """What a component says itself that it lacks; UserError naming its plugin if it says something else."""
    if registered.component.lacks is None:
        return []
    try:
        return [_text(fault) for fault in registered.component.lacks(config)]
    except UserError:
        raise
    except Exception as error:  # as in ``create``
        component = registered.component
        raise UserError(
            f"the {component.kind} {component.name!r} of {registered.origin} can't say what it lacks: "
            f"{type(error).__name__}: {reason_of(error)} (--debug shows where)"
        ) from error


def _text(fault: object) -> str:
    if not isinstance(fault, str):
        raise TypeError(f"{a_value(fault)} where a sentence is needed")
    return fault


def parts_of(config: Any) -> Iterator[tuple[str, Kind, Choice]]:
    """(field, kind, choice) of every component that the config of another one chooses."""
    for field in attrs.fields(type(config)):
        kind, choice = kind_of(field.type), getattr(config, field.name)
        if kind is not None and choice is not None:
            yield field.name, kind, choice


def _check_device(config: Any, where: str) -> None:
    """UserError if a config's ``device`` is none that torch can compute on here."""
    device = getattr(config, "device", "cpu")
    if device == "cpu" or not isinstance(device, str):
        return
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # torch's kinds of errors differ by device
        raise UserError(
            f"{where}: the device {device!r} can't be used here ({reason_of(error)}); choose another (cpu works) "
            "or install the PyTorch that is made for it"
        ) from error


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "unknown"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
