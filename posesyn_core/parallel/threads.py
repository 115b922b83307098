"""Work in threads, its results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

U = TypeVar("U")
R = TypeVar("R")


def ordered_map(function: Callable[[U], R], items: Iterable[U], workers: int) -> Iterator[R]:
    """``map`` over ``workers`` threads, results in order; reads at most 2 * workers items ahead."""
    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) >= 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
