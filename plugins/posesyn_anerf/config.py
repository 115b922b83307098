"""Options of the animator ``anerf`` and of the command that trains fields."""

from typing import Literal

from attrs import frozen

from posesyn_core import option


@frozen
class AnerfConfig:
    """The animator: whose field, where its person stands, how it is rendered."""

    weights: str = option(
        "starter", "starter, random (small), random-full (published size), or a checkpoint: official .tar, .safetensors"
    )
    skeleton: str = option(
        "",
        "the official data file (.h5) or an .npz with rest_pose, where a checkpoint has none; empty = the body's",
    )
    body: str = option("", "SMPL file whose T-pose serves where nothing says the skeleton; empty = the free body")
    unit: float = option(0.0, "field units per metre; 0 = as the weights say, or SURREAL's 1.786", least=0, most=1_000)
    legacy: bool = option(False, "the checkpoint's refined poses are in the axes of A-NeRF's early versions")
    people: int = option(
        8, "how many reference people: the field's one person, seen from as many sides", least=1, most=100_000
    )
    size: int = option(256, "width and height of the pictures, pixels", least=16, most=4096)
    focal: float = option(1.6, "focal length, in widths of the picture", above=0, most=100)
    share: float = option(0.6, "how much of the picture's height the standing person fills", above=0, most=1)
    elevation: float = option(0.0, "how many degrees the camera looks down on the person", least=-60, most=60)
    background: str = option("white", "white, black, or a picture or a folder of pictures (in turn) behind the people")
    coarse: int = option(
        0, "equally spaced samples along a ray; 0 = as trained, 64 of official ones", least=0, most=4_096
    )
    fine: int = option(
        0, "samples where these find something; 0 = as trained, 16 of official ones", least=0, most=4_096
    )
    skip: bool = option(True, "leave out samples that are far from all bones, or behind what is opaque")
    chunk: int = option(4096, "rays rendered at once", least=1)
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "in which the networks compute without an engine")
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")


@frozen
class TrainingOptions:
    """The training of a field. The defaults are A-NeRF's on SURREAL; the weights' README has smaller ones."""

    steps: int = option(150_000, "steps of the optimiser", least=1)
    rays: int = option(2048, "rays of a step", least=1)
    images: int = option(128, "pictures that they are drawn from", least=1)
    rate: float = option(5e-4, "learning rate at the start (Adam)", above=0)
    last_rate: float = option(0.5, "share of it at the end, to which it falls exponentially", above=0, most=1)
    width: int = option(256, "width of the networks", least=8)
    depth: int = option(8, "layers of the networks", least=3)
    point_frequencies: int = option(7, "frequencies of the encoded distances", least=1)
    view_frequencies: int = option(4, "frequencies of the encoded directions", least=0)
    single: bool = option(False, "one network for coarse and fine samples")
    codes: int = option(0, "size of a code per picture; Mixamo's and Human3.6M's are 16", least=0)
    coarse: int = option(64, "equally spaced samples along a ray", least=3, most=4_096)
    fine: int = option(16, "samples where these find something", least=1, most=4_096)
    noise: float = option(1.0, "deviation of the noise on densities", least=0)
    loss: str = option("MSE", "MSE, or L1 as of Mixamo and Human3.6M")
    random_background: bool = option(False, "a random colour behind the person in every ray, where masks are known")
    skip: bool = option(False, "leave out samples that are far from all bones")
    refine: int = option(0, "refine the poses every so many steps; 0 = not (Mixamo: 20, Human3.6M: 50)", least=0)
    held_out: float = option(0.1, "share of the poses that are kept for measuring", least=0, below=1)
    save_every: int = option(1000, "steps between checkpoints", least=1)
    seed: int = option(0, "of every draw", least=0, any_size=True)
