"""Finds plugins, looks components up by name, and explains what is missing."""

import difflib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import pluggy
from attrs import Factory, define, frozen

from posesyn_core import hookspecs
from posesyn_core.components import PROTOCOLS, Component, Kind, Need, kind_of
from posesyn_core.errors import UserError

if TYPE_CHECKING:
    from posesyn_core.recipe import Choice

GROUP = "posesyn"

_HOOK_OF_KIND: Mapping[Kind, str] = {
    Kind.ESTIMATOR: "register_estimators",
    Kind.KEYPOINTS: "register_keypoint_estimators",
    Kind.DETECTOR: "register_detectors",
    Kind.CAPTIONER: "register_captioners",
    Kind.MOTION: "register_motion_generators",
    Kind.ANIMATOR: "register_animators",
    Kind.FILTER: "register_filters",
    Kind.READER: "register_readers",
    Kind.WRITER: "register_writers",
    Kind.ENGINE: "register_engines",
}


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
            self.failures[f"{origin.plugin} ({origin})"] = str(error)
            return
        self.origins[name] = origin
        self.__dict__.pop("components", None)

    @cached_property
    def components(self) -> dict[tuple[Kind, str], Registered]:
        """All components by kind and name.

        Raises UserError if two plugins bring the same kind and name, naming both distributions.
        """
        found: dict[tuple[Kind, str], Registered] = {}
        for kind, hook in _HOOK_OF_KIND.items():
            for registered in self._of_hook(hook):
                key = (kind, registered.component.name)
                if key in found:
                    raise UserError(
                        f"two plugins provide the {kind} {key[1]!r}: {found[key].origin} and {registered.origin}; "
                        "uninstall one of them"
                    )
                found[key] = registered
        return found

    def _of_hook(self, hook: str) -> Iterable[Registered]:
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            origin = self.origins[implementation.plugin_name]
            try:
                components = implementation.function()
            except Exception as error:  # as above: report it and go on
                self.failures[f"{origin.plugin} ({origin})"] = f"{hook} failed: {error}"
                continue
            yield from (Registered(component, origin) for component in components)

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
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"install the plugin that provides it (by custom posesyn_{name}), or take one of: {', '.join(names)}"
        )
        raise UserError(f"no {kind} named {name!r} is installed; {hint}")

    def create(self, kind: Kind, name: str, options: Mapping[str, Any], where: str) -> Any:
        """Make the component ``name`` with ``options``; ``where`` names their place (recipe section) in errors.

        Raises UserError for an unknown name or option, a missing need, or a product that misses its protocol.
        """
        config = self.check(kind, name, options, where)
        registered = self.find(kind, name)
        parts = {
            field: self.create(part, choice.name, choice.options, f"{where}, {field}")
            for field, part, choice in _parts(config)
        }
        product = registered.component.factory(attrs.evolve(config, **parts) if parts else config)
        self._check_product(kind, registered, product)
        return product

    def check(self, kind: Kind, name: str, options: Mapping[str, Any], where: str) -> Any:
        """The config that ``create`` would use, without making anything; UserError as there."""
        from posesyn_core.recipe import structure

        registered = self.find(kind, name)
        if registered.missing:
            lacks = "; ".join(f"{need.what} ({need.remedy})" for need in registered.missing)
            raise UserError(f"the {kind} {name!r} lacks {lacks}")
        config = structure(dict(options), registered.component.config, where)
        for field, part, choice in _parts(config):
            if choice.engine.name != "torch":
                raise UserError(f"{where}, {field}: a {part} has no engine of its own to choose; remove 'engine'")
            self.check(part, choice.name, choice.options, f"{where}, {field}")
        return config

    def _check_product(self, kind: Kind, registered: Registered, product: Any) -> None:
        from posesyn_core.components import SplitEstimator

        fits = isinstance(product, PROTOCOLS[kind])
        if kind is Kind.ESTIMATOR:
            fits = fits or isinstance(product, SplitEstimator)
        if not fits:
            wanted = PROTOCOLS[kind].__name__
            raise UserError(
                f"the {kind} {registered.component.name!r} of {registered.origin} does not fit the protocol {wanted}; "
                "see posesyn_core/components.py"
            )


def _parts(config: Any) -> "Iterator[tuple[str, Kind, Choice]]":
    """(field, kind, choice) of every component that the config of another one chooses."""
    for field in attrs.fields(type(config)):
        kind, choice = kind_of(field.type), getattr(config, field.name)
        if kind is not None and choice is not None:
            yield field.name, kind, choice


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "unknown"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
