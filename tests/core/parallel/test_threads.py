"""Work in threads comes back in order."""

import threading
import time
from collections.abc import Iterator

from posesyn_core.parallel.threads import ordered_map


def test_ordered_map_keeps_the_order_and_reads_ahead_a_little() -> None:
    read, lock = [], threading.Lock()

    def items() -> Iterator[int]:
        for i in range(20):
            with lock:
                read.append(i)
            yield i

    def slow(i: int) -> int:
        time.sleep(0.001 * (i % 3))
        return i

    results = ordered_map(slow, items(), 3)
    assert next(results) == 0
    assert len(read) <= 7
    assert list(results) == list(range(1, 20))
