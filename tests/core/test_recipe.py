"""Recipes: strict, with errors that name the key and the remedy."""

from pathlib import Path

import pytest
from attrs import frozen

from posesyn_core import option
from posesyn_core.errors import UserError
from posesyn_core.recipe import Choice, EngineChoice, load_recipe, parse_recipe, structure, unstructure
from posesyn_core.registry import Registry

MINIMAL = 'dataset = { name = "folder", root = "pictures" }\n'


def test_defaults_are_the_papers() -> None:
    recipe = parse_recipe(MINIMAL)
    assert (recipe.score.hard, recipe.score.easy) == (500, 200)
    assert recipe.dataset == Choice("folder", {"root": "pictures"})
    assert recipe.synthesize.guidance == "full"


def test_overrides_take_toml_values_and_plain_strings() -> None:
    overrides = ["score.hard=3", "dataset.root=/some where/else", "finetune.ratio=0.25", "captioner=posecode"]
    recipe = parse_recipe(MINIMAL, overrides)
    assert recipe.score.hard == 3
    assert recipe.dataset.options["root"] == "/some where/else"
    assert recipe.finetune.ratio == 0.25
    assert recipe.captioner == Choice("posecode")


def test_engine_is_a_subsection_of_the_estimator() -> None:
    text = MINIMAL + '[estimator]\nname = "spin"\n[estimator.engine]\nname = "onnx"\nprecision = "fp16"\n'
    estimator = parse_recipe(text).estimator
    assert estimator.engine == EngineChoice("onnx", {"precision": "fp16"})
    assert estimator.options == {}


def test_an_engine_may_be_told_how_far_it_may_be_off() -> None:
    recipe = parse_recipe(MINIMAL, ['estimator.engine={name="onnx", batch=[1, 8], tolerance=3}'])
    assert recipe.estimator.engine == EngineChoice("onnx", {"batch": [1, 8]}, tolerance=3.0)
    with pytest.raises(UserError, match=r"estimator.*must be a number"):
        parse_recipe(MINIMAL, ['estimator.engine={name="onnx", tolerance="much"}'])


def test_an_override_reaches_into_a_component_that_is_given_by_its_name() -> None:
    recipe = parse_recipe(
        MINIMAL + 'estimator = "spin"\n', ["estimator.engine=onnx", "estimator.engine.precision=fp16"]
    )
    assert recipe.estimator == Choice("spin", {}, EngineChoice("onnx", {"precision": "fp16"}))


def test_a_section_without_a_name_sets_options_of_the_default() -> None:
    recipe = parse_recipe(MINIMAL, ["filter.tau=40", "estimator.engine=onnx"])
    assert recipe.filter == Choice("tpe_error", {"tau": 40})
    assert recipe.estimator == Choice("starter", {}, EngineChoice("onnx"))


def test_what_is_written_reads_back_the_same() -> None:
    import tomli_w

    text = MINIMAL + '[[real]]\nname = "coco"\n[eem]\nname = "other"\n'
    text += '[estimator]\nname = "spin"\nengine = {name = "onnx", batch = [1, 8], tolerance = 3}\n'
    recipe = parse_recipe(text, ["score.method=random", "export.formats=['coco']"])
    assert parse_recipe(tomli_w.dumps(unstructure(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("score.hrad=3", ["'score.hrad'", "did you mean 'hard'"]),
        ("score.hard=many", ["score.hard", "must be an int"]),
        ("score.hard=true", ["score.hard", "must be an int"]),
        ("score.method=best", ["score.method", "'eem', 'random'"]),
        ("sorce.hard=3", ["'sorce'", "did you mean 'score'"]),
        ("score=3", ["'score'", "must be a section"]),
        ("export.formats=coco", ["export.formats", "must be a list"]),
        ("dataset={}", ["dataset", "needs the key 'name'"]),
        ('dataset={name="folder", engine=3}', ["dataset", "neither a name nor a section: 3"]),
        ("filter.tau", ["section.key=value"]),
    ],
)
def test_mistakes_name_the_key(override: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        parse_recipe(MINIMAL, [override], "my.toml")
    for words in expected:
        assert words in str(raised.value)


def test_missing_section_file_and_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'dataset' is missing"):
        parse_recipe("")
    with pytest.raises(UserError, match="does not exist"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("a = [")
    with pytest.raises(UserError, match="not valid TOML"):
        load_recipe(tmp_path / "broken.toml")


def test_component_configs_are_checked_alike() -> None:
    @frozen
    class Config:
        root: Path
        stride: float = option(1.0, "step")

    assert structure({"root": "here", "stride": 2}, Config, "x") == Config(Path("here"), 2.0)
    with pytest.raises(UserError, match=r"section \[dataset\]: the key 'root' is missing"):
        structure({}, Config, "section [dataset]")
    with pytest.raises(UserError, match="did you mean 'stride'"):
        structure({"root": "here", "strid": 1.0}, Config, "x")


@pytest.mark.parametrize("name", ["bom", "crlf", "utf16"])
def test_recipes_that_windows_wrote_are_read(shared: Path, name: str) -> None:
    assert load_recipe(shared / f"field/windows-text/{name}.toml").name == "w"


def test_backslashes_and_other_encodings_are_told_with_the_remedy(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not valid TOML.*backslashes stands in 'single quotes'"):
        load_recipe(shared / "field/windows-text/backslash.toml")
    (tmp_path / "latin.toml").write_bytes('name = "Übung"'.encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.toml.*save it as UTF-8"):
        load_recipe(tmp_path / "latin.toml")


def test_damaged_recipes_of_public_reports_are_one_sentence(shared: Path) -> None:
    registry = Registry.discover()
    found = list((shared / "field/damaged/recipes").glob("*.toml"))
    assert len(found) > 10
    for path in found:
        try:
            recipe = load_recipe(path)
            for kind, choice, where in recipe.choices():
                registry.check(kind, choice.name, choice.options, where)
        except UserError as error:
            assert "\n" not in str(error)


TWO_FILTERS = MINIMAL + '[[filter]]\ntau = 90\n[[filter]]\nname = "keypoint_agreement"\njudge = "blazepose"\n'


def test_several_filters_are_a_list_of_sections() -> None:
    import tomli_w

    recipe = parse_recipe(TWO_FILTERS)
    judge = Choice("keypoint_agreement", {"judge": "blazepose"})
    assert recipe.filters == (Choice("tpe_error", {"tau": 90}), judge)
    assert parse_recipe(tomli_w.dumps(unstructure(recipe))) == recipe
    assert [where for kind, _, where in recipe.choices() if kind == "filter"] == ["filter", "filter.keypoint_agreement"]
    assert parse_recipe(MINIMAL + '[[filter]]\nname = "tpe_error"\n') == parse_recipe(MINIMAL)
    assert unstructure(parse_recipe(MINIMAL))["filter"] == {"name": "tpe_error"}


@pytest.mark.parametrize("value", ["5", "nan", "true", '"x"', "[1]", "{}", "1979-05-27"])
@pytest.mark.parametrize("key", ["filter", "further_filters", "real", "test", "reference_dataset", "validation"])
def test_what_is_no_section_is_one_sentence(key: str, value: str) -> None:
    if (key, value) not in {("filter", "{}")} and (value != '"x"' or key == "further_filters"):
        with pytest.raises(UserError, match=r"^recipe: .*'"):
            parse_recipe(f"{key} = {value}\n" + MINIMAL)


def test_a_name_without_an_end_is_cut() -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(MINIMAL, ["x" * 5000 + "=1"])
    assert len(str(caught.value)) < 1000


def test_a_setting_names_one_of_several_filters() -> None:
    recipe = parse_recipe(TWO_FILTERS, ["filter.keypoint_agreement.limit=0.2", "filter.tpe_error.tau=70"])
    assert [choice.options for choice in recipe.filters] == [{"tau": 70}, {"judge": "blazepose", "limit": 0.2}]
    with pytest.raises(UserError, match="name one of tpe_error, keypoint_agreement before the key 'tau'"):
        parse_recipe(TWO_FILTERS, ["filter.tau=70"])
    with pytest.raises(UserError, match="no component 'other'"):
        parse_recipe(TWO_FILTERS, ["filter.other.tau=70"])
