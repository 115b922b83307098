"""What this plugin brings; the work is done in the module that the factory imports."""

from typing import Any

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.hookspecs import hookimpl
from posesyn_reprojection.config import ReprojectionConfig

LICENCE = Licence(
    code="our own (Apache-2.0)",
    weights="none",
    data="yours, as far as the reference pictures are",
)


@hookimpl
def register_animators() -> list[Component]:
    return [
        Component(
            Kind.ANIMATOR,
            "reprojection",
            "Lifts the reference's pixels onto its estimated body, poses it, draws it; no weights",
            _animator,
            ReprojectionConfig,
            licence=LICENCE,
        )
    ]


def _animator(config: ReprojectionConfig) -> Any:
    from posesyn_reprojection.animator import ReprojectionAnimator

    return ReprojectionAnimator(config)
