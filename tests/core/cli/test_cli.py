"""The command line: light, teaching, and clear about mistakes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.components import Kind
from posesyn_core.errors import PoseSynWarning
from posesyn_core.pipeline.order import STAGES
from posesyn_core.registry import Registry
from tests.house import HEAVY


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(list(arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["plugins", "show", "spin"], ["run", "--help"]])
def test_help_and_plugins_load_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom posesyn_core.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {sorted(HEAVY)!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_every_stage_is_a_command_that_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    _, listed, _ = output(capsys, "--help")
    for stage in STAGES:
        assert stage in listed
        code, text, _ = output(capsys, stage, "--help")
        assert code == 0 and "RUN is the run folder" in text


def test_plugins_lists_kind_and_readiness_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = output(capsys, "plugins")
    assert code == 0
    blocks = dict(zip(*[iter(re.split(r"^(\w+s)$", text, flags=re.MULTILINE)[1:])] * 2, strict=True))
    states = {line.split()[0]: line for line in blocks["animators"].strip().splitlines()}
    assert " ready " in states["reprojection"] and " needs weights " in states["champ"]
    assert " needs weights " in next(line for line in blocks["estimators"].splitlines() if line.startswith("  spin "))
    assert " needs data " in next(line for line in blocks["readers"].splitlines() if line.startswith("  coco "))
    starts = {re.search(r" (ready|needs) ", line).start() for line in text.splitlines() if line[:2] == "  "}  # type: ignore[union-attr]
    assert len(starts) == 1, "the columns are aligned"


def test_show_tells_what_default_weights_lack(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = output(capsys, "plugins", "show", "spin")
    assert "weights: missing" in text and "SPIN's model_checkpoint.pt" in text


def test_untrained_and_starter_weights_are_told_wherever_they_are_used() -> None:
    registry = Registry.discover()
    with pytest.warns(PoseSynWarning, match="'spin' has untrained weights"):
        registry.create(Kind.ESTIMATOR, "spin", {}, "estimator")
    with pytest.warns(PoseSynWarning, match="'t2mgpt' has its starter weights"):
        registry.create(Kind.MOTION, "t2mgpt", {}, "motion")
    options = {"root": "nowhere", "labeller": {"name": "blazepose", "weights": "random"}}
    with pytest.warns(PoseSynWarning, match="keypoints 'blazepose' has untrained weights"):
        registry.create(Kind.READER, "images", options, "dataset")


def test_show_prints_options_with_type_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = output(capsys, "plugins", "show", "tpe_error")
    assert "tau: float = 120.0" in text and "largest error in mm" in text
    assert "Literal['mean', 'sum'] = 'mean'" in text
    assert "licences: code follows: our own (Apache-2.0)" in text
    _, text, _ = output(capsys, "plugins", "show", "3dpw")
    assert "Get it from https://virtualhumans.mpi-inf.mpg.de/3DPW; root holds the unpacked imageFiles" in text
    _, text, _ = output(capsys, "plugins", "show", "images")
    assert "detector: a detector by its name = None" in text
    code, _, message = output(capsys, "plugins", "show", "nothing")
    assert code == 2 and "no component named 'nothing'" in message


def test_a_plugin_that_fails_to_import_is_reported_and_the_rest_works(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[posesyn]\nbroken = broken_plugin\n")
    (tmp_path / "broken_plugin.py").write_text("import a_module_that_is_nowhere\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom posesyn_core.cli import main; main(['plugins'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert "failed     broken (broken 1.0): ModuleNotFoundError" in done.stdout
    assert "spin" in done.stdout


def test_unknown_commands_and_options_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "ran")[0] == 2
    assert output(capsys, "run")[0] == 2
    code, _, message = output(capsys, "select", "nowhere")
    assert code == 2 and "is not a run" in message


def test_letters_that_the_terminal_lacks_are_no_error(tmp_path: Path) -> None:
    script = "from posesyn_core.cli import main; main(['engine', 'list'])"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "POSESYN_CACHE": str(tmp_path / "猫")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path.name}/?/engines" in done.stdout


def test_a_folder_where_a_file_belongs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path)])
    assert "recipe.toml" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = output(capsys, "--version")
    assert code == 0 and "posesyn" in text
