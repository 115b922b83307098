"""Random draws that depend on the unit of work alone.

Every draw is seeded from (run seed, unit id, stage), so results change neither with the batch size, nor with the
number of workers, nor with the order of work.
"""

import hashlib

import numpy as np


def seed_of(run_seed: int, unit_id: str, stage: str) -> int:
    """A 63-bit seed for one unit of work in one stage."""
    digest = hashlib.blake2b(f"{run_seed}\0{unit_id}\0{stage}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def rng(run_seed: int, unit_id: str, stage: str) -> np.random.Generator:
    """The generator for one unit of work in one stage (see :func:`seed_of`)."""
    return np.random.default_rng(seed_of(run_seed, unit_id, stage))
