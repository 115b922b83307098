"""Train the starter's weights.

::

    python -m posesyn_blazepose.train_starter --motions MOTIONS/train.npz --photos FOLDER \\
        --heavy pose_landmark_heavy.tflite --work runs/starter --out starter.safetensors [--start STARTER.safetensors]

3D truth comes from rendered people (the reader ``world``) in poses of the motions' ``lab`` clips: as they were
recorded, and with limbs of different frames put together and the body leant over any way. What people do in ``wild``
clips stays new to it. Photographs without annotations join in with heavy's landmarks as 2D labels. BlazePose's eyes
don't change, so what they say of each crop is computed once; only tail and head are trained. An interrupted training
goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from posesyn_blazepose.config import DetectorConfig, LabellerConfig
from posesyn_blazepose.detector import BlazePoseDetector
from posesyn_blazepose.estimator import as_input
from posesyn_blazepose.labeller import BlazePoseLabeller
from posesyn_blazepose.starter import TAIL_UNIT
from posesyn_blazepose.starter_loss import starter_loss
from posesyn_blazepose.starter_network import StarterNetwork
from posesyn_blazepose.units import learn_in_units
from posesyn_blazepose.views import Augmentation, draw_crop, draw_view, labels
from posesyn_blazepose.weights import load_landmarks, load_starter, save_starter
from posesyn_core.body.model import load_body
from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.files.paths import atomic_path
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.registry import Registry
from posesyn_core.seeds import rng
from posesyn_core.values import LabelledFrame, Sample

Arrays = dict[str, NDArray[np.generic]]

KINDS = {  # name -> (world's part, limbs mixed and leant over, share of the rendered people)
    "wild": ("wild", False, 0.35),
    "lab": ("lab", False, 0.18),
    "wild-mixed": ("wild", True, 0.35),
    "lab-mixed": ("lab", True, 0.12),
}
LABELLED = {11: 16, 12: 17, 13: 18, 14: 19, 15: 20, 16: 21, 23: 1, 24: 2, 25: 4, 26: 5, 27: 7, 28: 8, 31: 10, 32: 11}
"""heavy's landmarks that label joints of SMPL, and those joints."""
EARS, HEAD = [7, 8], 15
SURE, LEAST_JOINTS = 0.4, 8
PHOTO_SHARE, MIXED_SHARE, PHOTO_WEIGHT = 0.25, 0.45, 2.0
"""Of a batch: photographs, and of the rest mixed bodies; the weight of a photograph's 2D joints."""
VIEWS, PHOTO_VIEWS = 2, 48
"""Crops of a rendered person, and of one in a photograph."""
LOOKS = Augmentation(scale=0.11, shift=0.045, turn=12.0, whirl=0.35, second=0.6)
SHARD = 500
DROPPED, SHAKEN = 0.4, 1.0
"""The share of the tail's numbers that the head does not get, and the deviation of landmarks in pixels: without either
it learns its few photographs by heart, and finds fewer joints on others."""
METRES_SHAKEN = 0.006
"""Deviation of world landmarks in metres, for each pixel of the others'."""
AVERAGED = 0.998
"""What is written is the running mean of the weights, of which each step keeps so much."""


@click.command()
@click.option("--motions", required=True, type=click.Path(path_type=Path, exists=True), help="npz to take poses from")
@click.option("--photos", required=True, type=click.Path(path_type=Path, exists=True), help="folder of photographs")
@click.option("--heavy", required=True, type=click.Path(path_type=Path, exists=True), help="weights of the 2D labels")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="folder of pictures and checkpoints")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="the .safetensors file to write")
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="a starter's weights to go on from")
@click.option("--people", default=24000, show_default=True, help="rendered people")
@click.option("--steps", default=8500, show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--learning-rate", default=8e-4, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    motions: Path, photos: Path, heavy: Path, work: Path, out: Path, start: Path | None, people: int, steps: int,
    batch_size: int, learning_rate: float, seed: int,
) -> None:  # fmt: skip
    """Train the starter's weights."""
    torch.manual_seed(seed)
    network = load_starter(str(start)) if start is not None else _beginner()
    network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    see = partial(_seen, network, work / "features", seed)
    data = {name: see(name, _world(kind, motions, work, people), VIEWS) for name, kind in KINDS.items()}
    pools = {
        "plain": _joined([data["wild"], data["lab"]]),
        "mixed": _joined([data["wild-mixed"], data["lab-mixed"]]),
        "photos": see("photos", photographed(photos, heavy), PHOTO_VIEWS),
    }
    if start is None:
        _scale(network, pools, seed)
    train(network, pools, work / "training.pt", steps, batch_size, learning_rate, seed)
    save_starter(network, out, "free", torch.float16)


def _beginner() -> StarterNetwork:
    """Eyes and tail are "full", the head is untrained."""
    network = StarterNetwork(load_body())
    network.eyes.load_state_dict(load_landmarks("full").state_dict())
    network.tail.blocks.load_state_dict(network.eyes.regressor.blocks.state_dict())
    return network


def _scale(network: StarterNetwork, pools: Mapping[str, Arrays], seed: int) -> None:
    """Let the head see numbers of one size, whatever the tail's are."""
    first = _batch(pools, 256, rng(seed, "scale", "train_starter"))
    with torch.no_grad():
        network.head.hidden_scale.copy_(1 / (network.tail(first["features"]).std(0) + 0.1))


def _world(kind: tuple[str, bool, float], motions: Path, work: Path, people: int) -> Iterator[LabelledFrame]:
    part, mixed, share = kind
    options = {
        "part": part, "mixed": mixed, "split": "starter-mixed" if mixed else "starter", "count": int(share * people),
        "motions": str(motions), "domain": "lab", "folder": str(work / "world"),
    }  # fmt: skip
    reader = Registry.discover().create(Kind.READER, "world", options, "train_starter")
    yield from (labelled_frame(sample) for sample in reader.samples() if isinstance(sample, Sample))


def photographed(folder: Path, heavy: Path) -> Iterator[LabelledFrame]:
    """The people in a folder of photographs, labelled by heavy. UserError if nobody is found."""
    detector = BlazePoseDetector(DetectorConfig(weights=str(heavy)))
    labeller = BlazePoseLabeller(LabellerConfig(weights=str(heavy)))
    found = 0
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        (people,) = detector.find_people([load_image(path)])
        for number, box in enumerate(people.boxes):
            points, confidence = np.zeros((24, 2), np.float32), np.zeros(24, np.float32)
            (said,) = labeller.detect([Sample(f"{path.name}/{number}", path, box, "smpl24", points, confidence)])
            for landmark, joint in LABELLED.items():
                points[joint], confidence[joint] = said.points[landmark], said.confidence[landmark] > SURE
            points[HEAD], confidence[HEAD] = said.points[EARS].mean(0), (said.confidence[EARS] > SURE).all()
            if confidence.sum() >= LEAST_JOINTS:
                found += 1
                yield LabelledFrame(f"{path.name}/{number}", path, box, points, confidence)
    if not found:
        raise UserError(f"nobody is found in the photographs of {str(folder)!r}")


def _seen(
    network: StarterNetwork, folder: Path, seed: int, name: str, frames: Iterator[LabelledFrame], views: int
) -> Arrays:
    """What the eyes say of random crops of the frames, with the labels: read from ``folder``, or computed and kept."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npz"
    if not path.exists():
        shards = [_look(network, batch, seed, views) for batch in _batches(frames, SHARD)]
        with atomic_path(path) as temporary:
            np.savez(temporary, allow_pickle=False, **_joined(shards))
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _batches(frames: Iterator[LabelledFrame], size: int) -> Iterator[list[LabelledFrame]]:
    batch: list[LabelledFrame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _look(network: StarterNetwork, frames: Sequence[LabelledFrame], seed: int, views: int) -> Arrays:
    rows = []
    for frame in frames:
        image, random = load_image(frame.image), rng(seed, frame.id, "train_starter")
        for _ in range(views):
            view = draw_view(frame, LOOKS, random)
            rows.append((as_input(draw_crop(image, view, LOOKS, random)), labels(frame, view)))
    said = []
    for at in range(0, len(rows), 16):
        images = torch.from_numpy(np.stack([image for image, _ in rows[at : at + 16]]))
        with torch.inference_mode():
            seen = network.see(images.contiguous(memory_format=torch.channels_last))
        said.append({name: value.numpy() for name, value in seen.items()})
    arrays = {name: np.stack([label[name] for _, label in rows]) for name in rows[0][1]} | _joined(said)
    return {**arrays, "features": arrays["features"].astype(np.float16)}


def _joined(parts: Sequence[Mapping[str, NDArray]]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def train(
    network: StarterNetwork, pools: Mapping[str, Arrays], checkpoint: Path, steps: int, batch_size: int, rate: float,
    seed: int,
) -> None:  # fmt: skip
    """Train tail and head, and leave them with the mean of their last weights."""
    learn_in_units(network.tail, TAIL_UNIT)
    trained = [*network.tail.parameters(), *network.head.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.05, fused=True)
    mean = [parameter.detach().clone() for parameter in trained]
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        mean, start = state["mean"], state["step"]
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100, 2 * (1 - step / steps))
        batch = _batch(pools, batch_size, rng(seed, str(step), "train_starter"))
        terms = starter_loss(_understood(network, batch), batch, keypoints=4.0)
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimiser.step()
        torch._foreach_lerp_(mean, [p.detach() for p in trained], 1 - min(AVERAGED, step / (step + 20)))
        if (step + 1) % 100 == 0:
            print(step + 1, {name: round(float(term.detach()), 4) for name, term in terms.items()}, flush=True)
            with atomic_path(checkpoint) as temporary:
                state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save({**state, "mean": mean, "step": step + 1}, temporary)
    with torch.no_grad():
        for parameter, value in zip(trained, mean, strict=True):
            parameter.copy_(value)


def _understood(network: StarterNetwork, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``network.understand`` of what the eyes say, roughened."""
    pixels = torch.randn_like(batch["landmarks"]) * torch.tensor([1.0, 1, 2, 0, 0]) * SHAKEN
    metres = torch.randn_like(batch["world"]) * METRES_SHAKEN * SHAKEN
    hidden = functional.dropout(network.tail(batch["features"]), DROPPED)
    return network.head(batch["landmarks"] + pixels, batch["world"] + metres, hidden)


def _batch(pools: Mapping[str, Arrays], size: int, random: np.random.Generator) -> dict[str, Tensor]:
    photos = round(size * PHOTO_SHARE)
    mixed = round((size - photos) * MIXED_SHARE)
    counts = {"plain": size - photos - mixed, "mixed": mixed, "photos": photos}
    rows = [
        {key: column[at] for key, column in pools[name].items()}
        for name, count in counts.items()
        for at in [random.integers(len(pools[name]["features"]), size=count)]
    ]
    batch = {name: torch.from_numpy(values).float() for name, values in _joined(rows).items()}
    batch["features"] = batch["features"].contiguous(memory_format=torch.channels_last)
    weight = torch.ones(size)
    weight[size - photos :] = PHOTO_WEIGHT
    return {**batch, "weight2d": weight}


if __name__ == "__main__":
    main()
