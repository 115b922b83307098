"""How many frames with a damaged limb the filter `keypoint_agreement` finds, and how many sound ones it drops.

Frames of clips that the free world's people and motions make are drawn by re-projection, some as planned and some with
a limb damaged on purpose; the labels stay as planned:

- erased: the forearm or the whole arm, the shank or the whole leg is not drawn; what is behind it is seen
- moved: an arm or a leg is drawn in another pose (its end at least a quarter of the person's size away)
- swapped: left and right arms or legs take each other's pose (an end moves as far)

A frame counts as damaged if the picture shows it: as planned, it must show most of what is erased, moved or swapped,
and most of the pixels that show it must have clearly another colour in the damaged frame. Of a limb behind the body, or
of one dark trouser leg before another, nobody could tell. Printed is what share of each kind is found, and what share
of the sound frames is dropped; at least 95 % and at most 5 % are wanted. Limit and mask of the filter were chosen on
clips of the seeds below ``UNSEEN``.

    python bench/judge.py [--part wild lab] [--seed 101] [--keep FOLDER] [--judge blazepose] [--count 100]
                          [--set KEY=VALUE]
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import torch
from attrs import evolve
from numpy.typing import NDArray
from pyarrow import parquet
from scipy.spatial.transform import Rotation

from posesyn_core.body.model import Body
from posesyn_core.body.render import render
from posesyn_core.components import Kind
from posesyn_core.files.images import encode_jpeg, image_size
from posesyn_core.files.paths import atomic_path
from posesyn_core.geometry.cameras import project
from posesyn_core.pipeline.judging import label_frames
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import parse_recipe, settings_of
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import ClipPlan, Image, LabelledFrame, Verdict
from posesyn_reprojection.animator import ReprojectionAnimator, draw
from posesyn_reprojection.config import ReprojectionConfig

RECIPE = """
name = "judge"
dataset = { name = "world", split = "mine", count = 480, labels = "2d", noise = 1.0 }
score = { hard = 160, easy = 80 }
synthesize = { pose = "fitted", max_frames = 48 }
animate = { orientation = "heading", frame_stride = 4, keep_dropped = true }
"""
ARMS = {"left_arm": (16, 18, 20, 22), "right_arm": (17, 19, 21, 23)}
LEGS = {"left_leg": (1, 4, 7, 10), "right_leg": (2, 5, 8, 11)}
LIMBS = {**ARMS, **LEGS}
PARTS = {name: ("elbow", "wrist") if name in ARMS else ("knee", "ankle") for name in LIMBS}
FAR = 0.25
"""Of the person's size in the picture: how far a moved limb's end is from its label."""
SHOWN = 0.6
"""Share of a limb's own pixels that must be seen, else it is not damaged."""
CHANGED, CLEARLY = 0.5, 25
"""Share of those that must change, and by how many of the 256 levels of a channel, else the damage can't be seen."""
Pixels = NDArray[np.bool_]
Drawn = tuple[str, str, LabelledFrame]
"""What was done to a frame (or "sound"), to which limb, and the frame."""
KINDS = ("erased", "moved", "swapped")
UNSEEN = 101
"""The first seed of clips on which nothing of the filter was chosen."""


class Frames:
    """Draws one body of a plan as planned, or damaged."""

    def __init__(self) -> None:
        self.animator = ReprojectionAnimator(ReprojectionConfig())
        self.body: Body = self.animator.body
        self.owner = self.body.weights.numpy().argmax(axis=1)

    def picture(self, plan: ClipPlan, at: int, pose: np.ndarray, without: tuple[int, ...] = ()) -> Image:
        """The body ``at`` with another ``pose`` (23, 3), or without the surface of some joints."""
        person = self.animator._person(plan.reference, plan.reference_estimate)
        faces = self.animator.surface.faces
        kept = ~np.isin(self.owner[faces], without).all(axis=1)
        surface: Any = SimpleNamespace(faces=faces[kept])
        return draw(evolve(person, uv=person.uv[kept]), surface, self._vertices(plan, at, pose), plan.camera, 512)

    def shown(self, plan: ClipPlan, at: int, joints: tuple[int, ...], size: tuple[int, int]) -> Pixels | None:
        """The pixels (H, W) that show a limb; None if the body or the picture's border hides too many of its own."""
        vertices, faces = self._vertices(plan, at, plan.body_pose[at]), self.animator.surface.faces
        limb: Pixels = np.asarray(np.isin(self.owner[faces], joints).all(axis=1))
        alone = render(vertices, faces[limb], plan.camera, size)
        whole = render(vertices, faces, plan.camera, size)
        pixels = whole.pixel[limb[whole.face]]
        if not len(pixels) or len(pixels) < SHOWN * len(alone.pixel):
            return None
        place = np.zeros(size, bool)
        place.reshape(-1)[pixels] = True
        return place

    def joints2d(self, plan: ClipPlan, at: int, pose: np.ndarray) -> np.ndarray:
        joints = self.body.joints(*self._parameters(plan, at, pose))[0].numpy()
        return project(joints, plan.camera.focal_length, plan.camera.principal_point)

    def _vertices(self, plan: ClipPlan, at: int, pose: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.body(*self._parameters(plan, at, pose)).vertices[0].numpy()

    def _parameters(self, plan: ClipPlan, at: int, pose: np.ndarray) -> list[torch.Tensor]:
        given = (plan.global_orient[at], pose, plan.betas, plan.transl[at])
        return [torch.from_numpy(np.array(each, np.float32))[None] for each in given]


def damaged(frames: Frames, plan: ClipPlan, at: int, kind: str, rng: np.random.Generator) -> tuple[str, Image] | None:
    """(limb, picture) of a body damaged in one way; None if no limb of it can be."""
    names = list(LIMBS)
    rng.shuffle(names)
    planned = frames.picture(plan, at, plan.body_pose[at])
    height, width = planned.shape[:2]
    size = float(np.ptp(plan.joints2d[at], axis=0).max())
    inside = ((plan.joints2d[at] >= 0) & (plan.joints2d[at] < (width, height))).all(axis=1)
    for name in names:
        joints = LIMBS[name]
        gone = joints[1:] if kind == "erased" and rng.random() < 0.5 else joints
        place = frames.shown(plan, at, gone, (height, width))
        if place is None or not inside[list(joints)].all():
            continue
        for _ in range(20 if kind == "moved" else 1):
            if kind == "erased":
                found = frames.picture(plan, at, plan.body_pose[at], gone)
            else:
                pose = (_turned if kind == "moved" else _swapped)(plan.body_pose[at], joints, rng)
                moved = np.linalg.norm(frames.joints2d(plan, at, pose) - plan.joints2d[at], axis=1)[joints[2]]
                if moved < FAR * size:
                    continue
                found = frames.picture(plan, at, pose)
            if _visible(planned, found, place):
                return name, found
    return None


def _visible(planned: Image, found: Image, place: Pixels) -> bool:
    """Whether most pixels of a ``place`` have clearly another colour."""
    apart = np.abs(planned.astype(int) - found).max(axis=-1)
    return float((apart[place] > CLEARLY).mean()) >= CHANGED


def _turned(pose: np.ndarray, joints: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The limb turned in its shoulder or hip by 60 to 120 degrees about any axis."""
    turned, root = pose.copy(), joints[0] - 1
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(np.pi / 3, 2 * np.pi / 3))
    turned[root] = (turn * Rotation.from_rotvec(pose[root])).as_rotvec()
    return turned


def _swapped(pose: np.ndarray, joints: tuple[int, ...], _: np.random.Generator) -> np.ndarray:
    """Both arms, or both legs, with each other's mirrored pose."""
    swapped = pose.copy()
    left, right = (ARMS if joints in ARMS.values() else LEGS).values()
    for one, two in zip(left, right, strict=True):
        swapped[[one - 1, two - 1]] = pose[[two - 1, one - 1]] * (1, -1, -1)
    return swapped


def labelled(plan: ClipPlan, at: int, image: bytes) -> LabelledFrame:
    """A picture with the labels of the plan's body."""
    height, width = image_size(image)
    return list(label_frames(plan, [image] * len(plan.transl), width, height))[at]


def draw_all(run: Run, count: int, seed: int) -> Iterator[Drawn]:
    """``count`` of each damage, and three times as many sound ones, of different bodies."""
    frames, rng = Frames(), np.random.default_rng(seed)
    places = [(clip.plan, at) for clip in run.clips.values() for at in range(len(clip.plan.transl))]
    order = iter(rng.permutation(len(places)))
    wanted = {"sound": 3 * count, **dict.fromkeys(KINDS, count)}
    for number in order:
        plan, at = places[number]
        left = [kind for kind, missing in wanted.items() if missing]
        if not left:
            return
        kind = left[int(rng.integers(len(left)))]
        whole = ("", frames.picture(plan, at, plan.body_pose[at])) if kind == "sound" else None
        found = whole or damaged(frames, plan, at, kind, rng)
        frame = None if found is None else labelled(plan, at, encode_jpeg(found[1]))
        if found is not None and frame is not None and frame.confidence.mean() >= 0.5:
            wanted[kind] -= 1
            yield kind, found[0], frame


def made(folder: Path, part: str, seed: int, registry: Registry) -> Run:
    """A run of the free world of a ``seed``, up to its clips; goes on with one that is there."""
    sets = [f"seed={seed}", f"dataset.seed={seed}", f"dataset.part={part}"]
    run = create_run(folder, parse_recipe(RECIPE, sets), registry)
    for stage in STAGES[: STAGES.index("animate") + 1]:
        run_stage(run, stage)
    return run


def drawn(folder: Path, part: str, seed: int, count: int, registry: Registry) -> list[Drawn]:
    """The frames of a part of the world; kept in the folder, so that another filter needs no drawing."""
    run = made(folder / "run", part, seed, registry)
    path = folder / f"frames_{count}.parquet"
    if not path.is_file():
        found = [(kind, limb, frame.id, frame.image) for kind, limb, frame in draw_all(run, count, seed)]
        columns = dict(zip(("kind", "limb", "id", "image"), map(list, zip(*found, strict=True)), strict=True))
        with atomic_path(path) as temporary:
            parquet.write_table(pyarrow.table(columns), temporary)
    plans = {clip.plan.id: clip.plan for clip in run.clips.values()}
    return [
        (row["kind"], row["limb"], labelled(plans[(place := row["id"].rsplit("/", 1))[0]], int(place[1]), row["image"]))
        for row in parquet.read_table(path).to_pylist()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", nargs="+", choices=["lab", "wild"], default=["wild", "lab"], help="the world's people"
    )
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of the people, their motions, and what is damaged")
    parser.add_argument("--keep", type=Path, help="keep the runs and their frames (and go on with them) in this folder")
    parser.add_argument("--judge", default="blazepose")
    parser.add_argument("--count", type=int, default=100, help="frames of each damage; three times as many sound ones")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the filter")
    options = parser.parse_args()
    registry = Registry.discover()
    settings = {"judge": options.judge, **settings_of(options.set)}
    chosen = registry.create(Kind.FILTER, "keypoint_agreement", settings, "bench/judge.py")
    with tempfile.TemporaryDirectory() as temporary:
        for part in options.part:
            folder = (options.keep or Path(temporary)) / f"{part}_{options.seed}"
            found = drawn(folder, part, options.seed, options.count, registry)
            frames = [frame for *_, frame in found]
            verdicts = [verdict for at in range(0, len(frames), 8) for verdict in chosen.judge(frames[at : at + 8], [])]
            report(f"{part}, seed {options.seed}", found, verdicts, chosen.config.limit)


def report(title: str, found: Sequence[Drawn], verdicts: Sequence[Verdict], limit: float) -> None:
    """What the filter's own limit finds, and limits that drop 5 % and 10 % of the sound frames."""
    errors = np.array([verdict.error if np.isfinite(verdict.error) else np.inf for verdict in verdicts])
    kinds = np.array([kind for kind, *_ in found])
    sound = errors[kinds == "sound"]
    clips = len({frame.id.rsplit("/", 1)[0] for *_, frame in found})
    print(f"\n{title}: {len(sound)} sound and {len(errors) - len(sound)} damaged frames of {clips} clips")
    counts = Counter(kinds.tolist())
    heads = [f"{counts[kind]} {kind}" for kind in KINDS]
    print(f"{'limit':>24}{'sound dropped':>15}" + "".join(f"{head:>13}" for head in heads) + f"{'all damaged':>13}")
    for name, value in (
        (f"{limit:g} (the filter's)", limit),
        *((f"{np.quantile(sound, 1 - share):.3f}", float(np.quantile(sound, 1 - share))) for share in (0.05, 0.1)),
    ):
        shares = [100 * float((errors[kinds == kind] > value).mean()) for kind in KINDS]
        every = 100 * float((errors[kinds != "sound"] > value).mean())
        dropped = 100 * float((sound > value).mean())
        print(f"{name:>24}{dropped:>13.1f} %" + "".join(f"{share:>11.1f} %" for share in shares) + f"{every:>11.1f} %")
    told = [(limb, v.reason) for (_, limb, _), v in zip(found, verdicts, strict=True) if limb and not v.keep]
    named = sum(any(f"{limb.split('_')[0]} {joint}" in reason for joint in PARTS[limb]) for limb, reason in told)
    print(f"the record names the damaged limb for {named} of {len(told)} damaged frames that were found", flush=True)


if __name__ == "__main__":
    main()
