"""Options of the motion generator and of its training; imports nothing heavy."""

from attrs import frozen

from posesyn_core import option

SCHEDULES = "'step': a twentieth of the rate in the last part, as published; 'cosine': down to zero (short trainings)"


@frozen
class T2MGptConfig:
    """What ``posesyn plugins show t2mgpt`` prints."""

    weights: str = option(
        "starter",
        "'starter', a .safetensors file of `posesyn t2mgpt train-transformer`, or a folder with the official "
        "checkpoints (net_last.pth, net_best_fid.pth) and their mean.npy and std.npy",
    )
    text_encoder: str = option("auto", "'hashed', 'clip', or 'auto': the one that the weights were trained with")
    clip: str = option("openai/clip-vit-base-patch32", "folder or hub id of the CLIP text model")
    temperature: float = option(1.0, "of the drawing of codes; 0 always takes the best code", least=0, most=100)
    top_k: int = option(0, "draw among the best k codes only (0 = all)", least=0)
    still_feet: bool = option(False, "move the body so that feet that the motion has in contact do not slide")
    heads: int | None = option(
        None, "attention heads, where the checkpoint does not say (official: 16)", least=1, most=1_024
    )
    precision: str = option(
        "float64",
        "'float64' draws the same codes whatever the batch; 'float32' is faster and may, rarely, draw another one",
    )
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")
    batch: int = option(32, "motions generated at once", least=1, most=65_536)


@frozen
class TrainingOptions:
    """What both trainings have in common."""

    steps: int = option(300_000, "training steps", least=1)
    batch: int = option(128, "examples per step", least=1, most=65_536)
    rate: float = option(1e-4, "learning rate after the warm-up", above=0)
    warmup: int = option(0, "steps of linear warm-up", least=0)
    schedule: str = option("step", SCHEDULES)
    initial: str = option("", "weights to go on from, 'starter' or as in a recipe (sizes are theirs; default: random)")
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1")
    precision: str = option("float32", "'float32', or 'bfloat16': mixed precision (the codebook stays in float32)")
    seed: int = option(0, "seed of all draws", least=0, any_size=True)
    validate_every: int = option(1000, "steps between validations and checkpoints", least=1)


@frozen
class VqOptions(TrainingOptions):
    """How to train a VQ-VAE; sizes and loss weights not named here are the published ones."""

    batch: int = option(256, "windows per step", least=1, most=65_536)
    window: int = option(64, "frames per window", least=1)
    rate: float = option(2e-4, "learning rate after the warm-up", above=0)
    warmup: int = option(1000, "steps of linear warm-up", least=0)
    width: int = option(512, "channels of the convolutions", least=1)
    codes: int = option(512, "codes in the codebook", least=1)
    code_dim: int = option(512, "numbers per code", least=1)
    unquantized: int = option(0, "first steps that skip the codebook: a head start for short trainings", least=0)
    decay: float = option(0.99, "of the codebook's moving averages", least=0, below=1)
    reset_below: float = option(1.0, "average choices per step below which a code is reset", least=0)
    statistics: str = option("", "folder with mean.npy and std.npy to normalise with (default: measured, and written)")
    held: float = option(0.3, "share of windows that begin with a held pose", least=0, most=1)
    disturbed: float = option(
        0.5, "share of windows whose limbs are turned at random (up to 20 degrees)", least=0, most=1
    )


@frozen
class TransformerOptions(TrainingOptions):
    """How to train a transformer; sizes not named here are the published ones."""

    batch: int = option(128, "sequences per step", least=1, most=65_536)
    dim: int = option(1024, "channels", least=1)
    layers: int = option(9, "blocks in each half", least=1)
    heads: int = option(16, "attention heads", least=1, most=1_024)
    keep: float = option(0.5, "probability that an input code is not replaced by a random one", least=0, most=1)
    pool: int = option(20_000, "sequences that are drawn and encoded before training", least=1)
    prefixed: float = option(0.6, "share of sequences that begin with a held pose in place of S_MR", least=0, most=1)
    disturbance: float = option(
        25.0, "degrees: the most by which an estimator's errors turn the limbs of that pose", least=0, most=180
    )
    wordless: float = option(0.15, "probability that a sequence is shown without its text", least=0, most=1)
