"""Claim: selecting hard and easy samples from 1,000,000 errors streams in bounded memory, in about a second.

Prints the peak memory of `posesyn_core.method.eem.select` as a share of that of sorting everything, and both times.
Run: python bench/select_streaming.py [number of errors]
"""

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np

from posesyn_core.method.eem import select

HARD, EASY = 500, 200
Selection = tuple[list[tuple[str, float]], list[tuple[str, float]]]


def errors(count: int) -> Iterator[float]:
    """Errors as a reader of the table's parts yields them: some equal, some NaN."""
    rng = np.random.default_rng(0)
    for start in range(0, count, 4096):
        values = np.round(rng.gamma(2, 30, size=min(4096, count - start)), 2)
        values[rng.random(len(values)) < 0.01] = np.nan
        yield from values.tolist()


def ids(count: int) -> Iterator[str]:
    return (f"bench/train/{number:07d}" for number in range(count))


def stream(count: int) -> Selection:
    return select(errors(count), ids(count), HARD, EASY)


def sort_everything(count: int) -> Selection:
    pairs = [pair for pair in zip(ids(count), errors(count), strict=True) if np.isfinite(pair[1])]
    hardest = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:HARD]
    return hardest, sorted(pairs, key=lambda pair: (pair[1], pair[0]))[:EASY]


def measure(function: Callable[[int], Selection], count: int) -> tuple[Selection, float, int]:
    """The result, the seconds it took, and the peak of its memory in bytes (in a second, slower run)."""
    started = time.perf_counter()
    result = function(count)
    seconds = time.perf_counter() - started
    tracemalloc.start()
    function(count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, seconds, peak


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    tenth, _, small_peak = measure(stream, count // 10)
    streamed, seconds, peak = measure(stream, count)
    everything, sort_seconds, sort_peak = measure(sort_everything, count)
    assert streamed == everything and tenth != everything
    print(f"{count // 10} errors: streaming peak {small_peak / 2**20:.1f} MiB")
    print(f"{count} errors: streaming peak {peak / 2**20:.1f} MiB, {seconds:.2f} s")
    print(f"{count} errors: sorting everything peak {sort_peak / 2**20:.1f} MiB, {sort_seconds:.2f} s")
    print(f"ratio of peak memory, streaming / sorting everything: {peak / sort_peak:.4f}")
    print(f"ratio of peak memory, streaming {count} / streaming {count // 10}: {peak / small_peak:.3f}")


if __name__ == "__main__":
    main()
