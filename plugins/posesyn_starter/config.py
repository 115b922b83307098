"""Options of the starter's components; light, because they are imported whenever ``posesyn`` starts."""

from typing import Literal

from attrs import frozen

from posesyn_core import option


@frozen
class WorldConfig:
    """The rendered world."""

    part: Literal["lab", "wild"] = option("lab", "ordinary poses in plain rooms, or all others in cluttered places")
    split: str = option("train", "any name: splits share no image; part of the sample ids")
    count: int = option(1000, "number of images", least=1)
    seed: int = option(0, "seed of the whole world", least=0, any_size=True)
    labels: Literal["2d", "3d"] = option("3d", "'2d' withholds 3D joints, body parameters and camera")
    noise: float = option(
        0.0, "standard deviation of the 2D labels' error in pixels, as by human annotators", least=0, most=1_000
    )
    image_size: int = option(224, "width and height of the images in pixels", least=32, most=4096)
    motions: str = option("", "npz of motions (joints, offsets, clip, domain) to take poses from; empty = procedural")
    domain: Literal["", "lab", "wild"] = option("", "use only the motions of this domain; empty = all")
    mixed: bool = option(
        False, "trunk and limbs of different frames of the motions put together, and the body leant over any way"
    )
    clips: str = option("", "text file with the names of the clips to use, one a line; empty = all")
    body: str = option("", "the SMPL file (.npz or official .pkl) of the people; empty = the free body")
    folder: str = option("", "where images are kept; empty = $POSESYN_CACHE/world or ~/.cache/posesyn/world")
    workers: int = option(2, "threads that draw", least=1, most=1_024)
