"""Options of PoseGen's components; imports nothing heavy."""

from typing import Literal

from attrs import frozen

from posesyn_core import option
from posesyn_core.components import Animator, DatasetReader, PoseEstimator


@frozen
class PoseGenConfig:
    """What ``posesyn plugins show posegen`` prints: which generator draws poses, and how one is trained.

    The paper numbers its two scenarios inconsistently: in its problem formulation (Eq. 1, 2) scenario 1 learns data
    that the estimator knows by minimising its error, and scenario 2 data that it doesn't know by maximising it; where
    the feedback is defined (Eq. 6, 7), "scenario 2" minimises and "scenario 1" maximises. So they are called by what
    the feedback does here. Its tables use "maximise".
    """

    weights: str = option(
        "starter",
        "'starter' (made against the starter estimator), 'train' (trained when it is first asked, see the options "
        "below), or a .safetensors file of `posesyn posegen train`",
    )
    camera: bool = option(
        True, "take the viewpoint K, the root's rotation, from the generator, too (+K); else the reference's"
    )
    prior: Literal["normal", "uniform", "spherical"] = option("normal", "distribution of the noise z (Eq. 3, 4, 5)")
    body: str = option("", "the SMPL file (.npz or official .pkl) of the bodies; empty = the free body")
    estimator: PoseEstimator | None = option(None, "training: whose error is the feedback")
    animator: Animator | None = option(None, "training: who draws the poses that the estimator looks at")
    real: DatasetReader | None = option(
        None, "training: real people; with SMPL's parameters their poses are what D takes for real"
    )
    poses: str = option(
        "", "training: npz with 'pose3d' (N, 24, 3), axis-angles of SMPL, as real poses in place of those of 'real'"
    )
    up: Literal["camera", "y", "z"] = option(
        "z", "training: the frame of the roots in 'poses': the camera's, or one whose y or z goes up (AMASS: z)"
    )
    every: int = option(1, "training: take every n-th of the real poses (published: 10 of AMASS's)", least=1)
    targets: DatasetReader | None = option(
        None, "training: people whose labelled 2D joints the projected poses are to look like (2D discriminator)"
    )
    folder: str = option("", "where 'train' keeps its training; empty = below $POSESYN_CACHE or ~/.cache/posesyn")
    feedback: Literal["maximise", "minimise", "none"] = option(
        "maximise", "training: what the generator does to the estimator's error (+FB; Eq. 7, Eq. 6, or nothing)"
    )
    epochs: int = option(20, "training: passes over the real poses", least=1, most=1_000_000)
    batch_size: int = option(64, "training: poses in a batch (published: 1024)", least=2, most=1_000_000)
    learning_rate: float = option(1e-4, "training: Adam's, of all networks", above=0, most=10)
    rate_rule: Literal["linear", "constant", "published"] = option(
        "linear",
        "training: 'linear' = down to nearly 0 at the last epoch; 'constant', for a feedback of the last few epochs; "
        "'published' = as released: a fifth less each epoch, 0 in the sixth and below 0, undoing what was learnt, from "
        "the seventh on",
    )
    feedback_weight: float = option(0.1, "training: of the feedback beside the adversarial loss", least=0)
    feedback_from: int = option(4, "training: the epoch, from 1 on, in which the feedback sets in", least=1)
    feedback_every: int = option(5, "training: iterations from one feedback to the next", least=1)
    feedback_poses: int = option(20, "training: poses that are drawn for a feedback", least=1)
    people: int = option(16, "training: reference people that are drawn in them", least=1, most=100_000)
    judge_root: bool = option(
        True, "training: D sees the root's rotation (as released; in the paper it does not: K is the feedback's alone)"
    )
    channels: int = option(500, "training: width of D's layers", least=1, most=65_536)
    middle: int = option(1000, "training: width of D's last layer", least=1, most=65_536)
    seed: int = option(0, "training: seed of all draws", least=0, any_size=True)


@frozen
class RejectionConfig:
    """What ``posesyn plugins show posegen_rejection`` prints."""

    threshold: float = option(200.0, "d of Eq. 13: the largest mean joint error in mm that is kept", above=0)
    rescale: bool = option(True, "scale the estimate to the label's size first, as the released loss does")
