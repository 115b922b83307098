"""The exchangeable parts: what each kind must do, and how a plugin describes a component.

A plugin registers :class:`Component` descriptions through the hooks of :mod:`posesyn_core.hookspecs`. A component's
``factory`` gets an instance of its ``config`` class (attrs) and returns an object that fits the protocol of its kind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from attrs import frozen

from posesyn_core.contracts.engines import Accelerated, Engine
from posesyn_core.contracts.labellers import KeypointAbilities as KeypointAbilities
from posesyn_core.contracts.labellers import KeypointEstimator as KeypointEstimator
from posesyn_core.contracts.labellers import PersonDetector as PersonDetector
from posesyn_core.contracts.needs import Licence as Licence  # offered here too, beside what describes a component
from posesyn_core.contracts.needs import Need as Need
from posesyn_core.contracts.needs import Resources as Resources
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.values import (
    Actor,
    ClipPlan,
    EvaluationProtocol,
    Image,
    Inputs,
    LabelledFrame,
    Motion,
    MotionRequest,
    PoseEstimate,
    Prepared,
    Sample,
    SampleOrRejection,
    Verdict,
)

if TYPE_CHECKING:
    import torch

    from posesyn_core.files.checkpoints import WeightFormat

Types = tuple[type, ...]


@frozen
class Component:
    """One exchangeable part as a plugin describes it: cheap to create, imports nothing heavy.

    ``weights`` (optional) makes the format of its checkpoint files, for ``posesyn weights``. ``lacks`` (optional) gets
    a config and answers ``posesyn check RECIPE``: a sentence, with where to get it, for each file that the config names
    and that is not there or is not what it should be. It looks at names, sizes and heads (the functions of
    ``posesyn_core.files.presence``) and imports nothing heavy. ``resources`` are what a cluster sets aside for it.
    ``brings_people``: an animator that has ``AnimatorAbilities.actors`` (others need not be made to be asked).
    """

    kind: "Kind"
    name: str
    summary: str
    factory: Callable[[Any], Any]
    config: type
    needs: tuple[Need, ...] = ()
    weights: "Callable[[], WeightFormat] | None" = None
    licence: Licence | None = None
    lacks: Callable[[Any], Iterable[str]] | None = None
    resources: Resources = Resources()
    brings_people: bool = False


@runtime_checkable
class PoseEstimator(Protocol):
    """The simplest target pose estimator (TPE): enough for EEM and filtering, without engines or training.

    Its estimates have SMPL's 24 joints unless they name another joint set (``PoseEstimate.joint_set``).
    """

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        """One estimate per sample. SampleError rejects; any other exception rejects the sample with its text."""
        ...


@runtime_checkable
class SplitEstimator(Protocol):
    """A TPE in three parts, so that an engine can run ``network`` alone."""

    network: "torch.nn.Module"
    """Tensors in, tensors out (keyword arguments in, dict out), batch first, no data-dependent control flow."""

    def preprocess(self, sample: Sample) -> Prepared:
        """Decode and crop on the CPU. Runs in worker threads and must be thread-safe. Tensors have no batch axis."""
        ...

    def decode(self, outputs: Mapping[str, np.ndarray], contexts: Sequence[Any]) -> list[PoseEstimate]:
        """Turn the network's outputs (numpy, batch first) and the samples' contexts into estimates."""
        ...


@runtime_checkable
class TrainableEstimator(SplitEstimator, Protocol):
    """A TPE that can be fine-tuned."""

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> Inputs:
        """Decode, augment and crop one labelled frame; arrays without batch axis, always the same keys.

        A picture may be :class:`~posesyn_core.values.Pixels`, which travel to a GPU as bytes. Called in threads or in
        processes without a GPU.

        The labels are in the estimator's ``joint_set`` (SMPL's 24 joints unless it has that attribute). Real frames may
        know some of their 3D joints only: ``frame.labels3d()`` has them with their confidence.
        """
        ...

    def training_loss(self, batch: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
        """The loss terms of one collated batch; the key "loss" holds the weighted sum to minimise."""
        ...

    def parameters(self) -> Iterable["torch.nn.Parameter"]:
        """What the optimiser trains."""
        ...

    def save(self, path: Path) -> None:
        """Write the weights as safetensors (``posesyn_core.files.checkpoints.write_state_dict``), atomically."""
        ...


class Posing(Protocol):
    """Optional ability of estimators, animators, readers and writers."""

    body: "torch.nn.Module | None"
    """The :class:`posesyn_core.body.model.Body` that it poses: in a run, always that of the trained estimator."""


class EstimatorAbilities(Posing, Protocol):
    """Optional abilities of an estimator, each independent of the others."""

    keep_fp32: tuple[str, ...]
    """Names of submodules, parameters, buffers and inputs of ``network`` that engines always keep in float32."""

    joint_set: str
    """The joint set that its estimates name, if that is not "smpl24": its training frames come in it too."""

    needs_picture: bool
    """False for one that never looks at a picture's pixels, so that none need be drawn (the animator ``none``)."""

    training_kind: type
    """The class of training items of its own, which ``training_inputs`` takes as well as labelled frames.

    Readers of official annotation files yield them (``ReaderAbilities.training_items``); they have an ``id``.
    """

    def mixture(self, sizes: Mapping[str, int]) -> Mapping[str, float] | None:
        """How often the published training draws from each real data set: weights by label; ``sizes`` are theirs.

        None where a label is not one that it knows. The recipe's own weights come first.
        """
        ...

    def given_labels(self, sample: Sample) -> bool:
        """Whether its input for a sample are the sample's own labelled 2D joints.

        Then errors on samples whose labels are the truth flatter it, and Eq. 6 can't see a limb that was not drawn:
        tables and report say so.
        """
        ...

    training_defaults: TrainingDefaults
    """The fine-tuning schedule where the recipe leaves it open."""

    scratch_defaults: TrainingDefaults
    """That of trainings from scratch, whose mode is always "train"; without it they have ``training_defaults``."""

    training_notes: tuple[str, ...]
    """What this training omits of the published one, for example for lack of a file; shown in the report."""

    def reinitialise(self) -> None:
        """Replace what training learns by untrained weights of the same architecture and size.

        They are drawn with torch's global generator. With this it can be trained from scratch.
        """
        ...


@runtime_checkable
class TrainingAugmenter(Protocol):
    """Makes training batches online, guided by the estimator being trained (``[finetune.augmenter]``)."""

    def epoch(
        self, number: int, frames: Sequence[LabelledFrame], estimator: TrainableEstimator, seed: int
    ) -> "Iterator[Mapping[str, torch.Tensor]]":
        """The batches of epoch ``number`` (from 0) over all ``frames``, real and synthesised.

        Frames are in the estimator's joint set; items of its own kind come as its readers yield them.

        Called when the epoch begins. Each batch is what ``estimator.training_loss`` takes; it is asked for when the
        estimator has made a step on the one before. Every draw is to follow from ``seed``, which is the epoch's own.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint must hold for the next epoch to be as if there had been no interruption: tensors,
        numbers, texts, and containers of such; {} if epochs do not depend on one another. Asked between epochs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        ...


class AugmenterAbilities(Protocol):
    """Optional abilities of an augmenter."""

    def pictures(self) -> Mapping[str, Image]:
        """What it makes of the frames, drawn, by title; asked after a training, for the report."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Describes in one sentence what the person in the image does."""

    def caption(self, samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> list[str]: ...


@runtime_checkable
class MotionGenerator(Protocol):
    """Expands a text and a pose into a motion (MSM, Eq. 5)."""

    def generate(self, requests: Sequence[MotionRequest]) -> list[Motion]:
        """One motion per request; each depends on its own request (and seed) alone."""
        ...


class MotionAbilities(Posing, Protocol):
    """What a motion generator may have beside its protocol."""

    single_poses: bool
    """True for one whose motions are single poses, whatever a request says of frames, caption and pose."""


@runtime_checkable
class Animator(Protocol):
    """Draws the reference person moving as planned."""

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image per frame of the plan, in order, of the size of the plan's reference, a photograph or a square cut
        out of it. Called from several threads at once."""
        ...


class AnimatorAbilities(Posing, Protocol):
    """Optional abilities of an animator."""

    draws: bool
    """False for one that draws no person: refused where the estimator looks at pictures."""

    guidance: tuple[str, ...]
    """The maps of the plan's body that lead it, of the names in ``posesyn_core.body.guidance.GUIDANCE``.

    It takes them from ``guidance_maps`` of that module, where nothing else is drawn then. Previews of its clips show
    the same maps.
    """

    reference_crop: Literal["person", "image"]
    """What it draws best, where the recipe leaves that open: a square about the person (animators whose networks make
    squares, and would squash a photograph), or the whole picture (the default)."""

    def actors(self) -> Sequence[Actor]:
        """The people whom it draws, if they are its own: references in place of the easy samples, always the same.

        Plans then have an actor's sample for their ``reference``, and joints of its skeleton: labels are in metres of
        that. Its component says ``brings_people``.
        """
        ...


@runtime_checkable
class FrameFilter(Protocol):
    """Keeps a synthesised frame, or drops it with a reason."""

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame, whatever other frames there are; ``estimates`` are the TPE's on the frames.

        ``animate`` asks for it before a frame is written (its image is bytes then), ``filter`` again if the recipe's
        filter has changed since; images that were not kept can't be read then.
        """
        ...


@runtime_checkable
class DatasetReader(Protocol):
    """Yields a data set's samples in a fixed order."""

    def samples(self) -> Iterator[SampleOrRejection]:
        """Samples in a fixed order; a broken entry is yielded as (id, reason), never skipped in silence.

        UserError if the data set as a whole is missing or malformed, naming what was expected where.
        """
        ...


class ReaderAbilities(Posing, Protocol):
    """Optional abilities of a reader, each independent of the others."""

    training_kind: type
    """The class of what ``training_items`` yields: an attrs class of numbers, arrays, bytes and paths."""

    def training_items(self) -> Iterator[Any]:
        """The data set as an estimator of this plugin wants it for training, unconverted, in a fixed order.

        An item, or (id, reason) for a broken entry. A training takes them if the estimator's ``training_kind`` is this
        class; others get ``samples``.
        """
        ...

    protocol: EvaluationProtocol
    """How the data set's official evaluation compares; others get the default."""

    def __len__(self) -> int:
        """How many entries ``samples`` yields, for progress bars."""
        ...

    def check_layout(self) -> None:
        """UserError if the data set is not laid out as expected; cheap: no annotation is read."""
        ...


@runtime_checkable
class DatasetWriter(Protocol):
    """Writes kept frames in a format that trainers read."""

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """Write everything below ``folder`` (which is new); return the files. Same frames, same bytes."""
        ...


class Kind(StrEnum):
    """The kinds of component, each one entry: the word of recipes and of the command line, the hook that registers
    such components (a function of that name in :mod:`posesyn_core.hookspecs`), the protocols of which a component
    must fit one, the groups of methods that it may add whole, and what else it may have.
    """

    hook: str
    protocols: Types
    groups: Types
    abilities: type | None

    def __new__(
        cls, word: str, hook: str = "", protocols: Types = (), groups: Types = (), abilities: type | None = None
    ) -> "Kind":
        """One entry; its value is the word, by which ``Kind(word)`` finds it."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.hook, kind.protocols, kind.groups, kind.abilities = hook, protocols, groups, abilities
        return kind

    ESTIMATOR = (
        *("estimator", "register_estimators", (PoseEstimator, SplitEstimator)),
        *((TrainableEstimator,), EstimatorAbilities),
    )
    AUGMENTER = "augmenter", "register_augmenters", (TrainingAugmenter,), (), AugmenterAbilities
    KEYPOINTS = "keypoints", "register_keypoint_estimators", (KeypointEstimator,), (), KeypointAbilities
    DETECTOR = "detector", "register_detectors", (PersonDetector,)
    CAPTIONER = "captioner", "register_captioners", (Captioner,)
    MOTION = "motion", "register_motion_generators", (MotionGenerator,), (Accelerated,), MotionAbilities
    ANIMATOR = "animator", "register_animators", (Animator,), (Accelerated,), AnimatorAbilities
    FILTER = "filter", "register_filters", (FrameFilter,)
    READER = "reader", "register_readers", (DatasetReader,), (), ReaderAbilities
    WRITER = "writer", "register_writers", (DatasetWriter,), (), Posing
    ENGINE = "engine", "register_engines", (Engine,)


def kind_of(annotation: Any) -> Kind | None:
    """The kind of component that a config's field of this type takes (a protocol, or that or None); None for others."""
    kinds = {protocol: kind for kind in Kind for protocol in kind.protocols}
    return next((kinds[part] for part in (annotation, *get_args(annotation)) if part in kinds), None)
