"""References cut to squares, and reference people of a data set of their own: what is drawn is what is labelled."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from posesyn_core import Component, Kind, UserError, hookimpl
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.crops import warp
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Clip, Run, create_run, fork_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.report.previews import write_previews
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import ClipPlan, Image
from tests.tiny import folder_data_set


@frozen
class Options:
    """None."""


class Squares:
    """An animator of squares, which keeps what it was given; it draws the reference as it is."""

    reference_crop = "person"

    def __init__(self, options: Options) -> None:
        pass

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        yield from [load_image(plan.reference.image)] * len(plan.transl)


class Plugin:
    @hookimpl
    def register_animators(self) -> list[Component]:
        return [Component(Kind.ANIMATOR, "squares", "", Squares, Options)]


Fork = Callable[..., Run]


def widened(recipe: Path) -> Path:
    """The recipe, its pictures 192 pixels wide and 128 high."""
    for file in (recipe.parent / "images").iterdir():
        file.write_bytes(encode_png(np.pad(load_image(file), ((0, 0), (0, 64), (0, 0)), mode="edge")))
    return recipe


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with motions, and nothing drawn yet."""
    registry = Registry.discover()
    registry.add(Plugin(), Origin("plugin", "tests", "1"))
    recipe = widened(folder_data_set(tmp_path_factory.mktemp("data"), people=6, part="lab"))
    settings = ("score.easy=3", "animate.max_frames=3", "score.hard=2", "filter.tau=9999", "export.formats=['coco']")
    run = create_run(tmp_path_factory.mktemp("run"), load_recipe(recipe, settings), registry)
    for stage in STAGES[: STAGES.index("animate")]:
        run_stage(run, stage)
    return run


@pytest.fixture
def forked(source: Run, tmp_path: Path) -> Fork:
    """``forked(*settings, name="a")``: a run like the source, with other settings."""

    def fork(*settings: str, name: str = "fork") -> Run:
        return fork_run(source, tmp_path / name, load_recipe(source.folder / "recipe.toml", settings))

    return fork


def clips(run: Run) -> list[Clip]:
    run_stage(run, "animate")
    return list(run.clips.values())


def test_a_square_shows_what_the_whole_picture_shows_and_so_do_the_labels(forked: Fork) -> None:
    whole = clips(forked("animate.reference_crop=image", name="whole"))
    cut = clips(forked("animate.reference_crop=person", "animate.reference_size=160", name="cut"))
    assert len(whole) == len(cut) > 0
    for one, other in zip(whole, cut, strict=True):
        assert (other.width, other.height) == (160, 160)
        scale = other.plan.camera.focal_length / one.plan.camera.focal_length
        assert scale[0] == scale[1]  # nothing is squashed
        shift = other.plan.camera.principal_point - scale * one.plan.camera.principal_point
        np.testing.assert_allclose(other.plan.joints3d, one.plan.joints3d, atol=1e-5)
        np.testing.assert_allclose(other.plan.joints2d, scale * one.plan.joints2d + shift, atol=1e-2)
        matrix = np.column_stack([np.diag(scale), shift])
        for ours, theirs in zip(other.frames, one.frames, strict=True):
            expected = warp(load_image(theirs.image), matrix, 160)
            assert np.abs(load_image(ours.image).astype(float) - expected)[8:-8, 8:-8].mean() < 8


def test_animators_of_squares_get_squares_unless_the_recipe_says_otherwise(forked: Fork) -> None:
    found = clips(forked("animator=squares", "animate.reference_size=96"))
    assert {(clip.width, clip.height) for clip in found} == {(96, 96)}
    assert all(load_image(clip.plan.reference.image).shape == (96, 96, 3) for clip in found)
    whole = clips(forked("animator=squares", "animate.reference_crop=image", name="whole"))
    assert {(clip.width, clip.height) for clip in whole} == {(192, 128)}


def test_champ_is_fed_an_undistorted_square(forked: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a picture that is wider than high: the reference and the maps of the body, as the networks get them."""
    pytest.importorskip("diffusers")
    from posesyn_champ import animator

    fed: list[tuple[int, ...]] = []

    def spied(name: str, shape: Callable[..., tuple[int, ...]]) -> None:
        original = getattr(animator, name)

        def spy(*given: Any) -> Any:
            fed.append(shape(*given)[:2])
            return original(*given)

        monkeypatch.setattr(animator, name, spy)

    spied("vae_input", lambda image, size: image.shape)
    spied("clip_input", lambda image: image.shape)
    spied("guidance_maps", lambda body, plan, size, kinds: size)
    champ = 'animator={name="champ", weights="random", width=64, height=64, steps=1, guidance_scale=1}'
    found = clips(forked(champ, "animate.reference_size=96", "synthesize.motions_per_sample=1"))
    assert found and {(clip.width, clip.height) for clip in found} == {(96, 96)}
    assert set(fed) == {(96, 96)}
    for clip in found:
        focal = clip.plan.camera.focal_length
        assert focal[0] == focal[1]


def test_exports_and_previews_are_of_the_square(forked: Fork, tmp_path: Path) -> None:
    run = forked("animate.reference_crop=person", "animate.reference_size=96")
    for stage in ("animate", "filter", "export"):
        run_stage(run, stage)
    kept = [row.frame for row in run.frames.values()]
    assert kept
    for frame in kept:
        assert load_image(frame.image).shape == (96, 96, 3)
        inside = ((frame.joints2d >= 0) & (frame.joints2d < 96)).all(axis=1)
        np.testing.assert_array_equal(frame.confidence > 0, inside)
    (preview,) = write_previews(run, count=1)
    assert preview.is_file()
    assert run_stage(run, "report") is not None


def test_reference_people_may_come_from_a_data_set_of_their_own(forked: Fork, tmp_path: Path) -> None:
    other = folder_data_set(tmp_path / "others", people=5, part="wild")
    dataset = f'reference.dataset={{name="folder", root="{other.parent}"}}'
    run = forked(dataset, "animate.max_residual_mm=1000")
    figures = run_stage(run, "animate")
    assert figures["references"] + figures["references_rejected"] == 3  # as many as score.easy
    assert figures["references_by"] == "starter"
    pictures = {Path(clip.plan.reference.image) for clip in run.clips.values()}  # type: ignore[arg-type]
    assert pictures and all(picture.is_relative_to(other.parent) for picture in pictures)
    again = forked(dataset, "animate.max_residual_mm=1000", name="again")
    run_stage(again, "animate")
    assert [row.unit for row in again.references.rows()] == [row.unit for row in run.references.rows()]


def test_the_data_set_may_stand_beside_the_estimator_that_looks_at_it(forked: Fork, tmp_path: Path) -> None:
    other = folder_data_set(tmp_path / "others", people=2, part="lab")
    run = forked("reference=starter", f'reference.dataset={{name="folder", root="{other.parent}"}}')
    assert run.recipe.reference is not None and run.recipe.reference.options == {}
    assert run.recipe.reference_dataset is not None and run.recipe.reference_dataset.name == "folder"
    assert load_recipe(run.folder / "recipe.toml") == run.recipe
    assert run_stage(run, "animate")["references"] > 0


def test_a_data_set_without_people_is_refused(forked: Fork, tmp_path: Path) -> None:
    other = folder_data_set(tmp_path / "others", people=1)
    (other.parent / "keypoints.json").write_text('{"joint_set": "smpl24", "people": []}')
    with pytest.raises(UserError):
        run_stage(forked(f'reference.dataset={{name="folder", root="{other.parent}"}}'), "animate")


def test_who_looked_at_the_references_is_told(forked: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(forked("reference=starter"), "animate")
    assert "their bodies are those that 'starter' sees; the paper takes HMR 2.0's" in capsys.readouterr().err
