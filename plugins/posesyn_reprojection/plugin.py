"""What this plugin brings; the work is done in the module that the factory imports."""

from typing import Any

from attrs import frozen

from posesyn_core.components import Component, Kind, option
from posesyn_core.hookspecs import hookimpl


@frozen
class ReprojectionConfig:
    """The re-projection animator."""

    body: str = option("", "the SMPL file (.npz or official .pkl) of the plan's bodies; empty = the free body")
    references: int = option(16, "how many reference people are kept in memory, ready to be posed")
    resolution: int = option(640, "longest side, in pixels, at which a person is drawn; larger ones are enlarged")


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
