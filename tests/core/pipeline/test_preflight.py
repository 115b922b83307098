"""Everything that a run needs and that is not there is told before it starts."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.pipeline.preflight import disk_bytes, lacks
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import Choice, load_recipe, parse_recipe
from posesyn_core.registry import Registry
from tests.tiny import folder_data_set

EXAMPLES = Path(__file__).parents[3] / "examples"
PAPER = ("paper-hmr2", "paper-hybrik", "paper-crowdnet")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.mark.parametrize("name", PAPER)
def test_a_bare_machine_is_told_everything_in_under_five_seconds(name: str, tmp_path: Path) -> None:
    before = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from posesyn_core.cli import main; main()",
        "check",
        str(EXAMPLES / f"{name}.toml"),
    ]
    environment = {"PATH": "/usr/bin:/bin", "HF_HUB_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert time.perf_counter() - before < 5
    assert done.returncode == 2, done.stderr
    told = done.stdout
    for source in (
        *("human-pose.mpi-inf.mpg.de", "smpl.is.tue.mpg.de", "3DPW", "emdb.ait.ethz.ch", "panoptic-toolbox"),
        *("HuMMan", "lspet", "jhmdb", "hf download fudan-generative-ai/champ", "T2M-GPT", "clip-vit-base-patch32"),
        *("4D-Humans", "machine.device = 'cuda'", "J_regressor", "hf download weizhiwang"),
    ):
        assert source in told, source
    assert "unknown key" not in told and "is installed" not in told


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("animator", ["wan_animate", "wan_vace"])
def test_another_animator_is_one_key(registry: Registry, tmp_path: Path, name: str, animator: str) -> None:
    """The paper's recipes with nothing changed but the animator's name: only its own files are told otherwise."""
    champs, others = (
        lacks(load_recipe(EXAMPLES / f"{name}.toml", settings), registry, tmp_path)
        for settings in ((), (f"animator.name={animator}",))
    )
    changed = set(champs) ^ set(others)
    assert changed and all("data/champ" in fault for fault in changed), changed
    (told,) = (fault for fault in others if fault.startswith("[animator]"))
    model, size = {"wan_animate": ("Wan2.2-Animate-14B", "50 GB"), "wan_vace": ("Wan2.1-VACE-1.3B", "20 GB")}[animator]
    assert f"`hf download Wan-AI/{model}-" in told and f"(about {size})" in told and "key 'weights'" in told


def test_what_is_there_is_not_told(registry: Registry, tmp_path: Path) -> None:
    assert lacks(load_recipe(folder_data_set(tmp_path)), registry, tmp_path / "run") == []


def test_a_run_refuses_to_start_and_names_everything(registry: Registry, tmp_path: Path) -> None:
    recipe = evolve(load_recipe(folder_data_set(tmp_path)), body=str(tmp_path / "no.pkl"))
    settings = ('animator={name="champ", weights="nowhere"}', "captioner=posecoed")
    wrong = load_recipe(tmp_path / "recipe.toml", settings)
    run = create_run(tmp_path / "run", evolve(wrong, body=recipe.body), registry)
    with pytest.raises(UserError, match="3 things are missing") as raised:
        run.check()
    for part in ("[animator]: Champ's folder 'nowhere'", "did you mean 'posecode'", "body: the SMPL file"):
        assert part in str(raised.value)


def test_stages_that_are_done_need_nothing_any_more(registry: Registry, tmp_path: Path) -> None:
    recipe = load_recipe(folder_data_set(tmp_path), ('test={name="lspet", root="nowhere"}',))
    assert not lacks(recipe, registry, tmp_path, ("score", "animate"))
    assert "lspet" in lacks(recipe, registry, tmp_path, ("evaluate",))[0]


def test_parts_of_components_are_looked_at(registry: Registry, tmp_path: Path) -> None:
    setting = 'estimator={name="crowdnet", keypoints={name="rtmpose", model="nowhere.onnx"}}'
    found = lacks(load_recipe(folder_data_set(tmp_path), (setting,)), registry, tmp_path)
    assert ["nowhere.onnx" in fault and "keypoints" in fault for fault in found] == [True]


def test_a_full_disk_is_told(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(folder_data_set(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    (fault,) = lacks(recipe, registry, tmp_path / "run")
    assert "0.000 GB free" in fault


def test_a_few_pictures_need_no_room_for_thousands(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default 1,500 people are mined, which a small data set does not have."""
    recipe = load_recipe(folder_data_set(tmp_path), ("score.hard=100000",))
    free = disk_bytes(recipe) // 100
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, free, free))
    assert lacks(recipe, registry, tmp_path / "run") == []
    (fault,) = lacks(evolve(recipe, dataset=Choice("folder", {"root": "nowhere"})), registry, tmp_path, ("animate",))
    assert "make room" in fault


def test_the_disk_grows_with_clips_and_exports() -> None:
    small = parse_recipe('dataset = "mpii"\n[score]\nhard = 10\n[export]\nformats = []')
    large = parse_recipe('dataset = "mpii"\n[score]\nhard = 20\n[export]\nformats = ["coco"]')
    assert disk_bytes(large) == pytest.approx(4 * disk_bytes(small), rel=0.01)
