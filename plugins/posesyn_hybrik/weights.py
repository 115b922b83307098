"""Weights in and out: official files, safetensors of our own training, and random ones.

An official ``.pth`` is the state dict itself, or holds it under ``model``; it brings SMPL's body as ``smpl.*``. Some
older ResNet-34 files lack ``decsigma.*``, which nothing but the training loss needs. Ours are safetensors with the same
names, whose metadata say what the tensors don't: ``image_size`` (the crop's side) and ``body`` (whose betas they are).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.model import BUFFERS, ShapeSpace, body_of_buffers, load_body
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    needs_smpl,
    plain_state,
    read_metadata,
    read_state_dict,
    sizes_shown,
    write_checkpoint,
    write_state_dict,
)
from posesyn_core.files.paths import existing_file
from posesyn_hybrik.config import HybrikConfig
from posesyn_hybrik.heatmaps import DEPTH_EXTENT
from posesyn_hybrik.hrnet import HRNetSizes, HybrikHRNet, hrnet_sizes
from posesyn_hybrik.resnet import HybrikResNet, ResNetSizes, resnet_sizes
from posesyn_hybrik.skeleton import PARENTS
from posesyn_hybrik.smpl import HybrikSmpl, smpl_of_body, smpl_of_state

Variant = Literal["resnet34", "hrnet_w48"]
Network = HybrikResNet | HybrikHRNet

OFFICIAL_IMAGE_SIZE, SMALL_IMAGE_SIZE = 256, 64
SMALL_RESNET = ResNetSizes(width=8, layers=(1, 1, 1, 1), deconv=(16, 16, 16), hidden=32, depth=16)
SMALL_HRNET = HRNetSizes(
    stem=8, layer1=1, channels=(8, 12, 16, 24), modules=(1, 1, 1), blocks=((1,) * 2, (1,) * 3, (1,) * 4),
    heads=(2, 4, 8, 16), feature=32, depth=16,
)  # fmt: skip
LOGITS = 0.5
"""Spread of the heatmaps' logits of random weights: enough for joints that differ from picture to picture."""
PEAK, DEEPEST = 0.04, 12.0
"""The peak that random weights give each joint's depth: its width as a share of the volume's, and what lies beyond."""
TORSO = (3, 6, 9, 12, 13, 14, 15, 24)


@frozen(eq=False)
class Loaded:
    """A network with its body, the side of its crops in pixels, and whose betas it predicts."""

    network: Network
    image_size: int
    shape_space: ShapeSpace


def load_network(config: HybrikConfig) -> Loaded:
    """The network of ``config.weights`` with the body of ``config.body``.

    UserError if a file is missing, does not hold HybrIK's weights or is of another variant.
    """
    if config.weights in ("random", "random-full"):
        return _random(config)
    path = existing_file(Path(config.weights).expanduser(), "weights of hybrik")
    state = _read(path)
    variant = _variant(state)
    if config.variant not in ("", variant):
        raise UserError(f"weights {str(path)!r} are those of the variant {variant!r}; set the option variant to it")
    smpl, space = _body(config, path, state)
    network = _network(variant, state, smpl, config)
    load_state_dict(network, state, _compared(variant, state, network), path)
    return Loaded(network, int(read_metadata(path).get("image_size", OFFICIAL_IMAGE_SIZE)), space)


def _body(config: HybrikConfig, path: Path, state: dict[str, Tensor]) -> tuple[HybrikSmpl, ShapeSpace]:
    """The body to pose: that of the options, else that of the file; a body that is not wanted leaves ``state``."""
    brought = smpl_of_state(state)
    if brought is not None and not config.body:
        return brought, cast(ShapeSpace, read_metadata(path).get("body", "smpl"))
    buffers = {name.removeprefix("smpl."): state.pop(name) for name in list(state) if name.startswith("smpl.")}
    own = body_of_buffers(buffers) if buffers.keys() >= {*BUFFERS, "posedirs"} else None
    body = body_for_checkpoint(config.body, needs_smpl=needs_smpl(path), own=own)
    return smpl_of_body(body), body.shape_space


def _random(config: HybrikConfig) -> Loaded:
    body = load_body(None if config.body in ("", "free") else Path(config.body).expanduser())
    full = config.weights == "random-full"
    size = OFFICIAL_IMAGE_SIZE if full else SMALL_IMAGE_SIZE
    smpl = smpl_of_body(body)
    network: Network
    if config.variant == "hrnet_w48":
        network = HybrikHRNet(HRNetSizes() if full else SMALL_HRNET, smpl, config.flip_test, config.refine_scale)
    else:
        network = HybrikResNet(ResNetSizes() if full else SMALL_RESNET, smpl, config.flip_test)
    _settle(network, size)
    return Loaded(network, size, body.shape_space)


def untrained(like: Network, image_size: int) -> Network:
    """Random weights for a network of the sizes of ``like``, with its body."""
    network = (
        HybrikHRNet(like.sizes, like.smpl) if isinstance(like, HybrikHRNet) else HybrikResNet(like.sizes, like.smpl)
    )
    _settle(network, image_size)
    return network


def _settle(network: Network, size: int) -> None:
    """Make random weights behave like trained ones: normalised features, and heatmaps that have peaks.

    BatchNorm takes the statistics of two pictures of soft noise, without which so deep a network fades or overflows.
    The last layer's bias tells each joint's depth, of a body that lies with its head towards the camera: joints at
    random places would ask for bones that point back along their parents, where inverse kinematics is no longer
    continuous.
    """
    final = network.preact.final_layer if isinstance(network, HybrikHRNet) else network.final_layer
    nn.init.normal_(final.weight, std=LOGITS / final.in_channels**0.5)
    nn.init.xavier_uniform_(network.deccam.weight, gain=0.01)  # a person in the crop, not one at infinity or behind
    with torch.no_grad():
        bins = torch.arange(network.sizes.depth)
        places = network.sizes.depth * (0.5 + _depths(network.smpl)[:, None] / DEPTH_EXTENT)
        away = (bins - places) / (PEAK * network.sizes.depth)
        final.bias.copy_((-0.5 * away.square()).clamp_min(-DEEPEST).flatten())  # type: ignore[union-attr]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        noise = nn.functional.interpolate(torch.randn(2, 3, 8, 8), size=(size, size), mode="bilinear")
        network.train().features(noise)
    network.eval()
    for norm in norms:
        norm.momentum = 0.1


def _depths(smpl: HybrikSmpl) -> Tensor:
    """(29,) metres behind the pelvis: towards the camera along spine and neck, away from it along arms and legs."""
    rest = smpl(torch.zeros(1, 10, device=smpl.v_template.device))[0].cpu()
    depths = torch.zeros(len(rest))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            length = (rest[joint] - rest[parent]).norm()
            depths[joint] = depths[parent] + (-length if joint in TORSO else length)
    return depths


def _read(path: Path) -> dict[str, Tensor]:
    state = read_state_dict(path, "model")
    if "init_shape" in state:
        state["init_shape"] = state["init_shape"].flatten()  # (1, 10) in some files
    return state


def _variant(state: Mapping[str, Tensor]) -> Variant:
    """The variant whose file it can be: HRNet has its last layer inside."""
    return "hrnet_w48" if "preact.final_layer.weight" in state else "resnet34"


def _network(variant: Variant, state: Mapping[str, Tensor], smpl: HybrikSmpl, config: HybrikConfig) -> Network:
    """A network of the sizes that the state shows; of the published ones if it shows none."""
    if variant == "hrnet_w48":
        return HybrikHRNet(sizes_shown(hrnet_sizes, state, HRNetSizes()), smpl, config.flip_test, config.refine_scale)
    return HybrikResNet(sizes_shown(resnet_sizes, state, ResNetSizes()), smpl, config.flip_test)


def _compared(variant: Variant, state: Mapping[str, Tensor], network: Network) -> Fit:
    older = ["decsigma.*"] if variant == "resnet34" else []
    return compare(state, network, variant=_named(variant, network), ignored=["smpl.*"], optional=["smpl.*", *older])


def _named(variant: Variant, network: Network) -> str:
    published = network.sizes in (ResNetSizes(), HRNetSizes())
    return f"HybrIK {variant}{'' if published else ' (other widths)'}"


def save_network(loaded: Loaded, path: Path) -> None:
    """Write the weights, atomically: ``.pth`` in the official layout, else safetensors.

    Both hold the body as ``smpl.*``, as official files do; SMPL's licence goes with it. The official layout has no
    place for the crop's size.
    """
    state = plain_state(loaded.network)
    if path.suffix == ".pth":
        write_checkpoint(state, path)
        return
    write_state_dict(state, path, {"image_size": str(loaded.image_size), "body": loaded.shape_space})


class HybrikWeights:
    """HybrIK's WeightFormat."""

    def check(self, path: Path) -> Fit:
        """Compare with the network of the sizes that the file shows; with the published one if it shows none."""
        state = _read(path)
        variant = _variant(state)
        with torch.device("meta"):
            network = _network(variant, state, smpl_of_state(state) or HybrikSmpl(), HybrikConfig())
        return _compared(variant, state, network)

    def convert(self, source: Path, target: Path) -> None:
        """The network and, where the file has one, its body."""
        state = _read(source)
        fit = self.check(source)
        if not fit.fits:
            raise UserError(f"weights {str(source)!r} are not those of a {fit.variant} network: {fit.complaint}")
        size = read_metadata(source).get("image_size", str(OFFICIAL_IMAGE_SIZE))
        kept = {name: tensor for name, tensor in state.items() if name not in fit.ignored}
        write_state_dict(kept, target, {"image_size": size, "body": read_metadata(source).get("body", "smpl")})
