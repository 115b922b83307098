"""Two estimators on the same samples: who is better, by how much, and is that more than chance?"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.training.evaluate import PERCENT, Evaluation

RESAMPLES = 2000
CONFIDENCE = 0.95


@frozen
class Difference:
    """Mean of (second - first) over the samples that both have, with its bootstrap interval.

    ``better`` is the share of those samples on which the second is better, in percent.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    better: float
    samples: int

    @property
    def change(self) -> float:
        """Second less first: mm, or percentage points."""
        return self.second - self.first

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


def differences(first: Evaluation, second: Evaluation, seed: int = 0) -> list[Difference]:
    """Every metric that both evaluations have, sample by sample (percentile bootstrap over samples, 95 %)."""
    order = {name: at for at, name in enumerate(second.ids)}
    ours = [at for at, name in enumerate(first.ids) if name in order]
    theirs = [order[first.ids[at]] for at in ours]
    found = []
    for metric in (name for name in first.values if name in second.values):
        pairs = np.stack([first.values[metric][ours], second.values[metric][theirs]])
        pairs = pairs[:, np.isfinite(pairs).all(0)]
        if pairs.shape[1] > 1:
            found.append(_difference(metric, pairs, seed))
    return found


def _difference(metric: str, pairs: NDArray[np.float64], seed: int) -> Difference:
    from scipy.stats import bootstrap

    change = pairs[1] - pairs[0]
    if np.ptp(change) == 0:  # nothing to resample: the interval is the point
        low = high = float(change[0])
    else:
        found = bootstrap(
            (change,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", batch=100,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        low, high = map(float, found.confidence_interval)
    gains = change > 0 if metric in PERCENT else change < 0
    first, second = pairs.mean(1)
    return Difference(metric, float(first), float(second), low, high, float(100 * gains.mean()), pairs.shape[1])
