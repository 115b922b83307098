"""The component ``champ``: a plan's bodies as guidance maps, and the reference person animated by them."""

import copy
import hashlib
import importlib.util
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from posesyn_champ.config import ChampConfig
from posesyn_champ.guidance import fuse
from posesyn_champ.memory import REMEDIES, Placement
from posesyn_champ.pipeline import (
    DENOISER,
    SHRINK,
    UNCONDITIONAL,
    Appearance,
    clip_input,
    decode,
    encode,
    guidance_input,
    image_token,
    remember,
    sample,
    to_image,
    vae_input,
)
from posesyn_champ.unet import Denoiser, UnconditionalDenoiser
from posesyn_champ.weights import load_networks
from posesyn_champ.windows import closed_windows, open_windows
from posesyn_core.body.guidance import guidance_maps
from posesyn_core.body.model import load_body
from posesyn_core.body.planning import require_drawable
from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.engines.memory import rejecting_what_does_not_fit
from posesyn_core.engines.precision import DTYPES
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import load_image
from posesyn_core.seeds import rng
from posesyn_core.values import ClipPlan, Image

LEVELS = 64
"""Width and height are multiples of it: 8 pixels per latent, halved three times."""

REMEMBERED = 4
"""References whose banks are kept: 60 MB each at the published size."""


class ChampAnimator:
    """Draws a reference person in the poses of a plan; see :class:`~posesyn_champ.config.ChampConfig`.

    Fits ``Animator`` and ``Accelerated``. Thread-safe: maps are drawn by all threads, the networks run one clip at a
    time. A clip depends on its plan alone.
    """

    reference_crop: ClassVar[Literal["person", "image"]] = "person"
    """Its networks see squares: a whole photograph would be squashed into one, and its people with it."""

    def __init__(self, config: ChampConfig) -> None:
        """Load the networks. UserError for a bad option, a missing file or weights that don't fit."""
        _check(config)
        self.config, self.guidance = config, config.guidance
        self.size = config.height, config.width
        self.body = load_body(Path(config.body).expanduser() if config.body else None)
        self.place = Placement(torch.device(config.device), DTYPES[config.precision], config.offload)
        self.champ = load_networks(config.weights, config.guidance)
        for network in self.champ.all():
            self.place.settle(network)
        for block in self.champ.denoiser.transformers().values():
            block.attn1.rows = config.attention_frames
        if config.vae_tiling:
            self.champ.vae.enable_tiling()
        self.calls = self._own_calls()
        self.on_engine = False
        self._remembered: OrderedDict[bytes, Appearance] = OrderedDict()
        self.lock = threading.Lock()

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image of the reference's size per frame.

        SampleError for a broken reference, bodies that are not finite or leave the image, and a clip for which memory
        does not suffice.
        """
        image = load_image(plan.reference.image)
        self._check_plan(plan, image)
        maps = self._maps(plan, image.shape[:2])
        subject = f"{len(plan.transl)} frames of {self.config.width} x {self.config.height}"
        with self.lock, rejecting_what_does_not_fit(subject, REMEDIES), torch.inference_mode():
            latents = self._latents(plan, image, maps)
        for part in latents[0].transpose(0, 1).split(self.config.vae_chunk):
            with self.lock, rejecting_what_does_not_fit(subject, REMEDIES), torch.inference_mode():
                with self.place.using(self.champ.vae):
                    pixels = decode(self.champ.vae, self.place.take(part))
                frames = to_image(pixels, image.shape[:2])
            yield from frames

    def networks(self) -> list[ExportableModule]:
        """The denoising network in float32, for batches of windows of ``context_frames`` frames; with classifier-free
        guidance also without the reference. UserError with sequential offload, whose weights are nowhere as a whole.
        """
        if self.config.offload == "sequential":
            raise UserError("an engine keeps the denoising network itself: set the animator's offload to 'none'")
        unet = self.champ.denoiser
        if self.place != Placement(torch.device("cpu"), torch.float32):
            unet = copy.deepcopy(unet).float().cpu()
        inputs, reference = self._example()
        modules = [ExportableModule(DENOISER, Denoiser(unet).eval(), {**inputs, **reference}, norms(unet))]
        if self.config.guidance_scale > 1:
            modules.append(ExportableModule(UNCONDITIONAL, UnconditionalDenoiser(unet).eval(), inputs, norms(unet)))
        return modules

    def use(self, calls: Mapping[str, NetworkCall]) -> None:
        """Denoise through these from now on; the names are those of :meth:`networks`.

        Clips of fewer frames than ``context_frames`` are rejected then: an engine's network has a fixed number.
        """
        self.calls, self.on_engine = dict(calls), True
        if self.config.offload == "none":
            self.champ.denoiser.cpu()  # the engine has its own

    def _example(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs of two windows, and what comes from the reference."""
        unet, frames = self.champ.denoiser, self.config.context_frames
        height, width = (side // SHRINK for side in self.size)
        numbers = sum(tokens * channels for tokens, channels in unet.bank_shapes(height, width))
        shapes = {
            "latents": (2, unet.sizes.latents, frames, height, width),
            "guidance": (2, unet.sizes.channels[0], frames, height, width),
            "token": (2, 1, unet.sizes.token),
            "bank": (2, numbers),
        }
        draw = torch.Generator().manual_seed(0)
        drawn = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        inputs = {"latents": drawn["latents"], "timestep": torch.tensor([999, 49]), "guidance": drawn["guidance"]}
        return inputs, {"token": drawn["token"], "bank": drawn["bank"]}

    def _own_calls(self) -> dict[str, NetworkCall]:
        """The denoising network as it is, or compiled."""
        unet, backend = self.champ.denoiser, compiler(self.config)

        def call_of(network: nn.Module) -> NetworkCall:
            run = torch.compile(network, backend=backend) if backend else network

            def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
                outputs = run(**{name: self.place.take(tensor) for name, tensor in tensors.items()})
                return {name: tensor.float() for name, tensor in outputs.items()}

            return call

        return {DENOISER: call_of(Denoiser(unet)), UNCONDITIONAL: call_of(UnconditionalDenoiser(unet))}

    def _check_plan(self, plan: ClipPlan, image: Image) -> None:
        frames = len(plan.transl)
        require_drawable(plan, image.shape[:2])
        if self.on_engine and frames < self.config.context_frames:
            raise SampleError(
                f"the clip has {frames} frames, and the engine's network was made for windows of "
                f"{self.config.context_frames}; set the animator's context_frames"
            )

    def _maps(self, plan: ClipPlan, size: tuple[int, int]) -> dict[str, Tensor]:
        """The wanted maps of all frames, drawn at the reference's ``size``: bytes (F, 3, H, W) as the encoders see."""
        frames = [
            {kind: guidance_input([drawn], self.size) for kind, drawn in maps.items()}
            for maps in guidance_maps(self.body, plan, size, self.guidance)
        ]
        return {kind: torch.cat([maps[kind] for maps in frames]) for kind in self.guidance}

    def _latents(self, plan: ClipPlan, image: Image, maps: Mapping[str, Tensor]) -> Tensor:
        """The denoised clip (1, 4, F, h, w)."""
        appearance = self._appearance(image)
        with self.place.using(self.champ.encoders):
            guidance = fuse(self.champ.encoders, maps, self.config.guidance_chunk, self.place.take).float()
        height, width = (side // SHRINK for side in self.size)
        shape = (1, self.champ.denoiser.sizes.latents, len(plan.transl), height, width)
        noise = torch.from_numpy(rng(plan.seed, plan.id, "champ").standard_normal(shape, dtype=np.float32))
        denoiser = nullcontext() if self.on_engine else self.place.using(self.champ.denoiser)
        with denoiser:
            steps = sample(
                self.calls,
                noise.to(self.place.device),
                guidance,
                appearance,
                lambda number: self._windows(len(plan.transl), number),
                steps=self.config.steps,
                scale=self.config.guidance_scale,
                betas=self.config.betas,
            )
            _, latents = deque(steps, maxlen=1).pop()
        return latents

    def _appearance(self, image: Image) -> Appearance:
        """What the networks keep of the reference, in float32; computed once for the clips of one reference."""
        name = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        if name not in self._remembered:
            self._remembered[name] = self._seen(image)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(name)
        return self._remembered[name]

    def _seen(self, image: Image) -> Appearance:
        champ, place = self.champ, self.place
        with place.using(champ.image_encoder):
            token = image_token(champ.image_encoder, place.take(clip_input(image)))
        with place.using(champ.vae):
            latents = encode(champ.vae, place.take(vae_input(image, self.size)))
        with place.using(champ.reference):
            appearance = remember(champ.reference, latents, token)
        return Appearance(appearance.token.float(), appearance.bank.float())

    def _windows(self, frames: int, step: int) -> list[list[int]]:
        size, overlap = self.config.context_frames, self.config.context_overlap
        if not self.config.closed_loop:
            return open_windows(frames, size, overlap)
        step = step if self.config.shift_windows else 0
        return closed_windows(frames, size, overlap, self.config.context_stride, step)


def norms(network: nn.Module) -> tuple[str, ...]:
    """Names of the normalisations within a module around ``network``: engines compute them in float32."""
    return tuple(
        f"unet.{name}" for name, part in network.named_modules() if isinstance(part, nn.GroupNorm | nn.LayerNorm)
    )


def compiler(config: ChampConfig) -> str:
    """The backend of torch.compile; "" = none."""
    if config.compile != "auto":
        return config.compile
    suited = config.device.startswith("cuda") and config.offload != "sequential"
    return "inductor" if suited and importlib.util.find_spec("triton") else ""


def _check(config: ChampConfig) -> None:
    if config.width % LEVELS or config.height % LEVELS:
        raise UserError(f"the animator's width and height must be multiples of {LEVELS}")
    if config.context_overlap >= config.context_frames:
        raise UserError("the animator's context_frames must be more than context_overlap")
    if not config.closed_loop and (config.shift_windows or config.context_stride > 1):
        raise UserError("shift_windows and context_stride are for windows that wrap: leave closed_loop on")
