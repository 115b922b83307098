"""Which stage depends on what of a recipe."""

import attrs
import pytest

from posesyn_core.contracts.sections import Score
from posesyn_core.pipeline.order import BUILDS_ON, STAGES, USES, differences, later, settings_of, with_engine
from posesyn_core.recipe import Choice, EngineChoice, Recipe, parse_recipe

MINIMAL = 'dataset = { name = "folder", root = "pictures" }\n'


def test_a_stage_chooses_the_engine_of_its_networks() -> None:
    given = ['eem={name="spin"}', 'estimator.engine={name="tensorrt", graphs=2, tolerance=5}']
    recipe = parse_recipe(MINIMAL, given)
    onnx = EngineChoice("onnx", {"precision": "fp16"})
    assert with_engine(recipe, "score", "onnx", "fp16").eem == Choice("spin", {}, onnx)
    evaluating = with_engine(recipe, "evaluate", None, "fp16")
    assert evaluating.estimator.engine == EngineChoice("tensorrt", {"graphs": 2, "precision": "fp16"}, 5.0)
    assert evaluating.eem == recipe.eem
    assert with_engine(recipe, "animate", "onnx", None).estimator.engine == EngineChoice("onnx", tolerance=5.0)
    assert with_engine(recipe, "synthesize", "onnx", "fp16").motion.engine == onnx
    animating = with_engine(recipe, "animate", "onnx", "fp16")
    assert (animating.reference or animating.estimator).engine.name == "onnx"
    assert animating.animator == recipe.animator
    assert with_engine(recipe, "filter", None, None) == with_engine(recipe, "select", None, None) == recipe


def test_every_key_has_a_stage_that_uses_it() -> None:
    told = {name.partition(".")[0] for names in USES.values() for name in names}
    assert told | {"machine", "executor", "name", "rounds"} == {a.name for a in attrs.fields(Recipe)}
    for key in attrs.fields(Score):
        assert any(f"score.{key.name}" in names for names in USES.values()), key.name
    assert tuple(USES) == tuple(BUILDS_ON) == STAGES[:-1]


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("score.hard=7", ["select"]),
        ("score.easy=7", ["select", "animate"]),
        ("filter.tau=80", ["filter"]),
        ('export.formats=["coco"]', ["export"]),
        ("finetune.steps=3", ["finetune"]),
        ('dataset.root="x"', ["score"]),
        ("estimator.weights=x", ["score", "animate", "finetune", "evaluate"]),
        ("machine.workers=7", []),
        ("name=other", []),
    ],
)
def test_a_change_concerns_the_stages_that_use_the_key(setting: str, stages: list[str]) -> None:
    before, after = parse_recipe(MINIMAL), parse_recipe(MINIMAL, [setting])
    assert [list(which) for *_, which in differences(before, after)] == ([stages] if stages else [])
    assert [stage for stage in USES if settings_of(before, stage) != settings_of(after, stage)] == stages


def test_what_follows_from_a_stage() -> None:
    assert later("filter") == ["export", "finetune", "evaluate"]
    assert later("export") == [] and later("score") == list(STAGES[1:-1])
