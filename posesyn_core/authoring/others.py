"""Trials of motion generators, animators, readers, writers and engines."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve
from torch import nn

from posesyn_core.authoring.findings import Failure, Finding, check, demand
from posesyn_core.authoring.people import clip, frames
from posesyn_core.components import Animator, DatasetReader, DatasetWriter, MotionGenerator
from posesyn_core.contracts.engines import Engine, ExportableModule
from posesyn_core.contracts.entries import entries
from posesyn_core.contracts.results import a_value, expect, name_of
from posesyn_core.engines.batches import load_network
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.geometry.units import check_person, limb_length
from posesyn_core.inference.probe import probe_requests
from posesyn_core.pipeline.animate import draw_frames
from posesyn_core.values import Image, Motion, MotionRequest, Sample, SampleOrRejection

ENTRIES = 32
"""So many entries of a data set are looked at."""
TOLERANCE = 1e-3
"""Share of the largest output by which an engine in float32 may differ from eager torch."""


def try_motion(made: MotionGenerator, remake: Any) -> Iterator[Finding]:
    """Shapes, units, lengths, and that a motion depends on its own request alone."""
    del remake
    requests = [evolve(request, max_frames=60) for request in probe_requests()[:2]]
    found = check("motions", lambda: _motions(made, requests), lambda them: f"{[len(m.joints) for m in them]} frames")
    yield found
    if not found.passed:
        return
    yield check("units", lambda: _persons(found.value), str)
    yield check("floor", lambda: _floor(found.value), lambda _: "y up, floor at 0")
    yield check("repeats", lambda: _same_motions(found.value, _motions(made, requests)))
    yield check(
        "each for itself",
        lambda: _same_motions(found.value[1:], _motions(made, requests[1:])),
        lambda _: "a request alone gives what it gives among others",
    )
    for guidance, changes in (("text_only", {"pose": None}), ("pose_only", {"caption": ""})):
        request = evolve(requests[0], guidance=guidance, **changes)
        yield check(guidance, lambda request=request: _motions(made, [request]))  # type: ignore[misc]


def _motions(made: MotionGenerator, requests: Sequence[MotionRequest]) -> list[Motion]:
    found = expect(made.generate(requests), Motion, len(requests), made.generate)
    for request, motion in zip(requests, found, strict=True):
        demand((motion.id, motion.sample_id) == (request.id, request.sample_id), "a motion has another id than asked")
        demand(np.isfinite(motion.joints).all(), "a motion has joints that are not finite")
        least, most = (1, 1) if getattr(made, "single_poses", False) else (request.min_frames, request.max_frames)
        demand(
            least <= len(motion.joints) <= most,
            f"{len(motion.joints)} frames, where {least} to {most} were asked for",
        )
    return found


def _persons(motions: Sequence[Motion]) -> str:
    for motion in motions:
        for joints in motion.joints[:: max(1, len(motion.joints) // 8)]:
            check_person(joints, "humanml22")
    return f"limb bones of {1000 * float(limb_length(motions[0].joints[0], 'humanml22')):.0f} mm"


def _floor(motions: Sequence[Motion]) -> None:
    for motion in motions:
        lowest, highest = float(motion.joints[..., 1].min()), float(motion.joints[..., 1].max())
        demand(abs(lowest) < 0.5 and highest > lowest, f"the lowest joint is at y = {lowest:.2f} m: y is up, floor 0")


def _same_motions(first: Sequence[Motion], second: Sequence[Motion]) -> None:
    for one, other in zip(first, second, strict=True):
        same = one.joints.shape == other.joints.shape and np.allclose(one.joints, other.joints, atol=1e-4)
        demand(same, f"the request {one.id!r} with its seed gives two motions")


def try_animator(made: Animator, remake: Any) -> Iterator[Finding]:
    """One image of the reference's size for each frame of a plan, the same each time."""
    del remake
    found = check(
        "frames", lambda: _frames(made), lambda them: f"{len(them)} of {them[0].shape[1]} x {them[0].shape[0]}"
    )
    yield found
    if found.passed:
        if getattr(made, "draws", True):
            yield check("moves", lambda: demand((found.value[0] != found.value[-1]).any(), "all frames are the same"))
        yield check("repeats", lambda: demand(_alike(found.value, _frames(made)), "the same plan is drawn otherwise"))


def _frames(made: Animator) -> list[Image]:
    plan = clip(made.actors()[0] if hasattr(made, "actors") else None)
    drawn, wanted = list(draw_frames(made, plan)), load_image(plan.reference.image).shape
    demand(drawn[0].shape == wanted, f"frames of {drawn[0].shape} for a reference of {wanted}")
    return drawn


def _alike(first: Sequence[Image], second: Sequence[Image]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def try_reader(made: DatasetReader, remake: Any) -> Iterator[Finding]:
    """The first entries: ids, pictures, boxes, labels, units, and the same order each time."""
    del remake
    found = check("entries", lambda: _entries(made), lambda them: f"the first {len(them)}")
    yield found
    if not found.passed:
        return
    samples = [entry for entry in found.value if isinstance(entry, Sample)]
    reasons = [f"{entry[0]}: {entry[1]}" for entry in found.value if not isinstance(entry, Sample)]
    yield check("samples", lambda: demand(bool(samples), f"none is usable: {next(iter(reasons), 'it is empty')}"))
    yield check("labels", lambda: [_labels(sample) for sample in samples], lambda them: next(iter(them), ""))
    yield check("repeats", lambda: demand(_ids(found.value) == _ids(_entries(made)), "another order the second time"))


def _entries(made: DatasetReader) -> list[SampleOrRejection]:
    found = list(itertools.islice(entries(made), ENTRIES))
    ids = _ids(found)
    demand(len(set(ids)) == len(ids), "two samples have the same id")
    return found


def _ids(found: Sequence[SampleOrRejection]) -> list[str]:
    return [entry.id if isinstance(entry, Sample) else entry[0] for entry in found]


def _labels(sample: Sample) -> str:
    names, count = joint_set(sample.joint_set), len(sample.keypoints2d)
    height, width = load_image(sample.image).shape[:2]
    check_box(sample.box, width, height)
    demand(count == len(names) == len(sample.confidence), f"{sample.id}: {count} joints of {names.name}")
    labelled = sample.keypoints2d[sample.confidence > 0]
    demand(np.isfinite(labelled).all(), f"{sample.id}: a labelled joint is not finite")
    for joints, name in ((sample.joints3d, "smpl24"), (sample.keypoints3d, sample.joint_set)):
        if joints is not None:
            check_person(joints, name)
    return f"{len(labelled)} joints of {names.name}" + (", 3D" if sample.joints3d is not None else "")


def try_writer(made: DatasetWriter, remake: Any) -> Iterator[Finding]:
    """Files below the folder, with the same bytes each time."""
    del remake
    with tempfile.TemporaryDirectory() as folder:
        found = check("files", lambda: _written(made, Path(folder) / "1"), lambda them: ", ".join(map(str, them)))
        yield found
        if found.passed:
            yield check(
                "repeats",
                lambda: demand(found.value == _written(made, Path(folder) / "2"), "the same frames give other bytes"),
            )


def _written(made: DatasetWriter, folder: Path) -> dict[Path, bytes]:
    folder.mkdir()
    files = made.write(iter(frames()), folder)
    if not isinstance(files, list | tuple) or not files:
        raise Failure(f"{name_of(made.write)} must return the files that it wrote, not {a_value(files)}")
    demand(all(path.is_file() and folder in path.parents for path in files), "a file is missing, or outside the folder")
    return {path.relative_to(folder): path.read_bytes() for path in files}


class _Net(nn.Module):
    """Two layers, as an estimator's network is called: tensors by name in, a dict out."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.out = nn.Linear(8, 6)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"pose": self.out(self.layers(image))}


def try_engine(made: Engine, remake: Any) -> Iterator[Finding]:
    """A small network on it: the results of eager torch, in batches of several sizes."""
    del remake
    net = _Net().eval()
    example = {"image": torch.linspace(0, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)}
    found = check("loads", lambda: load_network(made, ExportableModule("trial", net, example)))
    yield found
    if found.passed:
        for size in (1, 3):
            yield check(f"batch of {size}", lambda size=size: _agrees(found.value, net, size), str)  # type: ignore[misc]


def _agrees(call: Any, net: _Net, size: int) -> str:
    image = torch.linspace(-1, 1, size * 3 * 16 * 16).reshape(size, 3, 16, 16)
    with torch.inference_mode():
        wanted, got = net(image)["pose"], call({"image": image})
    demand(isinstance(got, dict) and set(got) == {"pose"}, "the outputs must come by the network's names")
    demand(got["pose"].shape == wanted.shape, f"the output has shape {tuple(got['pose'].shape)}")
    share = float((got["pose"].float() - wanted).abs().max() / wanted.abs().max())
    demand(share <= TOLERANCE, f"outputs differ from eager torch by {100 * share:.3g} %")
    return f"within {100 * share:.2g} % of eager torch"
