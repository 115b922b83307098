"""People whom an animator brings: they stand in for the easy samples, with bodies of their own proportions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core import Component, Kind, UserError, hookimpl
from posesyn_core.body.model import load_body
from posesyn_core.files.images import encode_png
from posesyn_core.pipeline.casting import as_reference, brings_people
from posesyn_core.pipeline.judging import label_frames
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Actor, Camera, ClipPlan, FloatArray, Image, Sample, SmplParams
from tests.tiny import folder_data_set

BODY = load_body()
BETAS = np.linspace(-0.6, 0.6, 10, dtype=np.float32)
SIZE = 128


def actor(name: str, longer: float = 1.0, **smpl: Any) -> Actor:
    """Somebody who stands before a camera, whose limbs are ``longer`` than those of the body with ``BETAS``."""
    skeleton: FloatArray = (longer * BODY.rest_joints(torch.from_numpy(BETAS)[None])[0]).numpy()
    camera = Camera(np.full(2, 1.5 * SIZE), np.full(2, SIZE / 2))
    upright = np.array([np.pi, 0, 0])
    place = np.array([0.0, 0.0, 4.0]) - skeleton[0]
    person = SmplParams(upright, np.zeros((23, 3), np.float32), BETAS, place, **smpl)
    sample = Sample(name, encode_png(np.full((SIZE, SIZE, 3), 90, np.uint8)), np.array([20, 5, 108, 123]), "smpl24",
                    np.zeros((24, 2), np.float32), np.zeros(24, np.float32))  # fmt: skip
    return Actor(sample, person, camera, skeleton)


@frozen
class Options:
    people: str = "both"


class Troupe:
    """Draws a grey level per frame; one of its people is of the run's body, the other taller than any such."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def actors(self) -> Sequence[Actor]:
        return [] if self.options.people == "none" else [actor("own/a"), actor("own/b", 1.2)]

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        for level in range(len(plan.transl)):
            yield np.full((SIZE, SIZE, 3), level, np.uint8)


class Plugin:
    def __init__(self, declared: bool = True) -> None:
        self.declared = declared

    @hookimpl
    def register_animators(self) -> list[Component]:
        return [Component(Kind.ANIMATOR, "troupe", "", Troupe, Options, brings_people=self.declared)]


def run_with(folder: Any, *settings: str, declared: bool = True) -> Run:
    registry = Registry.discover()
    registry.add(Plugin(declared), Origin("plugin", "tests", "1"))
    recipe = folder_data_set(folder, people=6, part="lab")
    always = ("score.easy=1", "score.hard=3", "animate.max_frames=3", "animator.name=troupe")
    return create_run(folder / "run", load_recipe(recipe, (*always, *settings)), registry)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = run_with(tmp_path_factory.mktemp("casting"), "animate.references_per_motion=2")
    for stage in STAGES[: STAGES.index("filter") + 1]:
        run_stage(made, stage)
    return made


def test_clips_are_of_the_animators_people(run: Run) -> None:
    assert {clip.plan.reference.id for clip in run.clips.values()} == {"own/a", "own/b"}
    figures = run.summary("animate")
    assert figures is not None and figures["references"] == 2 and figures["references_by"] == "troupe"
    assert figures["shape"].startswith("1 of the animator's 2 people have no betas of the run's body")


def test_labels_are_of_the_persons_own_skeleton(run: Run) -> None:
    for clip in run.clips.values():
        plan = clip.plan
        wanted = actor("", 1.2 if plan.reference.id == "own/b" else 1.0).skeleton
        for joint, parent in ((4, 1), (7, 4), (18, 16), (20, 18)):
            lengths = np.linalg.norm(plan.joints3d[:, joint] - plan.joints3d[:, parent], axis=-1)
            np.testing.assert_allclose(lengths, np.linalg.norm(wanted[joint] - wanted[parent]), rtol=1e-4)


def test_frames_say_whether_their_shape_is_known(run: Run) -> None:
    known = {clip.plan.reference.id: clip.plan for clip in run.clips.values()}
    for name, plan in known.items():
        (frame, *_) = label_frames(plan, [b""] * len(plan.transl), SIZE, SIZE)
        assert frame.smpl is not None and frame.smpl.shape_known == (name == "own/a")
        if name == "own/a":
            np.testing.assert_array_equal(frame.smpl.betas, BETAS)
    stored = {row.frame.id.split("/")[1][0]: row.frame.smpl for row in run.frames.values()}
    assert all(smpl is not None for smpl in stored.values())


def test_the_report_says_that_no_shape_is_learnt(run: Run) -> None:
    run_stage(run, "report")
    assert "no shape is learnt from their frames" in (run.folder / "report.html").read_text()


def test_the_pelvis_stays_and_the_nearest_betas_stand_in() -> None:
    tall = actor("tall", 1.15)
    reference = as_reference(BODY, tall)
    smpl = reference.estimate.smpl
    assert smpl is not None and reference.skeleton is not None and not smpl.shape_known
    np.testing.assert_allclose(reference.skeleton[0] + smpl.transl, [0, 0, 4], atol=1e-5)
    rest = BODY.rest_joints(torch.from_numpy(np.array(smpl.betas))[None])[0].numpy()
    here, before = (np.linalg.norm((each - each[:1]) - (tall.skeleton - tall.skeleton[:1]), axis=-1).mean()
                    for each in (rest, BODY.rest_joints(torch.zeros(1, 10))[0].numpy()))  # fmt: skip
    assert here < 0.5 * before


def test_betas_that_are_said_to_mean_nothing_are_not_believed() -> None:
    smpl = as_reference(BODY, actor("doubtful", shape_known=False)).estimate.smpl
    assert smpl is not None and not smpl.shape_known


@pytest.mark.parametrize("declared", [True, False])
def test_people_must_be_declared(declared: bool) -> None:
    registry = Registry.discover()
    registry.add(Plugin(declared), Origin("plugin", "tests", "1"))
    if declared:
        assert registry.create(Kind.ANIMATOR, "troupe", {}, "test").actors()
    else:
        with pytest.raises(UserError, match="its Component must say brings_people=True"):
            registry.create(Kind.ANIMATOR, "troupe", {}, "test")


def test_a_recipe_that_names_other_references_is_refused(run: Run) -> None:
    other = evolve(run, recipe=evolve(run.recipe, reference=run.recipe.estimator))
    with pytest.raises(UserError, match=r"'troupe' brings its own people: remove \[reference\]"):
        brings_people(other)
