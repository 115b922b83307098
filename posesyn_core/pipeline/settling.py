"""Python's garbage collection beside a stage at work.

What a stage has set up (libraries, networks, bodies) stays until it ends: some hundred thousand objects, over which
every full collection walks again, for a sixth of a second once in a few thousand samples. Frozen, they are left out.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def settle() -> bool:
    """Leave what is there now out of collections, after one that removes what setting up has left behind.

    False, and nothing changes, if somebody else has seen to collections already.
    """
    ours = gc.isenabled() and not gc.get_freeze_count()
    if ours:
        gc.collect()
        gc.freeze()
    return ours


@contextmanager
def settling() -> Iterator[Callable[[], None]]:
    """Gives :func:`settle`; afterwards collections find everything again."""
    ours = False

    def once() -> None:
        nonlocal ours
        ours = settle() or ours

    try:
        yield once
    finally:
        if ours:
            gc.unfreeze()
