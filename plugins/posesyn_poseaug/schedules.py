"""How the learning rates fall, as in the official commands."""

DECAY, DECAY_STEPS = 0.96, 100_000


def pretraining_rate(rate: float, step: int) -> float:
    """The learning rate of a lifter's own training from step 1 on: ``rate`` 0.96^(step / 100000), changed at step 1 and
    at multiples of 100000 only."""
    return rate * DECAY ** ((step if step == 1 else step // DECAY_STEPS * DECAY_STEPS) / DECAY_STEPS)
