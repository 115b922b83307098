"""A small complete run, made through the tables that the stages write."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from posesyn_core import builtins
from posesyn_core.files.images import encode_jpeg
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.pipeline.run import (
    EASY,
    HARD,
    Captioned,
    Clip,
    DrawnFrame,
    FilteredFrame,
    Judgement,
    Run,
    Selected,
    create_run,
)
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.values import (
    Camera,
    ClipPlan,
    LabelledFrame,
    Motion,
    PoseEstimate,
    Sample,
    ScoredSample,
    SmplParams,
    Verdict,
)

MPII = joint_set("mpii16")
STAGES = ("score", "select", "caption", "synthesize", "animate", "filter", "evaluate")
CAPTIONS = ("A person leaps & turns", "A person squats <script>alert(1)</script>")
ODD_ID = 'pictures/"><img src=x onerror=alert(1)>'
FRAME_ERRORS = (30.0, 90.0, 119.0, 121.0, 180.0, 260.0)
TRUTH = {"mpjpe": 100.0, "pa_mpjpe": 80.0, "samples": 50}
MEASURED = {
    "shipped": TRUTH,
    "real_only": {"mpjpe": 104.0, "pa_mpjpe": 80.0, "samples": 50},
    "posesyn": {"mpjpe": 90.0, "pa_mpjpe": 76.0, "samples": 50},
}
RECIPE = """
name = "A run <i>of ours</i>"
seed = 5
dataset = { name = "folder", root = "pictures" }
[finetune]
steps = 20
"""


def scored(name: str, error: float, joint_errors: float, image: Path | bytes) -> ScoredSample:
    """A sample whose joints are all off by ``joint_errors`` crop pixels, the pelvis excepted."""
    rng = np.random.default_rng(len(name))
    joints = rng.uniform(20, 70, (16, 2))
    sample = Sample(name, image, (16, 16, 76, 76), "mpii16", joints, np.ones(16), Camera((500, 500), (48, 48)))
    errors = np.full(16, joint_errors)
    errors[list(MPII.root)] = 0
    body = SmplParams(np.zeros(3), np.zeros((23, 3)), np.zeros(10), (0, 0, 5))
    assert sample.camera is not None
    estimate = PoseEstimate(np.zeros((24, 3)), rng.uniform(20, 70, (24, 2)), sample.camera, body)
    return ScoredSample(sample, error, errors, estimate)


def stand(frames: int) -> np.ndarray:
    """A motion (L, 22, 3) of somebody who stands and lifts the left wrist, facing +z."""
    rest = np.zeros((22, 3))
    rest[:, 1] = np.linspace(1.0, 1.6, 22)
    rest[[1, 4, 7, 10], :2] = [(0.1, 0.9), (0.1, 0.5), (0.1, 0.08), (0.1, 0.0)]
    rest[[2, 5, 8, 11], :2] = [(-0.1, 0.9), (-0.1, 0.5), (-0.1, 0.08), (-0.1, 0.0)]
    rest[[16, 18, 20], :2] = [(0.2, 1.4), (0.3, 1.2), (0.3, 1.0)]
    rest[[17, 19, 21], :2] = [(-0.2, 1.4), (-0.3, 1.2), (-0.3, 1.0)]
    motion = np.repeat(rest[None], frames, axis=0)
    motion[:, 20, 1] += np.linspace(0, 0.8, frames)
    return motion


def registry() -> Registry:
    made = Registry.empty()
    made.add(builtins, Origin("builtins", "posesyn", "0"))
    return made


@frozen
class Maker:
    """Makes runs in a folder of its own; ``upto`` is the last stage that has run."""

    folder: Path

    def photo(self, name: str, colour: int) -> Path:
        path = self.folder / f"{name}.jpg"
        path.write_bytes(encode_jpeg(np.full((96, 96, 3), colour, np.uint8)))
        return path

    def __call__(self, upto: str = "evaluate", overrides: Sequence[str] = (), name: str = "run") -> Run:
        run = create_run(self.folder / name, parse_recipe(RECIPE, overrides), registry())
        for stage in STAGES[: STAGES.index(upto) + 1]:
            getattr(self, f"_{stage}")(run)
        return run

    def samples(self) -> list[ScoredSample]:
        """Two hard ones, one in between, two easy ones."""
        names = ("pictures/a", ODD_ID, "pictures/c", "pictures/d", "pictures/e")
        sizes = ((200.0, 60.0), (100.0, 30.0), (50.0, 15.0), (20.0, 6.0), (10.0, 3.0))
        return [
            scored(name, error, joints, self.photo(f"photo{at}", 40 * at))
            for at, (name, (error, joints)) in enumerate(zip(names, sizes, strict=True))
        ]

    def _score(self, run: Run) -> None:
        rows = [Row(s.sample.id, s) for s in self.samples()]
        run.scored.write_part(0, [*rows, Row("pictures/f", rejected="the image file is empty (zero bytes)")])
        run.finish("score", {})

    def _select(self, run: Run) -> None:
        samples = self.samples()
        chosen = [(HARD, 0, 0), (HARD, 1, 1), (EASY, 0, 4), (EASY, 1, 3)]
        run.selected.write_part(
            0, [Row(samples[at].sample.id, Selected(role, rank, samples[at])) for role, rank, at in chosen]
        )
        run.finish("select", {})

    def _caption(self, run: Run) -> None:
        names = [s.sample.id for s in self.samples()[:2]]
        rows = [Row(name, Captioned(name, text)) for name, text in zip(names, CAPTIONS, strict=True)]
        run.captions.write_part(0, rows)
        run.finish("caption", {})

    def _synthesize(self, run: Run) -> None:
        rows = [
            Row(f"{c.sample_id}#0", Motion(f"{c.sample_id}#0", c.sample_id, c.caption, stand(30)))
            for c in run.captions.values()
        ]
        run.motions.write_part(0, rows)
        run.finish("synthesize", {})

    def _animate(self, run: Run) -> None:
        easy = self.samples()[4]
        rows = []
        for motion in run.motions.values():
            length = len(FRAME_ERRORS)
            paths = []
            for at in range(length):
                paths.append(run.folder / "animate" / "frames" / str(len(rows)) / f"{at:04d}.jpg")
                paths[-1].parent.mkdir(parents=True, exist_ok=True)
                paths[-1].write_bytes(encode_jpeg(np.full((96, 96, 3), 30 * at, np.uint8)))
            plan = ClipPlan(
                id=f"{motion.id}@0",
                motion_id=motion.id,
                sample_id=motion.sample_id,
                caption=motion.caption,
                reference=easy.sample,
                reference_estimate=easy.estimate,
                camera=easy.estimate.camera,
                fps=20.0,
                seed=1,
                residual_mm=12.5,
                global_orient=np.zeros((length, 3)),
                body_pose=np.zeros((length, 23, 3)),
                betas=np.zeros(10),
                transl=np.zeros((length, 3)),
                joints3d=np.zeros((length, 24, 3)),
                joints2d=np.random.default_rng(3).uniform(20, 70, (length, 24, 2)),
            )
            frames = tuple(DrawnFrame(path, True, Judgement()) for path in paths)
            rows.append(Row(plan.id, Clip(plan, frames, 96, 96)))
        run.clips.write_part(0, rows)
        run.finish("animate", {})

    def _filter(self, run: Run) -> None:
        rows = []
        for clip in run.clips.values():
            for at, error in enumerate(FRAME_ERRORS):
                keep = error <= 120
                name = f"{clip.plan.id}/{at:04d}"
                frame = LabelledFrame(
                    id=name,
                    image=clip.frames[at].image,
                    box=(16, 16, 76, 76),
                    joints2d=clip.plan.joints2d[at],
                    confidence=np.ones(24),
                    error_mm=error,
                )
                verdict = Verdict(keep, error, "" if keep else f"3D error {error} mm exceeds tau = 120 mm")
                rows.append(Row(name, FilteredFrame(clip.plan.id, at, frame, verdict)))
        run.frames.write_part(0, rows)
        run.finish("filter", {})

    def _evaluate(self, run: Run) -> None:
        run.finish("finetune", {"variants": ["posesyn", "real_only"], "real": 40, "synthesised": 6, "steps": 20})
        run.finish("evaluate", {"variants": MEASURED})


@pytest.fixture(scope="session")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of which every stage is done; not to be changed."""
    return Maker(tmp_path_factory.mktemp("report"))()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes a small run; see :class:`Maker`."""
    return Maker(tmp_path)


@pytest.fixture
def standing() -> Callable[[int], np.ndarray]:
    """Makes the motion of :func:`stand`."""
    return stand
