"""The captioner ``none``: for motion generators that need no text."""

from collections.abc import Sequence

from attrs import frozen

from posesyn_core.values import PoseEstimate, Sample


@frozen
class WordlessConfig:
    """It has no options."""


@frozen
class Wordless:
    """Says no more of anybody than that they are a person."""

    config: WordlessConfig

    def caption(self, samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> list[str]:
        """See :class:`posesyn_core.components.Captioner`."""
        return ["a person"] * len(samples)
