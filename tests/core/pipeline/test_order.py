"""Which stage depends on what of a recipe."""

import attrs

from posesyn_core.pipeline.order import STAGE_OF_SECTION, STAGES, with_engine
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


def test_every_section_has_a_stage() -> None:
    assert set(STAGE_OF_SECTION) | {"machine"} == {a.name for a in attrs.fields(Recipe)}
    assert set(STAGE_OF_SECTION.values()) <= set(STAGES)
