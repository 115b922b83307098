"""What a component can't work without, what it takes of a machine, and who may use it."""

from pathlib import Path

from attrs import frozen


@frozen
class Need:
    """Something a component can't work without.

    ``modules`` are importable names checked without importing them; ``path`` is a file checked for existence;
    ``remedy`` is the sentence that tells how to get it.
    """

    what: str
    remedy: str
    modules: tuple[str, ...] = ()
    path: Path | None = None


@frozen
class Licence:
    """Who may use a component for what, as far as its author knows; a phrase each, for ``posesyn plugins show``.

    ``code``: the licence of the code that it follows or wraps; ``weights``: of the weights or files that it can load;
    ``data``: what both mean for the data made with it.
    """

    code: str
    weights: str
    data: str


@frozen
class Resources:
    """What a process that runs a component takes of a cluster's machine, so that others may share the rest.

    ``gpus`` counts where the component's device is a GPU; 0.25 = four processes share one. ``memory_gb`` is main
    memory, 0 = little enough not to be counted.
    """

    cpus: float = 1.0
    gpus: float = 1.0
    memory_gb: float = 0.0
