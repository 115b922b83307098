"""Claims: (1) every published estimator runs at full size behind every engine; the best engine's speed is told as a
ratio to eager torch, with how far its joints are from eager torch's on rendered people. On a processor with bf16 units
the best engine is at least 2.5 times as fast as eager float32, and within 2 mm. (2) Cutting a person out is at least 3
times faster than the official description implemented straightforwardly where that works on more than the crop
(4D-Humans blurs the whole image, SPIN pastes and stretches in float64), with the same pixels to 1/255. HybrIK and
3DCrowdNet sample the image as it is: there is little to save.

Random weights, but for blazepose and starter: speed does not depend on them. How far half precision is off does. Deep
networks at random magnify whatever is off, in chaos (Yang et al., "A Mean Field Theory of Batch Normalization", ICLR
2019); trained ones can't. So batch norms get the statistics of rendered people (but 3DCrowdNet's, which then are
chaotic whatever else is done), residual branches of ResNets the weight --branch (training usually begins at 0: Goyal et
al., "Accurate, Large Minibatch SGD", 2017; 1 leaves networks chaotic; 4D-Humans' transformer stays as drawn), and
regressors turn joints and move cameras as far from rest as people's are: who is seen as a dot would be off by metres
with a tenth of a pixel. For judging that, it is printed how far the joints of the float32 network move if every pixel
is off by up to half of one of its 256 levels. Engines and implementations are timed in turns in one process.

    python bench/estimators.py networks [--estimators spin hybrik crowdnet hmr2 blazepose starter] [--batch 1 8]
        [--engines torch onnx openvino openvino:bf16] [--cpu-time] [--branch 0.2]
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
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from posesyn_core.components import Kind, SplitEstimator
from posesyn_core.contracts.engines import Engine, EngineConfig, ExportableModule
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.errors import UserError
from posesyn_core.geometry.crops import crop_matrix, square
from posesyn_core.inference.predict import exportable
from posesyn_core.inference.resnet import BasicBlock, Bottleneck
from posesyn_core.inference.verification import Clock, Subject, bench, verify, verify_estimator
from posesyn_core.registry import Registry
from posesyn_core.values import FloatArray, Image
from posesyn_crowdnet import crops as crowdnet
from posesyn_hmr2 import crops as hmr2
from posesyn_hmr2.network import IMAGE_SIZE
from posesyn_hybrik import inputs as hybrik
from posesyn_spin import inputs as spin

ESTIMATORS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    **{name: (name, {"weights": "random-full"}) for name in ("spin", "hybrik", "crowdnet", "hmr2")},
    **{name: (name, {}) for name in ("blazepose", "starter")},
}
"""Name in this benchmark -> component and options."""
ROUNDS = 15
SPREADS: Mapping[str, Mapping[str, float]] = {
    "spin": {"decpose": 0.1},
    "crowdnet": {
        "rotation_net.root_pose_out.0": 0.3,
        "rotation_net.pose_out.0": 1.0,
        "vposer.vposer.bodyprior_dec_out": 0.3,
    },
    "hmr2": {"smpl_head.decpose": 0.3, "smpl_head.deccam": 0.14},
}
"""Root mean square of what layers add to rotations in the 6D form at rest (SPIN in each of three iterations), to
4D-Humans' camera at rest (of the rendered people themselves, scale and shifts: 0.14), and of VPoser's code, which is
normal. Other cameras are at rest as they are."""
AT_REST = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
"""A rotation in that form; 3DCrowdNet's layers have it in their bias, the others begin with it."""
LEVEL = {"crowdnet": 1 / 255}
"""One of a pixel's 256 levels in a network's input; of all others 1 / 255 by ImageNet's deviation."""

Cut = Callable[[], FloatArray]


def engines_of(registry: Registry, names: Sequence[str]) -> tuple[dict[str, Engine], dict[str, str]]:
    """Engines by names such as "onnx" and "openvino:bf16", and why some can't be had."""
    made: dict[str, Engine] = {}
    refused: dict[str, str] = {}
    for name in names:
        engine, _, precision = name.partition(":")
        try:
            made[name] = registry.create(Kind.ENGINE, engine, {"precision": precision or "fp32"}, "bench")
        except UserError as error:
            refused[name] = str(error)
    return made, refused


def networks(
    names: Sequence[str], engines: Sequence[str], sizes: Sequence[int], seconds: float, clock: Clock, branch: float
) -> None:
    """Images per second of each estimator at its published size, one in memory at a time."""
    registry = Registry.discover()
    for name in names:
        component, options = ESTIMATORS[name]
        torch.manual_seed(0)
        estimator = registry.create(Kind.ESTIMATOR, component, options, "bench")
        made, refused = engines_of(registry, engines)
        checked = Subject(Kind.ESTIMATOR, name, estimator, (exportable(name, estimator),))
        if options:
            settle(checked.networks[0], branch)
            moved = half_a_level(estimator, LEVEL.get(name, 1 / 255 / 0.225))
            print(f"{name:<10} half a level of the pixels moves joints by {moved:.2f} mm on average", flush=True)
        timings, unable = bench(checked.networks[0], made, sizes, seconds, clock)
        refused |= unable
        for timing in timings:
            print(
                f"{name:<10} {timing.engine:<13} batch {timing.batch:<3} {timing.rate:8.2f} images/s "
                f"{timing.ratio:6.2f} x eager",
                flush=True,
            )
        for engine, reason in refused.items():
            print(f"{name:<10} {engine:<13} left out: {reason}", flush=True)
        for engine in made.keys() - refused.keys() - {"torch"}:
            print(f"{name:<10} {engine:<13} {verify(checked, made[engine]).text}", flush=True)
        del estimator, made
        gc.collect()


def settle(module: ExportableModule, branch: float) -> None:
    """Make random weights as insensitive as trained ones: see above."""
    assert module.calibration is not None
    people = list(module.calibration())
    batch = {name: torch.cat([person[name] for person in people]) for name in people[0]}
    settled = module.name != "crowdnet"
    norms = [part for part in module.module.modules() if settled and isinstance(part, nn.BatchNorm2d)]
    blocks = [part for part in module.module.modules() if isinstance(part, BasicBlock | Bottleneck)]
    with torch.no_grad():
        for block in blocks if settled else ():
            nn.init.constant_((block.bn2 if isinstance(block, BasicBlock) else block.bn3).weight, branch)
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            module.module.train()(**batch)
        module.module.eval()
        for norm in norms:
            norm.momentum = 0.1
        for name, size in SPREADS.get(module.name, {}).items():
            layer = module.module.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            if module.name == "crowdnet" and len(layer.bias) % len(AT_REST) == 0:
                layer.bias.copy_(torch.tensor(AT_REST).repeat(len(layer.bias) // len(AT_REST)))
            layer.weight *= size / _root_mean_square(layer, module.module, batch)


def _root_mean_square(layer: nn.Linear, network: nn.Module, batch: Mapping[str, torch.Tensor]) -> float:
    """Of what the layer adds to its bias."""
    added: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda *call: added.append(call[2] - layer.bias))
    network(**batch)
    hook.remove()
    return float(torch.cat(added).square().mean().sqrt())


def half_a_level(estimator: SplitEstimator, level: float) -> float:
    """How far the joints on rendered people move, mm in the mean, if the pixels are off by up to half a ``level``."""
    eager = TorchEngine(EngineConfig()).load(exportable("eager", estimator))
    chance = torch.Generator().manual_seed(0)

    def call(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        off = (torch.rand(tensors["images"].shape, generator=chance) - 0.5) * level
        return eager({**tensors, "images": tensors["images"] + off})

    return verify_estimator(estimator, LoadedNetwork(call, (8, 8)), "bf16").error


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


def whole_in_float(image: Image, box: FloatArray) -> FloatArray:
    """3DCrowdNet as described: the whole image in float32, sampled at the square, 0..1."""
    x, y, width, height = crowdnet.crop_box(crowdnet.as_xywh(box), image.shape[1], image.shape[0])
    matrix = crowdnet.crop_matrix([x, y, width, height], crowdnet.View(), image.shape[1])
    pixels = cv2.warpAffine(image.astype(np.float32), matrix, (IMAGE_SIZE, IMAGE_SIZE), flags=cv2.INTER_LINEAR)
    return (pixels.transpose(2, 0, 1) / 255).astype(np.float32)


def crowdnet_crop(image: Image, box: FloatArray) -> FloatArray:
    """Ours, from the same box."""
    return crowdnet.cut(image, crowdnet.crop_box(crowdnet.as_xywh(box), image.shape[1], image.shape[0]))


def warped(image: Image, box: FloatArray) -> FloatArray:
    """HybrIK as described: sample the square in 8 bits, normalise in float32; the whole image is left alone."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    pixels = cv2.warpAffine(image, crop_matrix(box, IMAGE_SIZE, hybrik.MARGIN), size, flags=cv2.INTER_LINEAR)
    values = pixels.astype(np.float32).transpose(2, 0, 1)
    values = values / 255 if values.max() > 1 else values
    return ((values - hybrik.MEAN[:, None, None]) / hybrik.DEVIATION[:, None, None]).astype(np.float32)


def _normalised(pixels: NDArray) -> FloatArray:
    values = pixels.astype(np.float32).transpose(2, 0, 1) / 255
    normalised = (values - hmr2.MEAN[:, None, None]) / hmr2.DEVIATION[:, None, None]
    return normalised.astype(np.float32)


def crops() -> None:
    """One person of 900 pixels in a picture of 1920x1080, by either implementation."""
    small = np.random.default_rng(0).integers(0, 256, (68, 120, 3)).astype(np.uint8)
    image = cv2.resize(small, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    box = np.array([700, 100, 1100, 1000], np.float32)
    unit = np.ones(3, np.float32)
    pairs: dict[str, tuple[Cut, Cut, FloatArray]] = {
        "hmr2": (lambda: blurred_whole(image, box), lambda: np.asarray(hmr2.crop_person(image, box)), hmr2.DEVIATION),
        "spin": (
            lambda: pasted_in_float(image, box),
            lambda: np.asarray(spin.crop_person(image, box, 224, "official")),
            spin.DEVIATION,
        ),
        "crowdnet": (lambda: whole_in_float(image, box), lambda: crowdnet_crop(image, box), unit),
        "hybrik": (
            lambda: warped(image, box),
            lambda: np.asarray(hybrik.crop_person(image, box, IMAGE_SIZE)),
            hybrik.DEVIATION,
        ),
    }
    for name, (described, ours, deviation) in pairs.items():
        difference = np.abs(described() - ours()) * deviation[:, None, None] * 255
        (slow, slow_work), (fast, fast_work) = _medians(described, ours)
        print(
            f"{name:<10} described {1e3 * slow:7.2f} ms   ours {1e3 * fast:7.2f} ms   {slow / fast:5.1f} x faster, "
            f"{slow_work / fast_work:5.1f} x in processor time; pixels differ by {difference.max():.3f} / 255 at most"
        )


def _medians(*functions: Cut) -> list[tuple[float, float]]:
    """Seconds on the clock and of the processor for each function, called in turns."""
    seconds: list[list[tuple[float, float]]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for kept, function in zip(seconds, functions, strict=True):
            started, worked = time.perf_counter(), time.process_time()
            function()
            kept.append((time.perf_counter() - started, time.process_time() - worked))
    return [
        (statistics.median(clock), statistics.median(work))
        for clock, work in (zip(*kept, strict=True) for kept in seconds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("networks", "crops"))
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    parser.add_argument("--engines", nargs="+", default=["torch", "onnx", "openvino", "openvino:bf16"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each engine and batch size is timed")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process, for a busy machine, 1 thread")
    parser.add_argument("--branch", type=float, default=0.2, help="weight of the residual branches")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.what == "crops":
        crops()
    else:
        networks(options.estimators, options.engines, options.batch, options.seconds, clock, options.branch)


if __name__ == "__main__":
    main()
