"""The words that name weights without a file, and what is to be told of them."""

from typing import Any

STARTER = "starter"
"""Weights that came with the plugin."""
UNTRAINED = ("random", "random-full")
"""Weights that nobody has trained: small ones for tests, and of the published size for benchmarks and engine checks."""


def untrained(config: Any) -> bool:
    """Whether a component's config chooses untrained weights."""
    return getattr(config, "weights", None) in UNTRAINED


def weights_warning(kind: str, name: str, config: Any) -> str:
    """A sentence if a component's weights are not those of a published model; "" for others."""
    if untrained(config):
        return (
            f"the {kind} {name!r} has untrained weights (weights = {config.weights!r}): its results mean nothing; "
            f"name a file with {name}'s weights"
        )
    if getattr(config, "weights", None) == STARTER:
        return (
            f"the {kind} {name!r} has its starter weights: good for a first look, well below a published model; "
            "see `posesyn plugins` for others"
        )
    return ""
