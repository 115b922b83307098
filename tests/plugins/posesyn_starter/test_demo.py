"""The demo's photographs: those of the repository, mined as `posesyn run FOLDER` does, but shorter."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from posesyn_core.cli.main import cli
from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.inference.pictures import boxes_of
from posesyn_core.pipeline.run import create_run
from posesyn_core.registry import Registry
from posesyn_core.runs.photographs import recipe_of
from posesyn_starter.plugin import PHOTOGRAPHS

FOLDER = Path(__file__).parents[3] / "examples" / "photographs"
MOST_BYTES = 150_000


def test_the_recipe_holds(tmp_path: Path) -> None:
    recipe = recipe_of(FOLDER, PHOTOGRAPHS)
    assert recipe.finetune.steps == 80 and not recipe.finetune.real_only
    create_run(tmp_path / "run", recipe, Registry.discover()).check()


def test_the_photographs_are_small_and_named_in_their_notice() -> None:
    notice = FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    pictures = sorted(FOLDER.iterdir())
    assert len(pictures) == 4
    for picture in pictures:
        assert picture.stat().st_size < MOST_BYTES and f"`{picture.name}`" in notice
    assert "BSD 3-Clause License" in notice and "Copyright (c) 2022, perfanalytics" in notice


@pytest.mark.parametrize("name", ["walking", "landing", "starting", "balancing"])
def test_each_photograph_has_its_one_person(name: str) -> None:
    options = recipe_of(FOLDER, PHOTOGRAPHS).dataset.options["detector"]
    settings = {key: value for key, value in options.items() if key != "name"}
    detector = Registry.discover().create(Kind.DETECTOR, options["name"], settings, "detector")
    assert len(boxes_of(detector, load_image(FOLDER / f"{name}.jpg"))) == 1


@pytest.mark.slow
def test_the_demo_ends_with_one_table_one_report_and_one_picture(tmp_path: Path) -> None:
    world = ("dataset.count=30", "real=[{name='world',part='lab',split='real',count=16,labels='3d'}]", "test.count=6")
    short = ("score.hard=3", "score.easy=3", "filter.tau=500", "finetune.steps=2", "finetune.batch_size=4")
    registry = Registry.discover()
    registry.manager.hook.register_commands(cli=cli)
    command = ["demo", "--run", str(tmp_path / "demo"), "--photographs", str(FOLDER)]
    settings = [word for setting in (*world, *short) for word in ("--set", setting)]
    done = CliRunner().invoke(cli, [*command, *settings], obj=registry, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.count("(a) as shipped") == done.output.count("report: ") == done.output.count("picture: ") == 1
    page = (tmp_path / "demo" / "report.html").read_text()
    assert 'href="photographs/report.html"' in page and 'class="drawn"' in page
    assert load_image(tmp_path / "demo" / "picture.jpg").shape[1] == 1400
