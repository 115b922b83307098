"""What this plugin brings; the work is done in the modules that the factories import."""

from typing import Any

from posesyn_core.components import Component, Kind
from posesyn_core.hookspecs import hookimpl
from posesyn_starter.config import WorldConfig


@hookimpl
def register_readers() -> list[Component]:
    return [Component(Kind.READER, "world", "Rendered people with exact 3D truth", _world, WorldConfig)]


def _world(config: WorldConfig) -> Any:
    from posesyn_starter.world import WorldReader

    return WorldReader(config)
