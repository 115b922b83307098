"""What this plugin brings; the work is done in the module that the factory imports."""

from typing import Any

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.hookspecs import hookimpl
from posesyn_files.config import FileConfig

LICENCE = Licence(
    code="our own (Apache-2.0)",
    weights="none",
    data="as the animator that draws the frames has it",
)


@hookimpl
def register_animators() -> list[Component]:
    return [
        Component(
            Kind.ANIMATOR,
            "file",
            "Hands plans over as files and takes the frames from files: any animator, without writing a plugin",
            _animator,
            FileConfig,
            licence=LICENCE,
        )
    ]


def _animator(config: FileConfig) -> Any:
    from posesyn_files.animator import FileAnimator

    return FileAnimator(config)
