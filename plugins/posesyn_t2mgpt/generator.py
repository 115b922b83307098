"""The component ``t2mgpt``: motions that start at a pose and follow a text (MSM, Eq. 4-5)."""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from posesyn_core.contracts.engines import ExportableModule, NetworkCall
from posesyn_core.errors import SampleError, UserError
from posesyn_core.seeds import rng
from posesyn_core.values import Motion, MotionRequest
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.representation import (
    CONTACTS,
    FPS,
    PARENTS,
    features_from_joints,
    joints_from_features,
    still_feet,
)
from posesyn_t2mgpt.sampling import PREFILL, STEP, eager, gumbel, sample
from posesyn_t2mgpt.text import make_text_encoder
from posesyn_t2mgpt.transformer import TEXT_DIM, Prefill, Step
from posesyn_t2mgpt.vqvae import FRAMES_PER_CODE
from posesyn_t2mgpt.weights import load_weights

POSE_FRAMES = 31
"""How often the pose is repeated: 31 frames give the paper's (30, 263) MR_init."""

POSE_CODES = (POSE_FRAMES - 1) // FRAMES_PER_CODE
"""M = 7 codes of S_MR, and so the first 28 frames of the motion."""

GUIDANCES = ("full", "text_only", "pose_only")
TEXT_GUIDED = ("full", "text_only")
SHORTEST_BONE, LONGEST_BONE = 1e-3, 2.0
"""Metres: a pose with a bone outside these is no body, and its directions or scale mean nothing."""


class T2MGpt:
    """Motion generator of the T2M-GPT architecture; see :class:`~posesyn_t2mgpt.config.T2MGptConfig`."""

    def __init__(self, config: T2MGptConfig) -> None:
        """Load the weights. UserError for a bad option, a missing file or package, or weights that don't fit."""
        _check(config)
        weights = load_weights(config.weights)
        like = {"dtype": getattr(torch, config.precision), "device": torch.device(config.device)}
        self.config, self.weights = config, weights
        self.statistics = weights.statistics()
        self.vqvae = weights.vqvae().to(**like)
        transformer = weights.transformer(config.heads).to(**like)
        if self.vqvae.shape.codes != transformer.shape.codes:
            raise UserError(
                f"the VQ-VAE of {weights.source} has {self.vqvae.shape.codes} codes, "
                f"its transformer {transformer.shape.codes}; take both from one set"
            )
        name = weights.text_encoder if config.text_encoder == "auto" else config.text_encoder
        self.text = make_text_encoder(name, config.clip, config.device)
        self.shape, self.calls = transformer.shape, eager(transformer)
        self.like = self.sampled_like = torch.zeros((), **like)

    def networks(self) -> list[ExportableModule]:
        """The transformer's prefill and step in float32, whatever ``precision`` says, for batches of any size.

        Their key/value cache is explicit and has the size of the longest motion: prefill (text, the 7 codes of S_MR
        and how many of them count) makes it, step reads it and returns what belongs at its row's new place.
        """
        model = self.weights.transformer(self.config.heads)
        prefix = {
            "text": torch.zeros(2, TEXT_DIM),
            "tokens": torch.zeros(2, POSE_CODES, dtype=torch.long),
            "counts": torch.tensor([POSE_CODES, 0]),
        }
        prefill, step = Prefill(model).eval(), Step(model).eval()
        with torch.inference_mode():
            cache = prefill(**prefix)
        added = {
            "token": torch.zeros(2, dtype=torch.long),
            "place": prefix["counts"] + 1,
            "keys": cache["keys"].clone(),
            "values": cache["values"].clone(),
        }
        return [
            ExportableModule(PREFILL, prefill, prefix, _delicate(prefill)),
            ExportableModule(STEP, step, added, _delicate(step)),
        ]

    def use(self, calls: Mapping[str, NetworkCall]) -> None:
        """Draw codes through these, in float32 on the CPU, from now on: the names are those of :meth:`networks`."""
        self.calls = {name: calls[name] for name in (PREFILL, STEP)}
        self.sampled_like = torch.zeros(())

    def generate(self, requests: Sequence[MotionRequest]) -> list[Motion]:
        """One motion per request, S_MR decoded as its first 28 frames unless ``guidance`` is "text_only".

        Motions are (L, 22, 3) on HumanML3D's reference skeleton, standing on y = 0, starting at x = z = 0 and facing
        +z, with L a multiple of 4 between the request's ``min_frames`` and ``max_frames`` (and at most 200). Each
        depends on its request and seed alone. A caption longer than its encoder reads (CLIP: 77 tokens) is cut there,
        as published. Raises SampleError for a request that can't be met.
        """
        for request in requests:
            check_request(request)
        size = self.config.batch
        return [
            motion
            for start in range(0, len(requests), size)
            for motion in self._generate(requests[start : start + size])
        ]

    @torch.inference_mode()
    def _generate(self, requests: Sequence[MotionRequest]) -> list[Motion]:
        codes, lengths = self.codes(requests)
        features = self.statistics.denormalize(self.vqvae.decode(codes, lengths))
        joints = joints_from_features(features)
        if self.config.still_feet:
            joints = still_feet(joints, features[..., CONTACTS])
        arrays, frames = joints.cpu().numpy(), (lengths * FRAMES_PER_CODE).tolist()
        return [self._motion(request, arrays[row, : frames[row]]) for row, request in enumerate(requests)]

    @torch.inference_mode()
    def codes(self, requests: Sequence[MotionRequest]) -> tuple[Tensor, Tensor]:
        """The motions' codes (B, 50), zero beyond their numbers (B,): S_MR first, then what was drawn (Eq. 5)."""
        prefix, counts = self.pose_codes(requests)
        codes, lengths = sample(
            self.calls,
            self.shape,
            self._conditions(requests),
            prefix.to(self.sampled_like.device),
            self._tensor(counts),
            least=self._tensor([-(-request.min_frames // FRAMES_PER_CODE) for request in requests]),
            most=self._tensor([self._most_codes(request) for request in requests]),
            noise=self._noise(requests),
            temperature=self.config.temperature,
            top_k=self.config.top_k,
        )
        return codes.to(self.like.device), lengths.to(self.like.device)

    def pose_codes(self, requests: Sequence[MotionRequest]) -> tuple[Tensor, list[int]]:
        """S_MR of Eq. 4: codes (B, 7) of the poses held for 31 frames, and how many count per row (7, or 0 without)."""
        wanted = [request.guidance != "text_only" for request in requests]
        codes = torch.zeros(len(requests), POSE_CODES, dtype=torch.long, device=self.like.device)
        if any(wanted):
            poses = np.stack([r.pose for r, want in zip(requests, wanted, strict=True) if want and r.pose is not None])
            held = torch.from_numpy(poses).to(self.like)[:, None].expand(-1, POSE_FRAMES, -1, -1)
            normalised = self.statistics.normalize(features_from_joints(held))
            codes[torch.tensor(wanted)] = self.vqvae.encode(normalised)
        return codes, [POSE_CODES * want for want in wanted]

    def _conditions(self, requests: Sequence[MotionRequest]) -> Tensor:
        """e_text (B, 512), zero where the text does not guide."""
        guided = torch.tensor([request.guidance != "pose_only" for request in requests])
        return (self.text.encode([request.caption for request in requests]) * guided[:, None]).to(self.sampled_like)

    def _noise(self, requests: Sequence[MotionRequest]) -> Tensor | None:
        if self.config.temperature == 0:
            return None
        return gumbel([rng(r.seed, r.id, "t2mgpt") for r in requests], self.shape).to(self.sampled_like)

    def _most_codes(self, request: MotionRequest) -> int:
        return min(request.max_frames // FRAMES_PER_CODE, self.shape.places - 1)

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.sampled_like.device)

    def _motion(self, request: MotionRequest, joints: np.ndarray) -> Motion:
        return Motion(
            id=request.id,
            sample_id=request.sample_id,
            caption=request.caption,
            joints=joints - [0, joints[..., 1].min(), 0],
            fps=FPS,
            seed=request.seed,
            provenance=f"t2mgpt {self.config.weights} {request.guidance}",
        )


def _delicate(network: nn.Module) -> tuple[str, ...]:
    """The parts to compute in float32 always: normalisations, and the scores that decide between codes."""
    norms = (name for name, part in network.named_modules() if isinstance(part, nn.LayerNorm))
    return (*norms, "model.trans_head.head")


def check_request(request: MotionRequest) -> None:
    """Raise SampleError, naming what is wrong, for a request that can't be met."""
    if request.guidance not in GUIDANCES:
        raise SampleError(f"guidance {request.guidance!r} is none of {', '.join(GUIDANCES)}")
    shortest = FRAMES_PER_CODE if request.guidance == "text_only" else POSE_CODES * FRAMES_PER_CODE
    if request.max_frames < max(shortest, request.min_frames):
        raise SampleError(
            f"max_frames {request.max_frames} is below min_frames {request.min_frames} "
            f"or the {shortest} frames that guidance {request.guidance!r} takes"
        )
    if request.guidance in TEXT_GUIDED:
        _check_caption(request)
    if request.guidance != "text_only":
        _check_pose(request)


def _check_caption(request: MotionRequest) -> None:
    """The text encoders know words in Latin letters; of anything else they would make an arbitrary text."""
    letters = [letter for letter in request.caption if letter.isalpha()]
    if not letters:
        raise SampleError(
            f"the caption {request.caption!r} has no words; guidance {request.guidance!r} needs some (or 'pose_only')"
        )
    if sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) < len(letters) / 2:
        raise SampleError(f"the caption {request.caption[:40]!r} is not in Latin letters; translate it into English")


def _check_pose(request: MotionRequest) -> None:
    if request.pose is None:
        raise SampleError(f"guidance {request.guidance!r} needs a pose")
    if not np.isfinite(request.pose).all():
        raise SampleError("the pose has joints that are not finite")
    bones = np.linalg.norm(request.pose - request.pose[list(PARENTS)], axis=-1)[1:]
    if bones.min() < SHORTEST_BONE or bones.max() > LONGEST_BONE:
        raise SampleError(f"the pose is no body: its bones measure {bones.min():.3f} to {bones.max():.3f} m")


def _check(config: T2MGptConfig) -> None:
    if config.precision not in ("float32", "float64"):
        raise UserError(f"precision {config.precision!r} is neither 'float32' nor 'float64'")
