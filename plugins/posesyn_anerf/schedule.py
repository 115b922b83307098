"""How sharp the cutoff is in the course of a training."""

import math

SHARPEST = 2000.0


def temperature(step: int, start: float = 20.0, rate: float = 10.0, period: int = 250_000) -> float:
    """tau of the cutoff after ``step`` steps: ``start``, times ``rate`` in each ``period``, up to ``SHARPEST``."""
    return start * rate ** min(step / period, math.log(SHARPEST / start, rate))
