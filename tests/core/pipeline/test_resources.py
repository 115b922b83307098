"""What a cluster sets aside for a stage: the components' word, unless the recipe has one."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from posesyn_core.contracts.needs import Resources
from posesyn_core.contracts.sections import ExecutorChoice, Machine
from posesyn_core.pipeline.resources import resources
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.registry import Registry
from tests.core.pipeline.numbers import started


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with published networks on GPUs, of which nothing is loaded."""
    begun = evolve(started(tmp_path / "run"), registry=Registry.discover())
    return with_recipe(
        begun,
        estimator=Choice("hmr2"),
        animator=Choice("champ", {"device": "cuda:1"}),
        machine=Machine(device="cuda"),
    )


def with_recipe(run: Run, **keys: Any) -> Run:
    return evolve(run, recipe=evolve(run.recipe, **keys))


def test_a_stage_takes_as_much_as_its_hungriest_component(run: Run) -> None:
    nothing_said = ExecutorChoice("ray")
    assert resources(run, "score", nothing_said) == Resources(cpus=1, gpus=0.25, memory_gb=8)
    assert resources(run, "animate", nothing_said) == Resources(cpus=1, gpus=1, memory_gb=40)
    assert resources(run, "caption", nothing_said) == Resources(cpus=1, gpus=0, memory_gb=0)


def test_on_the_cpu_nobody_asks_for_a_gpu(run: Run) -> None:
    here = with_recipe(run, machine=Machine(), animator=Choice("champ"))
    assert resources(here, "animate", ExecutorChoice("ray")).gpus == 0


def test_the_recipe_has_the_last_word(run: Run) -> None:
    said = ExecutorChoice("ray", cpus=4, gpus=0.5, memory_gb=0)
    assert resources(run, "animate", said) == Resources(cpus=4, gpus=0.5, memory_gb=0)
