"""Weights of the generator: a safetensors file, names as in the released code behind ``model_G.``.

The released code never saves its generator, so there is no official file.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    plain_state,
    read_state_dict,
    sizes_shown,
    write_state_dict,
)
from posesyn_core.files.paths import existing_file
from posesyn_posegen.model import Generator, GeneratorSizes

PREFIX, IDLE = "model_G.", "RTprocess.*"
STARTER = Path(__file__).with_name("weights") / "starter.safetensors"
State = Mapping[str, Tensor]


def load_generator(weights: str) -> Generator:
    """The generator of "starter" or of a file, in evaluation mode.

    A file may hold the discriminators, too; the camera branch, which nothing depends on, may be missing. UserError for
    a file that is missing, broken, or no generator's.
    """
    path = existing_file(STARTER if weights == "starter" else Path(weights).expanduser(), "weights of PoseGen")
    state = _own(read_state_dict(path))
    generator = Generator(sizes_shown(_sizes, state, GeneratorSizes()))
    load_state_dict(generator, state, _fit(state, generator), path)
    return generator.eval()


def save_generator(generator: Generator, path: Path, note: Mapping[str, str]) -> None:
    """Write the generator for :func:`load_generator`, atomically, without the idle camera branch."""
    state = {f"{PREFIX}{n}": v for n, v in plain_state(generator).items() if not n.startswith(IDLE[:-1])}
    write_state_dict(state, path, note)


class GeneratorWeights:
    """The WeightFormat of the generator."""

    def check(self, path: Path) -> Fit:
        """Compare with the generator of the sizes that the file shows."""
        state = _own(read_state_dict(path))
        with torch.device("meta"):
            return _fit(state, Generator(sizes_shown(_sizes, state, GeneratorSizes())))

    def convert(self, source: Path, target: Path) -> None:
        """Leave the generator's own weights."""
        if target.suffix != ".safetensors":
            raise UserError(f"{str(target)!r}: weights are converted to .safetensors")
        save_generator(load_generator(str(source)), target, {})


def _own(state: State) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


def _sizes(state: State) -> GeneratorSizes:
    """The sizes that a state's shapes show; KeyError if it lacks the layers that tell."""
    width, noise = state["BAprocess.w1.weight"].shape
    stages = {name.split(".")[2] for name in state if name.startswith("BAprocess.linear_stages.")}
    view = state["RTprocess.w1_R.weight"].shape[1] if "RTprocess.w1_R.weight" in state else GeneratorSizes().view
    return GeneratorSizes(noise, view, width, len(stages))


def _fit(state: State, generator: Generator) -> Fit:
    return compare(state, generator, variant="PoseGen's generator", optional=[IDLE])
