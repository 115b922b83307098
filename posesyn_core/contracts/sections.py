"""The sections of a recipe that set options of the method itself and name no component."""

from typing import Literal

from attrs import frozen

from posesyn_core.contracts.options import OptionError, option
from posesyn_core.contracts.structuring import Count


@frozen
class Score:
    """EEM: which samples are hard (Eq. 1-3)."""

    hard: Count = option(500, "K_C, how many of the hardest to take (paper: 500), or below 1 which share", above=0)
    easy: Count = option(200, "K_NC, likewise of the easiest, as references (paper: 200)", above=0)
    method: Literal["eem", "random"] = option(
        "eem", "'eem' ranks by Eq. 1; 'random' is the ablation without EEM (Table 4)"
    )
    labels: Literal["ground_truth", "estimated_2d", "estimated_3d"] = option(
        "ground_truth", "what Eq. 1 compares with: annotations, or the 2D or 3D joints of [labeller] (Table 7)"
    )
    min_weight: float = option(
        0.5, "least share of the joint weights that must be labelled, else the sample is rejected", least=0, most=1
    )


@frozen
class Synthesize:
    """MSM: motions about the hard poses (Eq. 4-5)."""

    guidance: Literal["full", "text_only", "pose_only", "pseudo_label"] = option(
        "full", "'full' = text and initial pose; 'pseudo_label' repeats the pose without MSM (Table 3)"
    )
    pose: Literal["pseudo_label", "fitted"] = option(
        "pseudo_label", "the initial pose: the estimator's own (the paper), or that fitted to the sample's 2D labels"
    )
    motions_per_sample: int = option(1, "motions for each hard sample", least=1, most=1_000_000)
    min_frames: int = option(40, "least length of a motion, frames at 20 fps", least=1, most=100_000)
    max_frames: int = option(196, "greatest length of a motion, frames at 20 fps", least=1, most=100_000)

    def __attrs_post_init__(self) -> None:
        """OptionError if there is no such length."""
        if self.min_frames > self.max_frames:
            raise OptionError("min_frames", f"must be at most max_frames = {self.max_frames}, not {self.min_frames}")


@frozen
class Animate:
    """Motions laid onto reference people and drawn (Eq. 7-11)."""

    references_per_motion: int = option(
        1, "easy images that each motion animates, drawn at random by the run's seed", least=1, most=1_000_000
    )
    orientation: Literal["anchored", "literal", "heading"] = option(
        "anchored", "Eq. 9 as meant, as printed, or only its turn about the vertical (keeps the motion's tilt)"
    )
    translation: Literal["follow", "constant"] = option(
        "follow", "the pelvis goes up and down with the motion, or stays where the reference's is (Eq. 10)"
    )
    turn_reference: bool = option(
        False, "turn and place the reference's body by its labelled 2D joints: helps an estimator that misses headings"
    )
    reference_crop: Literal["person", "image"] | None = option(
        None, "draw a square about the person, or the whole picture; unset = what suits the animator"
    )
    reference_size: int = option(
        512, "pixels of that square's side: Champ's are 512, or 256 to save work", least=64, most=8_192
    )
    frame_stride: int = option(1, "draw every n-th frame of a motion", least=1)
    max_frames: int = option(196, "draw at most so many frames of a motion", least=1, most=100_000)
    max_residual_mm: float = option(60.0, "reject a clip whose joints -> SMPL fit (Eq. 8) is worse on average", above=0)
    smooth: float = option(
        0.0, "smooth the bodies over time: a Gaussian's standard deviation in drawn frames; 0 = not", least=0
    )
    jpeg_quality: int = option(95, "quality of the frames on disk", least=1, most=100)
    keep_dropped: bool = option(
        False, "also write the frames that the filter drops: to look at them, or to try a larger tau on the same clips"
    )


@frozen
class Export:
    """Data-set files of the kept frames."""

    formats: tuple[str, ...] = option(("webdataset", "coco", "spin"), "writer components")
    most_alike: int = option(
        0, "write at most so many frames whose poses are closer than alike_mm to each other; 0 = all", least=0
    )
    alike_mm: float = option(30.0, "distance of aligned joints below which poses are near-duplicates", above=0)


@frozen
class Evaluate:
    """What is measured on the test sets beside the trained estimators."""

    shipped: bool = option(True, "also measure the estimator as it was before any training, for comparison")


@frozen
class Machine:
    """How this machine does the work; nothing here changes ids, selections or labels (to 1e-5)."""

    workers: int = option(2, "threads that read, decode, fit and draw", least=1, most=1_024)
    processes: int = option(
        0, "processes that make training batches, where threads wait for one another; 0 = threads do", least=0
    )
    batch_size: int = option(
        32,
        "samples read and computed together; on a CPU, which computes 4 to 32 at once, best a multiple of 32",
        least=1,
    )
    device: str = option("cpu", "torch device of the networks")


@frozen
class ExecutorChoice:
    """Who does the parts of the tables; nothing here changes results."""

    name: Literal["local", "ray"] = option("local", "'local' = this process; 'ray' = a Ray cluster")
    address: str = option("auto", "the cluster: 'auto' = the one that runs here, 'local' = a new one on this machine")
    actors: int = option(0, "actors of a stage at most; 0 = as many as the cluster has room for", least=0)
    cpus: float | None = option(None, "CPUs of an actor; unset = what the stage's components say", above=0)
    gpus: float | None = option(
        None, "GPUs of an actor, 0.25 = four share one; unset = what the stage's components say, 0 on the CPU", least=0
    )
    memory_gb: float | None = option(
        None, "memory that is set aside for an actor; unset = what the stage's components say, 0 = none", least=0
    )
