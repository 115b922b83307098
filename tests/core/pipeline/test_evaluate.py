"""The stage ``evaluate`` on truth that is given in the shape spaces of women and men."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from posesyn_core import Component, Kind, PoseEstimate, Sample, SmplParams, UserError, hookimpl
from posesyn_core.body.model import FREE_BODY, load_body
from posesyn_core.files.images import encode_png
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Camera

LARGER = 1.1
"""By which the women's body is larger than the neutral one."""


@frozen
class Config:
    genders: tuple[str, ...] = ("neutral",)


@frozen
class People:
    """One person for each gender of the config."""

    config: Config

    def samples(self) -> Iterator[Sample]:
        random, body = np.random.default_rng(0), load_body()
        for number, gender in enumerate(self.config.genders):
            pose = 0.2 * random.standard_normal((24, 3)).astype(np.float32)
            smpl = SmplParams(pose[0], pose[1:], np.zeros(10), np.zeros(3), gender)
            arrays = (smpl.global_orient, smpl.body_pose, smpl.betas)
            joints = body.joints(*(torch.tensor(array)[None] for array in arrays))[0].numpy()
            truth = joints - joints[:1]
            picture = encode_png(np.full((32, 32, 3), 99, np.uint8))
            labels = np.full((24, 2), 9.0)
            yield Sample(f"p/{number}", picture, [1, 1, 30, 30], "smpl24", labels, np.ones(24), None, truth, smpl)


class Oracle:
    """Says what the truth says, as a neutral body."""

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        camera = Camera([1, 1], [0, 0])
        return [
            PoseEstimate(s.joints3d, s.keypoints2d, camera, s.smpl and evolve(s.smpl, gender="neutral"))
            for s in samples
        ]


class Plugin:
    @hookimpl
    def register_readers(self) -> list[Component]:
        return [Component(Kind.READER, "people", "", People, Config)]

    @hookimpl
    def register_estimators(self) -> list[Component]:
        return [Component(Kind.ESTIMATOR, "oracle", "", lambda _: Oracle(), Config)]


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    """A folder with SMPL's files: the neutral one, and that of women, who are larger."""
    folder = tmp_path / "smpl"
    folder.mkdir()
    shutil.copy(FREE_BODY, folder / "SMPL_NEUTRAL.npz")
    with np.load(FREE_BODY) as file:
        arrays = dict(file)
    np.savez(folder / "SMPL_FEMALE.npz", **{**arrays, "v_template": LARGER * arrays["v_template"]})
    return folder


def started(folder: Path, genders: Sequence[str], body: Path | None) -> Run:
    registry = Registry.discover()
    registry.add(Plugin(), Origin("people", "tests", "1"))
    recipe = f'dataset = "people"\nestimator = "oracle"\ntest = {{ name = "people", genders = {list(genders)} }}\n'
    recipe += f'body = "{body / "SMPL_NEUTRAL.npz"}"\n' if body else ""
    run = create_run(folder, parse_recipe(recipe), registry)
    run.finish("finetune", {"variants": []})
    return run


def measured(run: Run) -> dict[str, Any]:
    figures: dict[str, Any] = run_stage(run, "evaluate")["sets"]["people"]["shipped"]
    assert (run.folder / "evaluate/people-truth.jpg").is_file()
    return figures


def test_truth_is_posed_with_the_file_of_its_gender_beside_the_recipes(tmp_path: Path, bodies: Path) -> None:
    women = measured(started(tmp_path / "women", ["female"] * 2, bodies))
    everybody = measured(started(tmp_path / "all", ["female", "neutral"], bodies))
    same = measured(started(tmp_path / "neutral", ["neutral"] * 2, bodies))
    assert same["pve"] == pytest.approx(0, abs=1e-3)
    template = load_body().v_template.numpy()
    size = 1000 * np.linalg.norm(template - template.mean(0), axis=1).mean()
    assert women["pve"] == pytest.approx((LARGER - 1) * size, rel=0.3)  # about the pelvis, not the vertices' mean
    assert everybody["pve"] == pytest.approx(women["pve"] / 2, rel=0.05)
    assert women["mpjpe"] == same["mpjpe"] == 0


def test_a_file_that_is_missing_is_named(tmp_path: Path, bodies: Path) -> None:
    with pytest.raises(UserError, match=r"shape spaces of women and men: put SMPL_MALE\.pkl beside .*SMPL_NEUTRAL"):
        measured(started(tmp_path / "run", ["female", "male"], bodies))


def test_without_smpls_files_such_truth_has_no_vertex_error(tmp_path: Path) -> None:
    figures = measured(started(tmp_path / "run", ["female", "neutral"], None))
    assert figures["samples"] == 2
    assert figures["pve"] == pytest.approx(0, abs=1e-3)  # of the neutral one alone
    assert "pve" not in measured(started(tmp_path / "women", ["female"], None))
