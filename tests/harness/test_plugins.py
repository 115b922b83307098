"""Plugins that break their word in the middle of a run: a sentence that names the method, or rejections."""

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core import Component, Kind, Motion, Verdict, hookimpl
from posesyn_core.cli import main
from posesyn_core.contracts.engines import EngineConfig
from posesyn_core.registry import Origin, Registry
from tests.harness.runs import Finished


@frozen
class Nothing:
    """No options."""


def raising(*_: object, **__: object) -> Any:
    raise KeyError("boom")


def having(**methods: Any) -> Any:
    return type("Mine", (), {name: staticmethod(method) for name, method in methods.items()})()


def motions(**changes: Any) -> Any:
    def generate(requests: Any) -> list[Motion]:
        joints = [np.random.default_rng(0).normal(0, 0.2, (r.min_frames, 22, 3)) for r in requests]
        made = [Motion(r.id, r.sample_id, r.caption, j) for r, j in zip(requests, joints, strict=True)]
        return [evolve(motion, **changes) for motion in made]

    return having(generate=generate)


def engine(load: Callable[..., Any]) -> Any:
    made = having(load=load)
    type(made).config = EngineConfig()
    return made


def endless(_: Any) -> Iterator[Any]:
    while True:
        yield np.zeros((64, 64, 3), np.uint8)


def verdicts(verdict: Verdict) -> Any:
    return having(judge=lambda frames, estimates: [verdict] * len(frames))


CASES: tuple[tuple[Kind, Any, str, str, int, str], ...] = (
    (Kind.CAPTIONER, having(caption=raising), "caption", "captioner", 1, "raising"),
    (Kind.CAPTIONER, having(caption=lambda s, e: [" "] * len(s)), "caption", "captioner", 1, "the caption is empty"),
    (Kind.CAPTIONER, having(caption=lambda s, e: ["\ud800"] * len(s)), "caption", "captioner", 1, "none in UTF"),
    (Kind.CAPTIONER, having(caption=lambda s, e: sys.exit(0)), "caption", "captioner", 2, "ended the program"),
    (Kind.MOTION, motions(id="same"), "synthesize", "motion", 2, "a motion has those of its request"),
    (Kind.MOTION, motions(caption=None), "synthesize", "motion", 2, "a motion has those of its request"),
    (Kind.MOTION, motions(fps=0), "synthesize", "motion", 1, "frames a second"),
    (Kind.MOTION, having(generate=raising), "synthesize", "motion", 1, "raising"),
    (Kind.ANIMATOR, having(animate=lambda plan: None), "animate", "animator", 2, "returned None where an iterator"),
    (Kind.ANIMATOR, having(animate=endless), "animate", "animator", 1, "drew more than"),
    (Kind.ANIMATOR, having(animate=raising), "animate", "animator", 1, "raising"),
    (Kind.FILTER, having(judge=raising), "animate", "filter", 2, "raising fails: KeyError: 'boom'"),
    (Kind.FILTER, having(judge=raising), "filter", "filter", 2, "raising fails: KeyError: 'boom'"),
    (Kind.FILTER, verdicts(Verdict(False, 1.0, "bad hair")), "filter", "filter", 1, "bad hair"),
    (Kind.FILTER, verdicts(Verdict("yes", 1.0)), "animate", "filter", 2, "truth value"),  # type: ignore[arg-type]
    (Kind.FILTER, verdicts(Verdict(True, float("nan"))), "animate", "filter", 2, "True, nan and ''"),
    (Kind.FILTER, verdicts(Verdict(True, None)), "filter", "filter", 2, "a number"),  # type: ignore[arg-type]
    (Kind.WRITER, having(write=raising), "export", 'export.formats=["mine"]', 2, "raising fails: KeyError"),
    (Kind.WRITER, having(write=lambda frames, folder: None), "export", 'export.formats=["mine"]', 2, "returned None"),
    (Kind.WRITER, having(write=lambda f, folder: ["a"]), "export", 'export.formats=["mine"]', 2, "in its list"),
    (Kind.ENGINE, engine(raising), "score", "estimator.engine", 2, "raising"),
    (Kind.ENGINE, engine(lambda module: None), "score", "estimator.engine", 2, "returned None"),
    (Kind.ENGINE, engine(lambda module: raising), "score", "estimator.engine", 2, "fails"),
    (Kind.ENGINE, engine(lambda m: lambda t: {"x": [1]}), "score", "estimator.engine", 2, "a list as 'x'"),
    (Kind.ENGINE, engine(lambda m: lambda t: {"x": torch.zeros(1)}), "score", "estimator.engine", 2, "first axis"),
    (Kind.READER, having(samples=raising), "score", "dataset", 2, "raising"),
    (Kind.READER, having(samples=lambda: iter(()), __len__=raising), "score", "dataset", 2, "raising fails"),
    (Kind.AUGMENTER, having(epoch=raising, state_dict=dict, load_state_dict=dict), "finetune", "finetune.augmenter", 2,
     "raising fails"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "made", "stage", "key", "code", "complaint"),
    CASES,
    ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)],
)
def test_a_broken_component_is_a_sentence(
    finished: Finished, kind: Kind, made: Any, stage: str, key: str, code: int, complaint: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    registry = Registry.discover()
    component = Component(kind, "mine", "Mine", lambda config: made, Nothing)
    registry.add(SimpleNamespace(**{kind.hook: hookimpl(lambda: [component])}), Origin("mine", "mine", "1"))
    monkeypatch.setattr(Registry, "discover", staticmethod(lambda: registry))
    setting = key if "=" in key else f"{key}={{name='mine'}}"
    with pytest.raises(SystemExit) as stop:
        main([stage, str(finished.folder), "--restart", stage, "--set", setting])
    assert (stop.value.code, complaint in (told := capsys.readouterr().err)) == (code, True), told
