"""What this plugin brings; the work is done in the module that the factory imports."""

from typing import Any

from posesyn_core.components import Component, Kind
from posesyn_core.hookspecs import hookimpl
from posesyn_reprojection.config import ReprojectionConfig


@hookimpl
def register_animators() -> list[Component]:
    return [
        Component(
            Kind.ANIMATOR,
            "reprojection",
            "Lifts the reference's pixels onto its estimated body, poses it, draws it; no weights",
            _animator,
            ReprojectionConfig,
        )
    ]


def _animator(config: ReprojectionConfig) -> Any:
    from posesyn_reprojection.animator import ReprojectionAnimator

    return ReprojectionAnimator(config)
