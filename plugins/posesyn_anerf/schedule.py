"""How a training's rates go: the sharpness of the cutoff, and the learning rate."""

SHARPEST = 2000.0


def temperature(step: int, start: float = 20.0, rate: float = 10.0, period: int = 250_000) -> float:
    """tau of the cutoff after ``step`` steps: ``start``, times ``rate`` in each ``period``, up to ``SHARPEST``."""
    return min(start * rate ** (step / period), SHARPEST)


def learning_rate(step: int, start: float, decay: float = 0.1, period: int = 500, unit: int = 1000) -> float:
    """``start`` times ``decay`` in every ``period`` units of ``unit`` steps, changed once a unit: SURREAL's."""
    return start * decay ** (step // unit / period)
