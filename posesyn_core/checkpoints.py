"""Checkpoint files of published models: read safely, compared with a network, told apart.

A plugin's component that loads weights names a :class:`WeightFormat`, and ``posesyn weights check|convert`` use it.
"""

from pathlib import Path
from typing import Protocol

from attrs import frozen


@frozen
class Fit:
    """How a checkpoint file fits a model.

    ``variant`` is the model's variant that it belongs to ("" if none is recognisable). ``missing`` and ``unexpected``
    are parameter names, ``wrong_shape`` holds sentences ("name: (3, 4) in the file, (3, 8) in the network"), and
    ``ignored`` the names in the file that the model has no use for, as documented by the plugin.
    """

    variant: str
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the file can be loaded strictly."""
        return not (self.missing or self.unexpected or self.wrong_shape)


class WeightFormat(Protocol):
    """What a plugin knows of the checkpoint files of its model."""

    def check(self, path: Path) -> Fit:
        """Compare the file with the model. UserError if it can't be read at all."""
        ...

    def convert(self, source: Path, target: Path) -> None:
        """Write the model's own parameters as safetensors under the official names. UserError if it does not fit."""
        ...
