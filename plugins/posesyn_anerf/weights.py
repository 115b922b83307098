"""A-NeRF's checkpoint files: the official ``.tar`` (a torch file, in spite of its name), and safetensors.

Top-level keys ``network_fn_state_dict``, ``network_fine_state_dict`` (the same again where one network serves for
both), ``embed_state_dict``, ``embeddirs_state_dict`` and, with pose refinement, ``poseopt_layer_state_dict``. In
safetensors a parameter is called ``<top-level key>.<parameter>``. What is missing is told; the official loader passes
over it, and renders with a cutoff that was never trained.

Ours say more in their metadata, as JSON under ``field``: :class:`Person`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import asdict, evolve, field, frozen
from torch import Tensor

from posesyn_anerf.field import JOINTS, Field, FieldSizes
from posesyn_anerf.posing import PoseLayer, from_legacy
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    read_checkpoint,
    read_metadata,
    sizes_shown,
    write_state_dict,
)

PARTS = ("network_fn", "network_fine", "embed", "embeddirs")
SUFFIX = "_state_dict"
POSES = "poseopt_layer_state_dict"
VARIANT = "A-NeRF"
ARRAYS = ("rest_pose", "betas", "reach")
FOLDER = Path(__file__).parent / "weights"
STARTER = FOLDER / "starter.safetensors"
RANDOM = FieldSizes(width=32)
"""The sizes of "random"; "random-full" has the published ones."""


@frozen(eq=False)
class Person:
    """Whose field it is: what an official checkpoint does not say.

    ``rest_pose`` (24, 3) is the T-pose in field units, y up, pelvis at 0, None where the file does not tell. ``unit``
    is field units per metre. ``betas`` (10,) are the person's, of the shape space ``space``; None = unknown.
    ``coarse`` and ``fine`` are the samples along a ray that it was trained with. ``reach`` (24,) is how far from each
    bone, in field units, the person goes (``posesyn_anerf.reach``); None = as far as anybody does.
    """

    rest_pose: np.ndarray | None = None
    unit: float = 1.0 / 0.56
    betas: np.ndarray | None = None
    space: str = ""
    coarse: int = 64
    fine: int = 16
    reach: np.ndarray | None = None

    def to_json(self) -> str:
        """For the metadata of a file."""
        plain = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> "Person":
        """The other way round. ValueError or TypeError for anything else."""
        plain = json.loads(text)
        arrays = {name: np.array(plain[name], np.float32) for name in ARRAYS if plain.get(name) is not None}
        return cls(**{**plain, **arrays})


@frozen(eq=False)
class Loaded:
    """A field with its person, the poses that were refined with it if there are such, and how far it was trained."""

    field: Field
    person: Person = field(factory=Person)
    poses: PoseLayer | None = None
    steps: int = 0


def load_field(weights: str, legacy: bool = False) -> Loaded:
    """The field of "starter", "random", "random-full" or a file, for inference, in float32 on the CPU.

    ``legacy``: refined poses are in the axes of old checkpoints. UserError for a missing file and one that does not
    fit.
    """
    if weights in ("random", "random-full"):
        return Loaded(random_field(RANDOM if weights == "random" else FieldSizes()))
    path = STARTER if weights == "starter" else Path(weights).expanduser()
    state, steps = read_field(path)
    sizes = sizes_shown(sizes_of, state, FieldSizes())
    with torch.device("meta"):
        network = Field(sizes)
    load_state_dict(network, named(state), compare(named(state), network, variant=VARIANT), path)
    network.eval().requires_grad_(False)
    poses = _poses(state, path)
    person = _person(path)
    if poses is not None and legacy:
        poses = PoseLayer(*_modern(poses))
    if poses is not None and person.rest_pose is None:
        person = evolve(person, rest_pose=poses.rest_pose[0].numpy())
    return Loaded(network, person, poses, steps)


def random_field(sizes: FieldSizes, seed: int = 0) -> Field:
    """An untrained field, always the same for a ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Field(sizes).eval().requires_grad_(False)


def read_field(path: Path) -> tuple[dict[str, Tensor], int]:
    """A file's parameters as ``<top-level key>.<parameter>``, and its number of steps. UserError if it can't be read.

    Optimiser states and anchors are left out.
    """
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"weights {str(path)!r} hold no state dicts of A-NeRF ({PARTS[0]}{SUFFIX} and others)")
    flat: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            flat[str(key)] = value
        elif isinstance(value, Mapping) and str(key).endswith(SUFFIX) and "optimizer" not in str(key):
            flat |= {f"{key}.{name}": each for name, each in value.items() if isinstance(each, Tensor)}
    steps = content.get("global_step", 0)
    return {name: _widened(value) for name, value in flat.items()}, steps if isinstance(steps, int) else 0


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of the field by its own names; poses are left out, anything else keeps its name."""
    found = {}
    for name, value in state.items():
        key, _, rest = name.partition(".")
        if key.startswith("poseopt"):
            continue
        part = key.removesuffix(SUFFIX)
        found[f"{part}.{rest}" if part in PARTS else name] = value
    return found


def sizes_of(state: Mapping[str, Tensor]) -> FieldSizes:
    """The sizes that a file's parameters show. KeyError or IndexError if they are no field's."""
    prefix = f"{PARTS[0]}{SUFFIX}"
    depth = len([name for name in state if name.startswith(f"{prefix}.pts_linears.") and name.endswith(".weight")])
    layers = [state[f"{prefix}.pts_linears.{at}.weight"] for at in range(depth)]
    width, points = layers[0].shape
    wide = [at for at in range(1, depth) if layers[at].shape[1] > width]
    codes = state.get(f"{prefix}.framecodes.codes.weight")
    frames, size = (0, 0) if codes is None else codes.shape
    views = state[f"{prefix}.views_linears.0.weight"].shape[1] - width - size
    return FieldSizes(
        depth=depth,
        width=width,
        skip=wide[0] - 1,
        point_frequencies=(points - 3 * JOINTS) // (2 * JOINTS),
        view_frequencies=(views // (3 * JOINTS) - 1) // 2,
        frames=frames,
        codes=size,
        single=_alike(state),
    )


def _alike(state: Mapping[str, Tensor]) -> bool:
    """Whether coarse and fine network are the same numbers: one network, saved twice."""
    coarse, fine = (f"{part}{SUFFIX}." for part in PARTS[:2])
    pairs = [(value, state.get(fine + name.removeprefix(coarse))) for name, value in state.items() if coarse in name]
    return all(other is not None and not value.is_meta and torch.equal(value, other) for value, other in pairs)


def _poses(state: Mapping[str, Tensor], path: Path) -> PoseLayer | None:
    """The refined poses of a file of one camera each. UserError if parts of them are missing."""
    found = {name.removeprefix(f"{POSES}."): value for name, value in state.items() if name.startswith(f"{POSES}.")}
    if not found or "root_bones" in found:  # several cameras share the poses then: they are of use to training alone
        return None
    missing = [name for name in ("pelvis", "bones", "rest_pose") if name not in found]
    if missing:
        raise UserError(f"weights {str(path)!r}: {POSES} lacks {', '.join(missing)}")
    return PoseLayer(found["pelvis"], found["bones"], found["rest_pose"])


def _modern(poses: PoseLayer) -> tuple[Tensor, Tensor, Tensor]:
    pelvis, rest, bones = from_legacy(poses.pelvis.detach(), poses.rest_pose[0], poses.axis_angles().detach())
    return pelvis, bones, rest[None]


def _person(path: Path) -> Person:
    text = read_metadata(path).get("field")
    if text is None:
        return Person()
    try:
        return Person.from_json(text)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"weights {str(path)!r} describe their person wrongly ({error!r}): download them again"
        ) from error


def write_field(network: Field, person: Person, path: Path, *, half: bool = False) -> None:
    """Write a field under the official names as safetensors, with its person; ``half``: in float16."""
    state = {official(name): value for name, value in network.state_dict().items()}
    write_state_dict(state, path, {"field": person.to_json()}, torch.float16 if half else None)


def official(name: str) -> str:
    """The official file's name of a field's parameter."""
    part, _, rest = name.partition(".")
    return f"{part}{SUFFIX}.{rest}"


class FieldWeights:
    """A-NeRF's WeightFormat."""

    def check(self, path: Path) -> Fit:
        """Compare a file with the field of the sizes that it shows."""
        state, _ = read_field(path)
        _poses(state, path)
        with torch.device("meta"):
            network = Field(sizes_shown(sizes_of, state, FieldSizes()))
        return compare(named(state), network, variant=VARIANT)

    def convert(self, source: Path, target: Path) -> None:
        """The parameters of both networks and of the refined poses under the same names."""
        state, fit = read_field(source)[0], self.check(source)
        if not fit.fits:
            raise UserError(f"weights {str(source)!r} are not those of {VARIANT}: {fit.complaint}")
        write_state_dict(state, target, {name: text for name, text in read_metadata(source).items() if name == "field"})
