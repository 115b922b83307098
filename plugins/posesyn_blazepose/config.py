"""Options of the plugin's components."""

from attrs import frozen

from posesyn_core import option

WEIGHTS = (
    "'full' or 'lite' (both come with PoseSyn), 'random' (lite's size, untrained), 'random-full' (full's), or a file: "
    "one of MediaPipe's .tflite files (pose_landmark_heavy.tflite of the npm package @mediapipe/pose is most exact; "
    "needs the package tflite), or a .safetensors written here"
)
LOOKS = (
    "how often a person is looked at, each time where the look before says; 0 = three times with heavy, whose last two "
    "are its own, twice with the others"
)
DEVICE = "torch device: cpu, cuda, cuda:1, mps"


def _two_or_more(looks: int) -> str | None:
    return "must be 0, or 2 to 4: the first look finds only where to look next" if looks == 1 else None


@frozen
class BlazePoseConfig:
    """Options of the estimator ``blazepose``."""

    weights: str = option("full", WEIGHTS)
    first_look: str = option(
        "lite", "what looks first, to say where the second crop lies: 'lite', or 'same' for the estimator's own weights"
    )
    looks: int = option(0, LOOKS, least=0, most=4, check=_two_or_more)
    device: str = option("cpu", DEVICE)
    keypoint_loss_weight: float = option(4.0, "weight of the 2D joints in the training loss", least=0)


@frozen
class StarterConfig:
    """Options of the estimator ``starter``."""

    weights: str = option(
        "starter", "'starter' (comes with PoseSyn), 'random' (the same, untrained), or a .safetensors written here"
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that gives the joints; 'free' = the free body; empty = the free body "
        "where the weights are trained with it, and a refusal where they need SMPL's",
    )
    device: str = option("cpu", DEVICE)
    keypoint_loss_weight: float = option(4.0, "weight of the 2D joints in the training loss", least=0)
    train_eyes: bool = option(
        False, "fine-tune BlazePose's own layers, too: it learns more, and takes half as long again"
    )


@frozen
class LabellerConfig:
    """Options of the 2D labeller ``blazepose``."""

    weights: str = option("full", WEIGHTS)
    looks: int = option(0, LOOKS, least=0, most=4, check=_two_or_more)
    device: str = option("cpu", DEVICE)


@frozen
class DetectorConfig:
    """Options of the person detector ``blazepose``."""

    weights: str = option("full", f"the landmarks that say how large a person is: {WEIGHTS}")
    min_score: float = option(0.3, "people of a lower score of the detector are not looked at", least=0, most=1)
    min_presence: float = option(
        0.5, "people of whom the landmarks' own score of presence is lower are left out", least=0, most=1
    )
    tiles: int = option(
        3,
        "small people are looked for in parts of the picture of down to 1 / tiles of its longer side",
        least=1,
        most=8,
    )
    device: str = option("cpu", DEVICE)
