"""Bad input: rejected, recorded, counted; the user's mistakes: one sentence, exit code 2, nothing half-written."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from attrs import frozen
from PIL import Image

from posesyn_core import Component, Kind, SampleError, hookimpl
from posesyn_core.cli import main
from posesyn_core.pipeline.entries import Usable
from posesyn_core.pipeline.finetune import trainable
from posesyn_core.pipeline.real_data import real_data
from posesyn_core.pipeline.rejections import write_rejected
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from tests.tiny import folder_data_set

JOINTS = [[60.0 + j, 20.0 + 3 * j, 1.0] for j in range(24)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def posesyn(*arguments: str | Path) -> int:
    """Run the command line in this process; return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def picture(mode: str = "RGB", size: tuple[int, int] = (128, 128)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def entry(image: str, **changes: object) -> dict[str, object]:
    return {"image": image, "box": [20, 10, 120, 120], "keypoints": JOINTS, **changes}


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A data set in which nearly every entry has something wrong with it; returns the recipe."""
    root = tmp_path / "data"
    root.mkdir()
    jpeg = encoded(picture(), "JPEG")
    sixteen = Image.fromarray(np.random.default_rng(1).integers(0, 65535, (128, 128), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    files = {
        "good.jpg": jpeg,
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "empty.jpg": b"",
        "text.jpg": b"this is no picture",
        "sixteen.png": encoded(sixteen, "PNG"),
        "cmyk.jpg": encoded(picture("CMYK"), "JPEG"),
        "turned.jpg": encoded(picture(size=(128, 160)), "JPEG", exif=exif),
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    nan = [[float("nan"), 5.0, 1.0], *JOINTS[1:]]
    people = [entry(name) for name in files] + [
        entry("missing.jpg"),
        entry("good.jpg", box=[500, 500, 600, 600]),
        entry("good.jpg", box=[50, 50, 50, 90]),
        entry("good.jpg", keypoints=[[x, y, 0] for x, y, _ in JOINTS]),
        entry("good.jpg", keypoints=nan),
        entry("../../etc/passwd"),
        entry("good.jpg", keypoints="none"),
    ]
    (root / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": people}))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'dataset = {{ name = "folder", root = "{root}" }}\nscore = {{ hard = 2, easy = 1 }}\n')
    return recipe


def opened(recipe: Path, registry: Registry, *overrides: str) -> Run:
    return create_run(recipe.parent / "run", load_recipe(recipe, overrides), registry)


def test_every_odd_entry_is_rejected_with_its_reason_and_the_rest_is_scored(
    odd_folder: Path, registry: Registry
) -> None:
    run = opened(odd_folder, registry)
    summary = run_stage(run, "score")
    reasons = dict(run.scored.rejections())
    scored = {unit for unit, _ in run.scored.column("error")}

    for name in ("good", "sixteen", "cmyk", "turned"):
        assert any(name in unit for unit in scored), name
    expected = {
        "truncated": "truncated",
        "empty": "empty",
        "text": "not an image",
        "missing": "can't be read",
        "passwd": "leaves the image",
    }
    for name, words in expected.items():
        matching = [reason for unit, reason in reasons.items() if name in unit]
        assert len(matching) == 1 and words in matching[0], (name, matching)
    for words in ("outside the image", "no area", "not a number", "no visible joint"):
        assert any(words in reason for reason in reasons.values()), (words, reasons)
    assert len(scored) + len(reasons) == summary["samples"] == 14
    assert summary["rejected"] == len(reasons) == write_rejected(run) == 10


def test_entries_of_further_data_sets_are_rejected_recorded_and_counted(odd_folder: Path, registry: Registry) -> None:
    """Those of [[real]], [validation] and [[test]], which have no table of their own."""
    root = odd_folder.parent / "data"
    run = opened(odd_folder, registry, f'real={{name="folder", root="{root}", label="mine"}}')
    usable = Usable("finetune")
    assert len(real_data(run, trainable(run), usable)) == 9  # pictures are read when they are trained on
    told = usable.record(run.folder)
    assert told["entries_rejected"] == 5
    assert sum(told["entry_reasons"].values()) >= 3
    assert write_rejected(run) == 5
    rows = pq.read_table(run.folder / "rejected.parquet").to_pylist()
    assert {row["stage"] for row in rows} == {"finetune"}
    assert any(row["unit"].startswith("mine: folder/all/../../etc/passwd") for row in rows)
    assert Usable("finetune").record(run.folder) == {}
    assert write_rejected(run) == 0


def test_repeated_ids_are_rejected_but_not_lost(tmp_path: Path, registry: Registry) -> None:
    recipe = folder_data_set(tmp_path, people=2)

    @frozen
    class Config:
        pass

    class Twice:
        """The folder's samples, twice."""

        def __init__(self, _: Config) -> None:
            self.inner = registry.create(Kind.READER, "folder", {"root": str(tmp_path)}, "test")

        def samples(self) -> Iterator[object]:
            yield from self.inner.samples()
            yield from self.inner.samples()

    class Plugin:
        @hookimpl
        def register_readers(self) -> list[Component]:
            return [Component(Kind.READER, "twice", "", Twice, Config)]

    own = Registry.discover()
    own.add(Plugin(), Origin("twice", "test", "1"))
    run = opened(recipe, own, "dataset={name='twice'}")
    assert run_stage(run, "score") == {
        "samples": 4,
        "rejected": 2,
        "reasons": {"the data set has this id more than once; only the first is used": 2},
    }
    assert all("more than once" in reason for _, reason in run.scored.rejections())


def test_a_component_that_raises_for_one_sample_costs_that_sample_alone(tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=4)

    @frozen
    class Config:
        pass

    class Moody:
        def caption(self, samples: list, estimates: list) -> list[str]:
            if any(sample.id == self.victim for sample in samples):
                raise ValueError("not this one")
            return ["a person"] * len(samples)

    class Plugin:
        @hookimpl
        def register_captioners(self) -> list[Component]:
            return [Component(Kind.CAPTIONER, "moody", "", lambda config: Moody(), Config)]

    own = Registry.discover()
    own.add(Plugin(), Origin("moody", "test", "1"))
    run = opened(recipe, own, "captioner=moody", "score.hard=3", "score.easy=1")
    run_stage(run, "score")
    run_stage(run, "select")
    Moody.victim = run.of_role("hard")[1].scored.sample.id  # type: ignore[attr-defined]
    figures = run_stage(run, "caption")
    assert (figures["captions"], figures["rejected"]) == (3, 1)
    ((unit, reason),) = run.captions.rejections()
    assert unit == Moody.victim  # type: ignore[attr-defined]
    assert reason.startswith("ValueError: not this one (in ") and reason.endswith("Moody.caption)")


def test_an_estimator_in_one_piece_may_refuse_samples(tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=3)
    estimator = Registry.discover().create(Kind.ESTIMATOR, "spin", {"weights": "random"}, "test")

    class Whole:
        """Predicts whole batches, and never samples whose image has a 1 in its name."""

        def predict(self, samples: list) -> list:
            if any("1" in sample.image.name for sample in samples):
                raise SampleError("no ones")
            prepared = [estimator.preprocess(sample) for sample in samples]
            import torch

            images = torch.from_numpy(np.stack([p.tensors["images"] for p in prepared]))
            with torch.inference_mode():
                outputs = {name: tensor.numpy() for name, tensor in estimator.network(images=images).items()}
            return estimator.decode(outputs, [p.context for p in prepared])

    @frozen
    class Config:
        pass

    def register_estimators() -> list[Component]:
        return [Component(Kind.ESTIMATOR, "whole", "", lambda config: Whole(), Config)]

    own = Registry.discover()
    own.add(SimpleNamespace(register_estimators=hookimpl(register_estimators)), Origin("whole", "test", "1"))
    run = opened(recipe, own, "estimator=whole")
    assert run_stage(run, "score") == {
        "samples": 3,
        "rejected": 1,
        "reasons": {"no ones": 1},
    }
    assert [reason for _, reason in run.scored.rejections()] == ["no ones"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("score.hrad=3", "did you mean 'hard'"),
        ("score.hard=lots", "must be an int"),
        ("estimator=spn", "did you mean 'spin'"),
        ("animator=magicpose", "posesyn_magicpose"),
        ("estimator.weights=nowhere.pt", "nowhere.pt"),
        ("estimator.wieghts=starter", "did you mean 'weights'"),
        ("score.labels=vitpose", "must be one of"),
        ("score.labels=estimated_2d", "needs [labeller]"),
        ("estimator={name='spin', engine='tensorrt'}", "engine"),
        ("dataset.root=nowhere", "nowhere"),
    ],
)
def test_mistakes_in_the_recipe_are_one_sentence_and_exit_code_2(
    setting: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = folder_data_set(tmp_path, people=2)
    assert posesyn("run", recipe, "--run", tmp_path / "run", "--set", setting) == 2
    message = capsys.readouterr().err
    assert words in message and "Traceback" not in message
    assert message.strip().splitlines()[-1].startswith("posesyn: ")


def test_a_recipe_changed_under_its_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder_data_set(tmp_path, people=2)
    run = tmp_path / "run"
    assert posesyn("score", run, "--recipe", recipe) == 0
    assert posesyn("score", run, "--set", "score.min_weight=0.1") == 2
    assert "'score.min_weight' (0.5 -> 0.1)" in capsys.readouterr().err
    assert posesyn("score", run, "--workers", "1", "--batch-size", "1") == 0
    assert posesyn("score", run, "--set", "score.min_weight=0.1", "--restart", "score") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder_data_set(tmp_path, people=2)
    (tmp_path / "locked").mkdir(mode=0o500)
    assert posesyn("run", recipe, "--run", tmp_path / "locked" / "run") == 2
    assert "can't be written" in capsys.readouterr().err


def test_a_run_folder_below_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder_data_set(tmp_path, people=2)
    assert posesyn("run", recipe, "--run", recipe / "run") == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "none", disk]).returncode:
        pytest.skip("no file system may be mounted here (needs root)")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_the_run_in_a_sentence_and_leaves_nothing_half_written(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = folder_data_set(tmp_path / "data", people=4)
    run = small_disk / "run"
    assert posesyn("score", run, "--recipe", recipe) == 0
    filler = small_disk / "filler"
    with pytest.raises(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()
    assert posesyn("select", run) == 2
    message = capsys.readouterr().err
    assert "no space is left" in message and "Traceback" not in message
    assert not list(run.rglob("*posesyn-partial*")) and not (run / "select" / "done.json").exists()
    filler.unlink()
    assert posesyn("select", run) == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from posesyn_core import UserError

    with pytest.raises(UserError):
        main(["--debug", "run", str(tmp_path / "none.toml")])
