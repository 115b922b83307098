"""Python's garbage collection beside a stage at work.

What a stage has set up (libraries, networks, bodies) stays until it ends: some hundred thousand objects, over which
every full collection walks again, for a sixth of a second once in a few thousand samples. Frozen, they are left out.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def settle() -> None:
    """Leave what is there now out of collections, after one that removes what setting up has left behind."""
    if gc.isenabled() and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@contextmanager
def settling() -> Iterator[None]:
    """What settles inside is collected again afterwards; what somebody else had frozen before stays so."""
    frozen = gc.get_freeze_count()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()
