"""Claims: (1) every published estimator runs at full size behind every engine; the best engine's speed is told as a
ratio to eager torch. (2) Cutting a person out is at least 3 times faster than the official description implemented
straightforwardly (4D-Humans: blur the whole image, then warp), with the same pixels to 1/255.

Random weights: speed does not depend on them. Engines and implementations are timed in turns in one process.

    python bench/estimators.py networks [--estimators spin hybrik crowdnet hmr2] [--engines torch onnx] [--batch 1 8]
    python bench/estimators.py crops
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy import ndimage

from posesyn_core.components import Kind
from posesyn_core.engine_check import bench
from posesyn_core.geometry.crops import square
from posesyn_core.inference import exportable
from posesyn_core.registry import Registry
from posesyn_core.values import FloatArray, Image
from posesyn_hmr2 import crops as hmr2
from posesyn_hmr2.network import IMAGE_SIZE
from posesyn_spin import inputs as spin

ESTIMATORS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "spin": ("spin", {}),
    "hybrik": ("hybrik", {}),
    "crowdnet": ("crowdnet", {}),
    "hmr2": ("hmr2", {}),
}
"""Name in this benchmark -> component and options."""
ROUNDS = 15

Cut = Callable[[], FloatArray]


def networks(names: Sequence[str], engines: Sequence[str], sizes: Sequence[int], seconds: float) -> None:
    """Images per second of each estimator at its published size, one in memory at a time."""
    registry = Registry.discover()
    for name in names:
        component, options = ESTIMATORS[name]
        estimator = registry.create(Kind.ESTIMATOR, component, {**options, "weights": "random-full"}, "bench")
        made = {engine: registry.create(Kind.ENGINE, engine, {}, "bench") for engine in engines}
        timings, refused = bench(exportable(name, estimator), made, sizes, seconds)
        for timing in timings:
            print(
                f"{name:<10} {timing.engine:<10} batch {timing.batch:<3} {timing.rate:8.2f} images/s "
                f"{timing.ratio:6.2f} x eager",
                flush=True,
            )
        for engine, reason in refused.items():
            print(f"{name:<10} {engine:<10} left out: {reason}", flush=True)
        del estimator, made
        gc.collect()


def blurred_whole(image: Image, box: FloatArray) -> FloatArray:
    """4D-Humans as described: blur the whole image in float64, sample the square, normalise."""
    centre, side = hmr2.person_square(box)
    sigma = hmr2.blur_deviation(float(side))
    soft = ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest", truncate=4.0)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    pixels = cv2.warpAffine(soft, hmr2.crop_matrix(centre, float(side)), size, flags=cv2.INTER_LINEAR)
    return _normalised(pixels)


def pasted_in_float(image: Image, box: FloatArray) -> FloatArray:
    """SPIN as described: paste into a float64 canvas of the box's size, stretch it to 0..255, resize, normalise."""
    centre, side = square(box, spin.MARGIN)
    first, extent = (centre - side / 2).astype(int), int(side)
    canvas = np.zeros((extent, extent, 3))
    low, high = np.maximum(first, 0), np.minimum(first + extent, image.shape[1::-1])
    inside = image[low[1] : high[1], low[0] : high[0]]
    at = low - first
    canvas[at[1] : at[1] + inside.shape[0], at[0] : at[0] + inside.shape[1]] = inside
    stretched = (canvas - canvas.min()) * (255 / (canvas.max() - canvas.min()))
    small = PIL.Image.fromarray((stretched.clip(0, 255) + 0.5).astype(np.uint8)).resize((224, 224), 2)
    return _normalised(np.asarray(small))


def _normalised(pixels: NDArray) -> FloatArray:
    values = pixels.astype(np.float32).transpose(2, 0, 1) / 255
    normalised = (values - hmr2.MEAN[:, None, None]) / hmr2.DEVIATION[:, None, None]
    return normalised.astype(np.float32)


def crops() -> None:
    """One person of 900 pixels in a picture of 1920x1080, by either implementation."""
    small = np.random.default_rng(0).integers(0, 256, (68, 120, 3)).astype(np.uint8)
    image = cv2.resize(small, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    box = np.array([700, 100, 1100, 1000], np.float32)
    pairs: dict[str, tuple[Cut, Cut]] = {
        "hmr2": (lambda: blurred_whole(image, box), lambda: hmr2.crop_person(image, box)),
        "spin": (lambda: pasted_in_float(image, box), lambda: spin.crop_person(image, box, 224, "official")),
    }
    for name, (described, ours) in pairs.items():
        difference = np.abs(described() - ours()) * hmr2.DEVIATION[:, None, None] * 255
        slow, fast = _medians(described, ours)
        print(
            f"{name:<10} described {1e3 * slow:7.2f} ms   ours {1e3 * fast:7.2f} ms   {slow / fast:5.1f} x faster, "
            f"pixels differ by {difference.max():.3f} / 255 at most"
        )


def _medians(*functions: Cut) -> list[float]:
    """Seconds of each function, called in turns."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for kept, function in zip(seconds, functions, strict=True):
            started = time.perf_counter()
            function()
            kept.append(time.perf_counter() - started)
    return [statistics.median(kept) for kept in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("networks", "crops"))
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    parser.add_argument("--engines", nargs="+", default=["torch", "onnx"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each engine and batch size is timed")
    options = parser.parse_args()
    if options.what == "crops":
        crops()
    else:
        networks(options.estimators, options.engines, options.batch, options.seconds)


if __name__ == "__main__":
    main()
