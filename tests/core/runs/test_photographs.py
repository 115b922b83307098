"""A run from pictures alone: its recipe, who labels, and shares of people who were scored."""

from pathlib import Path

import numpy as np
import pytest

from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_png
from posesyn_core.pipeline.independence import self_labelled
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.photographs import recipe_of
from posesyn_core.runs.stages import run_stage


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def test_pictures_are_mined_and_trained_on(tmp_path: Path, registry: Registry) -> None:
    folder = tmp_path / "holiday = 2"
    folder.mkdir()
    recipe = recipe_of(folder, ["score.hard=7"])
    assert (recipe.dataset.name, recipe.dataset.options["root"]) == ("images", str(folder))
    assert [source.name for source in recipe.real] == ["world", "images"]
    assert recipe.real[1].options == recipe.dataset.options
    assert recipe.score.hard == 7 and 0 < recipe.score.easy < 1
    create_run(tmp_path / "run", recipe, registry).check()


def test_what_is_set_of_the_people_holds_for_training_on_them_too(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ["dataset.detector.min_score=0.7", "real.images.detector.tiles=1"])
    assert recipe.dataset.options["detector"] == {"name": "blazepose", "min_score": 0.7}
    assert recipe.real[1].options["detector"] == {"name": "blazepose", "min_score": 0.7, "tiles": 1}


def test_a_video_and_something_else(tmp_path: Path) -> None:
    assert recipe_of(tmp_path / "clip.mp4").dataset.name == "video"
    assert recipe_of(tmp_path / "photo.JPG").dataset.name == "images"
    with pytest.raises(UserError, match=r"notes\.txt.*neither a recipe"):
        recipe_of(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ('dataset.labeller="blazepose"', "dataset"),
        ('dataset.labeller={name="blazepose"}', "dataset"),
        ('dataset.labeller={name="blazepose", weights="full"}', "dataset"),  # the default, named
        ('dataset.labeller={name="blazepose", weights="lite"}', None),
        ('real=[{name="images", labeller="blazepose"}]', "real.0"),
    ],
)
def test_an_estimator_does_not_label_for_itself(section: str, refused: str | None, registry: Registry) -> None:
    recipe = parse_recipe('estimator = "blazepose"\ndataset = {name = "images"}', [section])
    found = self_labelled(recipe, registry)
    assert len(found) == (refused is not None)
    assert refused is None or found[0].startswith(f"[{refused}] labeller = 'blazepose' is the estimator itself")


@pytest.mark.parametrize("share", ["1.5", "0", "-0.1", "nan", '"many"'])
def test_a_share_that_is_none(share: str) -> None:
    with pytest.raises(UserError, match="hard"):
        parse_recipe('dataset = "images"', [f"score.hard={share}"])


def test_a_share_of_the_scored_is_taken(tmp_path: Path, registry: Registry) -> None:
    recipe = parse_recipe(
        'dataset = {name = "world", part = "lab", split = "mine", count = 10, labels = "2d"}\n'
        'estimator = {name = "starter", weights = "random"}\nscore = {hard = 0.3, easy = 0.2}'
    )
    run = create_run(tmp_path / "run", recipe, registry)
    assert run_stage(run, "score")["samples"] == 10
    figures = run_stage(run, "select")
    assert (figures["hard"], figures["easy"]) == (3, 2)


def test_people_have_the_labellers_joints(tmp_path: Path, registry: Registry) -> None:
    """A picture with nobody in it is rejected, with its reason."""
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((96, 96, 3), 128, np.uint8)))
    recipe = recipe_of(tmp_path)
    run = create_run(tmp_path / "run", recipe, registry)
    figures = run_stage(run, "score")
    assert figures["samples"] == 1 and figures["rejected"] == 1
    assert "the detector found nobody" in str(figures)
