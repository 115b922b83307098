"""How a training is set up: what the recipe leaves open is the estimator's own, and from scratch means untrained."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from attrs import evolve, frozen

from posesyn_core import UserError, hookimpl
from posesyn_core.components import Component, Kind
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.pipeline.finetune import schedule_of, trainable, training_defaults
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import Finetune, parse_recipe, unstructure
from posesyn_core.registry import Origin, Registry
from posesyn_spin.network import Sizes, SpinNetwork
from posesyn_spin.weights import Setting, save_network

MINIMAL = 'dataset = { name = "folder", root = "pictures" }\n'
REST = {
    "milestones": (), "warm_up": 0.05, "betas": (0.9, 0.999), "max_gradient": 10.0, "clip": "all", "mode": "frozen",
}  # fmt: skip
PAPER = TrainingDefaults(learning_rate=1e-5, batch_size=64, epochs=10, decay="constant", weight_decay=1e-4)


def run_of(folder: Path, *overrides: str, registry: Registry | None = None) -> Run:
    return create_run(folder / "run", parse_recipe(MINIMAL, overrides), registry or Registry.discover())


def test_what_the_recipe_leaves_open_is_the_estimators() -> None:
    found = schedule_of(Finetune(steps="default"), PAPER, frames=1000)
    assert found == {
        "learning_rate": 1e-5, "batch_size": 64, "steps": 157, "decay": "constant", "weight_decay": 1e-4, **REST,
    }  # fmt: skip  # 10 epochs of 1000 frames are 156.25 batches of 64
    assert schedule_of(Finetune(steps="default", accumulate=4), PAPER, frames=1000)["steps"] == 40
    by_steps = TrainingDefaults(steps=200_000)
    assert schedule_of(Finetune(steps="default"), by_steps, frames=1000)["steps"] == 200_000


def test_what_the_recipe_says_wins() -> None:
    options = Finetune(steps=7, batch_size=8, learning_rate=0.1, decay="cosine", weight_decay=0.0)
    assert schedule_of(options, PAPER, frames=1000) == {
        "learning_rate": 0.1, "batch_size": 8, "steps": 7, "decay": "cosine", "weight_decay": 0.0, **REST,
    }  # fmt: skip
    changes: dict[str, Any] = {
        "milestones": (0.5,), "warm_up": 0.1, "betas": (0.8, 0.9), "max_gradient": 0.0, "clip": "each", "mode": "train",
    }  # fmt: skip
    found = schedule_of(Finetune(steps=7, **changes), PAPER, frames=1000)
    assert {name: found[name] for name in changes} == changes


def test_training_from_scratch_has_a_schedule_of_its_own_and_trains_everything() -> None:
    class Both:
        training_defaults = PAPER
        scratch_defaults = TrainingDefaults(learning_rate=1e-3, epochs=3)

    class One:
        training_defaults = PAPER

    both: Any = Both()
    assert training_defaults(both) == PAPER
    assert training_defaults(both, from_scratch=True) == TrainingDefaults(learning_rate=1e-3, epochs=3, mode="train")
    one: Any = One()
    assert training_defaults(one, from_scratch=True) == evolve(PAPER, mode="train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("finetune.from_scratch=true", "finetune.mode=frozen"), "must be 'train' from scratch"),
        (("finetune.from_scratch=true", "finetune.start_share=0.3"), "must be 0 from scratch"),
        (("finetune.start_share=1.0",), "start_share. must be at least 0 and below 1"),
        (("finetune.mode=half",), "finetune.mode"),
        (("finetune.milestones=[0.5, 1.5]",), "milestones. must be at least 0 and below 1"),
        (("finetune.betas=[0.9, 1.0]",), "betas. must be at least 0 and below 1"),
        (("finetune.warm_up=1.0",), "warm_up"),
        (("finetune.max_gradient=-1",), "max_gradient"),
    ],
)
def test_senseless_schedules_are_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_recipe(MINIMAL, settings)


def test_an_estimator_that_says_nothing_gets_the_cores_defaults_but_no_length() -> None:
    defaults = training_defaults(object())  # type: ignore[arg-type]
    assert defaults == TrainingDefaults()
    assert schedule_of(Finetune(steps=5), defaults, frames=10)["learning_rate"] == 1e-4
    with pytest.raises(UserError, match=r"set finetune\.steps to a number"):
        schedule_of(Finetune(steps="default"), defaults, frames=10)


def test_a_recipe_says_default_or_a_number_of_steps() -> None:
    recipe = parse_recipe(MINIMAL, ["finetune.steps=default", "finetune.decay=constant"])
    assert recipe.finetune == Finetune(steps="default", decay="constant")
    assert parse_recipe(tomli_w.dumps(unstructure(recipe))) == recipe
    assert parse_recipe(MINIMAL, ["finetune.steps=3"]).finetune.steps == 3
    for override in ("finetune.steps=all", "finetune.steps=1.5", "finetune.batch_size=many", "finetune.decay=slow"):
        with pytest.raises(UserError, match=override.partition("=")[0]):
            parse_recipe(MINIMAL, [override])


@pytest.mark.parametrize("weights", ["random", "file"])
def test_from_scratch_is_the_same_network_untrained(tmp_path: Path, weights: str) -> None:
    """Of the size of the weights that the recipe names."""
    sizes = Sizes(width=8, layers=(1, 2, 1, 1), hidden=24)
    with torch.random.fork_rng(devices=[]):
        save_network(SpinNetwork(sizes), Setting(image_size=64, body="free"), tmp_path / "w.safetensors")
    named = weights if weights == "random" else str(tmp_path / "w.safetensors")
    settings = (f"estimator={{name='spin', weights='{named}'}}", "finetune.from_scratch=true")
    trained = trainable(run_of(tmp_path / "trained", settings[0])).network.state_dict()
    untrained, again = (trainable(run_of(tmp_path / name, *settings)).network for name in "ab")
    assert weights == "random" or untrained.sizes == sizes
    for name, tensor in untrained.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
        assert tensor.shape == trained[name].shape
    torch.testing.assert_close(untrained.init_pose, trained["init_pose"])
    assert not torch.equal(untrained.conv1.weight, trained["conv1.weight"])
    other = trainable(run_of(tmp_path / "c", *settings, "seed=1")).network
    assert not torch.equal(untrained.conv1.weight, other.conv1.weight)


def test_an_estimator_that_cannot_be_untrained_is_refused_from_scratch(tmp_path: Path) -> None:
    class Fixed:
        """Trainable, without ``reinitialise``."""

        network = torch.nn.Linear(1, 1)

        def preprocess(self, sample: Any) -> Any: ...
        def decode(self, outputs: Any, contexts: Any) -> Any: ...
        def training_inputs(self, frame: Any, rng: Any) -> Any: ...
        def training_loss(self, batch: Any) -> Any: ...
        def parameters(self) -> Any: ...
        def save(self, path: Path) -> None: ...

    @frozen
    class Config:
        pass

    class Plugin:
        @staticmethod
        @hookimpl
        def register_estimators() -> list[Component]:
            return [Component(Kind.ESTIMATOR, "fixed", "", lambda config: Fixed(), Config)]

    registry = Registry.discover()
    registry.add(Plugin(), Origin("fixed", "test", "1"))
    run = run_of(tmp_path, "estimator=fixed", "finetune.from_scratch=true", registry=registry)
    with pytest.raises(UserError, match="lacks reinitialise"):
        trainable(run)
