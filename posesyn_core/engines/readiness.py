"""Would a component run as it is, with its default options? If not, what it lacks: the facts behind "ready"."""

from collections.abc import Iterator

import attrs
from attrs import frozen

from posesyn_core.components import Kind
from posesyn_core.contracts.weights import untrained
from posesyn_core.engines.devices import device_fault
from posesyn_core.registry import Registered, Registry


@frozen
class Lack:
    """Something without which a component does not run, in a word or two, and the sentence that tells the remedy."""

    what: str
    remedy: str


def lacking(registry: Registry, registered: Registered) -> list[Lack]:
    """What keeps a component from running with its default options; empty = ready."""
    return list(_lacks(registry, registered))


def state_of(lacks: list[Lack]) -> str:
    """ "ready", or "needs ..."."""
    return f"needs {', '.join(dict.fromkeys(lack.what for lack in lacks))}" if lacks else "ready"


def _lacks(registry: Registry, registered: Registered) -> Iterator[Lack]:
    component = registered.component
    yield from (Lack(need.what, need.remedy) for need in registered.missing)
    required = [field for field in attrs.fields(component.config) if field.default is attrs.NOTHING and field.init]
    if required:
        named = ", ".join(field.name for field in required)
        yield Lack(
            "data" if component.kind is Kind.READER else f"option {named}",
            "; ".join(f"set {field.name}: {field.metadata.get('doc', 'no default')}" for field in required),
        )
        return
    config = component.config()
    if untrained(config):
        yield Lack("weights", f"its default weights are untrained: set weights = {_documented(component.config)}")
    if component.lacks is not None:
        what = "data" if component.kind is Kind.READER else "weights"
        yield from (Lack(what, fault) for fault in component.lacks(config))
    device = getattr(config, "device", "cpu")
    if isinstance(device, str) and (fault := device_fault(device)):
        yield Lack(f"device {device}", fault)


def _documented(config: type) -> str:
    """What the option says of itself."""
    return str(attrs.fields_dict(config)["weights"].metadata.get("doc", "a file"))
