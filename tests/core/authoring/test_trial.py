"""Trials of components: bundled ones pass, and each kind of fault is found by the check that is for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core import Component, Kind, PoseEstimate, Verdict, hookimpl
from posesyn_core.authoring.people import clip, people, people_in, truths
from posesyn_core.authoring.trial import TRIALS, trial
from posesyn_core.cli import main
from posesyn_core.contracts.engines import EngineConfig
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.registry import Origin, Registry
from posesyn_core.training.finetune import finetune
from posesyn_core.values import Image, Motion
from tests.tiny import folder_data_set


def faults(registry: Registry, kind: Kind, name: str, **options: Any) -> dict[str, str]:
    """What the trial finds at fault, by check."""
    return {f.check: f.fault or "" for f in trial(registry, kind, name, options) if not f.passed}


@pytest.fixture(scope="module")
def bundled() -> Registry:
    return Registry.discover()


def test_every_kind_has_a_trial() -> None:
    assert set(TRIALS) == set(Kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.ESTIMATOR, "spin"),
        (Kind.ESTIMATOR, "hybrik"),
        (Kind.CAPTIONER, "posecode"),
        (Kind.CAPTIONER, "none"),
        (Kind.MOTION, "t2mgpt"),
        (Kind.MOTION, "posegen"),
        (Kind.ANIMATOR, "reprojection"),
        (Kind.ANIMATOR, "none"),
        (Kind.FILTER, "tpe_error"),
        (Kind.FILTER, "posegen_rejection"),
        (Kind.WRITER, "coco"),
        (Kind.ENGINE, "torch"),
    ],
)
def test_bundled_components_pass(bundled: Registry, kind: Kind, name: str) -> None:
    assert faults(bundled, kind, name) == {}


@pytest.mark.parametrize("name", ["semgcn", "simplebaseline", "stgcn", "videopose"])
def test_estimators_of_2d_joints_pass(bundled: Registry, name: str, tmp_path: Path) -> None:
    """Once they have learnt how large people are; before, the trial says so."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lifter = bundled.create(Kind.ESTIMATOR, name, {"weights": "random", "dropout": 0.0}, "test")
    taught = [labelled_frame(person) for person in people_in(lifter.joint_set)] * 4
    finetune(
        lifter, taught, [], tmp_path, steps=150, batch_size=16, ratio=0.0, learning_rate=1e-2, seed=0, workers=1,
        mode="train",
    )  # fmt: skip
    lifter.save(tmp_path / "lifter.safetensors")
    assert faults(bundled, Kind.ESTIMATOR, name, weights=str(tmp_path / "lifter.safetensors")) == {}


def test_trained_estimators_of_2d_joints_pass(bundled: Registry) -> None:
    found = {f.check: f for f in trial(bundled, Kind.ESTIMATOR, "videopose", {"weights": "starter"})}
    assert all(finding.passed for finding in found.values()), found
    assert "limb bones of" in found["units"].note


def test_the_augmenter_passes_with_a_lifter_and_without_says_what_to_name(bundled: Registry) -> None:
    found = list(trial(bundled, Kind.AUGMENTER, "poseaug", {}, estimator="videopose"))
    assert all(finding.passed for finding in found), found
    assert "name that with --estimator" in faults(bundled, Kind.AUGMENTER, "poseaug")["epoch"]


def test_people_in_another_joint_set_have_all_its_joints() -> None:
    for person in people_in("h36m16"):
        assert (person.confidence == 1).all() and np.isfinite(person.keypoints2d).all()
        assert person.keypoints3d is not None and person.joints3d is None
        names = joint_set(person.joint_set).joints
        x, y = person.keypoints2d[names.index("head")] - person.keypoints2d[names.index("thorax")]
        assert abs(y) + abs(x) > 5  # a joint of its own


def test_readers_pass_on_data_and_empty_ones_do_not(bundled: Registry, tmp_path: Path) -> None:
    folder_data_set(tmp_path, people=3)
    assert faults(bundled, Kind.READER, "folder", root=str(tmp_path)) == {}
    (tmp_path / "keypoints.json").write_text('{"joint_set": "coco17", "people": []}')
    assert "none is usable: it is empty" in faults(bundled, Kind.READER, "folder", root=str(tmp_path))["samples"]


@frozen
class Nothing:
    """No options."""


def installed(kind: Kind, made: Any) -> Registry:
    """A registry in which "mine" is what is given."""
    registry = Registry.empty()
    component = Component(kind, "mine", "Mine", lambda config: made, Nothing)
    registry.add(SimpleNamespace(**{kind.hook: hookimpl(lambda: [component])}), Origin("mine", "mine", "1"))
    return registry


def having(**methods: Any) -> Any:
    return type("Mine", (), {name: staticmethod(method) for name, method in methods.items()})()


def estimator(change: Callable[[PoseEstimate], PoseEstimate]) -> Any:
    """One that knows the truth, and says it with a change."""
    known = {person.id: truth for person, truth in zip(people(), truths(), strict=True)}
    return having(predict=lambda samples: [change(known[sample.id]) for sample in samples])


def drifting() -> Callable[[PoseEstimate], PoseEstimate]:
    counter = iter(range(1000))
    return lambda truth: evolve(truth, joints3d=truth.joints3d * (1 + 0.01 * next(counter)))


@pytest.mark.parametrize(
    ("change", "check", "complaint"),
    [
        (lambda e: e, "", ""),
        (lambda e: evolve(e, joints3d=e.joints3d * 1000), "estimates", "can't be in metres.*in millimetres"),
        (lambda e: evolve(e, joints3d=e.joints3d * 3), "units", "limb bones of .* are the joints in metres"),
        (lambda e: evolve(e, joints3d=e.joints3d + 1), "root", "1.732 m from the origin: subtract it"),
        (lambda e: evolve(e, joints3d=e.joints3d * np.nan), "joint set", "not finite"),
        (lambda e: evolve(e, joints2d=e.joints2d / 192), "pixels", "must be pixels of the full picture"),
        (lambda e: {"joints3d": e.joints3d}, "estimates", r"Mine\.predict|returned a dict"),
        (lambda e: evolve(e, joint_set="coco17"), "estimates", "24 joints, but 'coco17' has 17"),
        (drifting(), "repeats", "estimates differ by"),
    ],
)
def test_faults_of_estimators(change: Any, check: str, complaint: str) -> None:
    import re

    found = faults(installed(Kind.ESTIMATOR, estimator(change)), Kind.ESTIMATOR, "mine")
    assert bool(found) == bool(check)
    assert not check or re.search(complaint, found[check])


def motions(change: Callable[[Motion], Any]) -> Any:
    def generate(requests: Any) -> list[Any]:
        joints = [
            np.repeat(truths()[0].joints3d[None, :22] * [1, -1, -1] + [0, 1, 0], r.min_frames, 0) for r in requests
        ]
        return [
            change(Motion(r.id, r.sample_id, r.caption, j, seed=r.seed)) for r, j in zip(requests, joints, strict=True)
        ]

    return having(generate=generate)


@pytest.mark.parametrize(
    ("change", "check", "complaint"),
    [
        (lambda m: m, "", ""),
        (lambda m: evolve(m, joints=m.joints * 100), "units", "other units"),
        (lambda m: evolve(m, joints=m.joints[:5]), "motions", "5 frames, where 40 to 60 were asked for"),
        (lambda m: evolve(m, joints=m.joints * np.nan), "motions", "not finite"),
        (lambda m: evolve(m, id="other"), "motions", "another id"),
        (lambda m: m.joints, "motions", "an array in its list"),
        (lambda m: evolve(m, joints=m.joints + np.array([0, 5, 0])), "floor", "y is up"),
    ],
)
def test_faults_of_motion_generators(change: Any, check: str, complaint: str) -> None:
    found = faults(installed(Kind.MOTION, motions(change)), Kind.MOTION, "mine")
    assert bool(found) == bool(check) and complaint in found.get(check, "")


def test_faults_of_animators() -> None:
    def animator(frame: Callable[[int], Any], count: int = 3) -> Any:
        def animate(plan: Any) -> Iterator[Image]:
            yield from (frame(at) for at in range(count))

        return installed(Kind.ANIMATOR, having(animate=animate))

    size = (192, 192, 3)
    good = animator(lambda at: np.full(size, at, np.uint8))
    assert faults(good, Kind.ANIMATOR, "mine") == {}
    assert "moves" in faults(animator(lambda at: np.zeros(size, np.uint8)), Kind.ANIMATOR, "mine")
    wrong = {
        "drew 2 frames for a plan of 3": animator(lambda at: np.zeros(size, np.uint8), 2),
        "yielded float64": animator(lambda at: np.zeros(size)),
        "yielded images of two sizes": animator(lambda at: np.zeros((192, 192 + at, 3), np.uint8)),
        "frames of (8, 8, 3) for a reference of": animator(lambda at: np.zeros((8, 8, 3), np.uint8)),
    }
    for complaint, registry in wrong.items():
        assert complaint in faults(registry, Kind.ANIMATOR, "mine")["frames"]
    assert len(clip().joints3d) == 3


def test_faults_of_filters_captioners_and_engines() -> None:
    def filter_(judge: Any) -> dict[str, str]:
        return faults(installed(Kind.FILTER, having(judge=judge)), Kind.FILTER, "mine")

    assert "needs a reason" in filter_(lambda f, e: [Verdict(False, 1.0)] * len(f))["verdicts"]
    assert "where a list of Verdict is needed" in filter_(lambda f, e: True)["verdicts"]
    assert "among others" in filter_(lambda f, e: [Verdict(True, float(len(f)))] * len(f))["each for itself"]

    captioner = having(caption=lambda samples, estimates: [" "] * len(samples))
    assert "is empty" in faults(installed(Kind.CAPTIONER, captioner), Kind.CAPTIONER, "mine")["captions"]

    right = TorchEngine(EngineConfig())
    wrong = having(load=lambda module: lambda tensors: {k: v * 1.1 for k, v in right.load(module)(tensors).items()})
    type(wrong).config = EngineConfig()
    assert "differ from eager torch by 10" in faults(installed(Kind.ENGINE, wrong), Kind.ENGINE, "mine")["batch of 1"]


def test_the_command_ends_with_1_for_a_component_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plugins", "test", "tpe_error"])
    assert "ok     each for itself" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["plugins", "test", "no_such"])
    assert stop.value.code == 2 and "no component named 'no_such'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["plugins", "test", "folder", "--set", "root=/nowhere"])
    assert stop.value.code == 1 and "FAILED entries" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["plugins", "test", "tpe_error", "--kind", "reader"])
    assert stop.value.code == 2 and "'tpe_error' is: filter" in capsys.readouterr().err
