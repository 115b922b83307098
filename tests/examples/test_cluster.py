"""The scripts of examples/cluster share a run and end with the bytes of one process."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.runs import contents, differing
from tests.tiny import folder_data_set

SCRIPTS = Path(__file__).parents[2] / "examples/cluster"
SETTINGS = ("--set", "filter.tau=400", "--set", "animate.frame_stride=24")
SBATCH = f"""#!{sys.executable}
# SLURM for one machine: an array's jobs one after another, at once, the last index first.
import os, subprocess, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[1:] if "=" in option)
jobs = range(int(options.get("array", "0-0").split("-")[1]), -1, -1)
for job in jobs:
    subprocess.run(options["wrap"], shell=True, check=True, env={{**os.environ, "SLURM_ARRAY_TASK_ID": str(job)}},
                   stdout=sys.stderr)
print(os.getpid())
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with the commands of this environment, small settings for `posesyn`, and an `sbatch`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    main = "from posesyn_core.cli import main; main()"
    small = f'case "$1" in run|score) set -- "$@" {" ".join(SETTINGS)};; esac'
    commands = {"posesyn": f"#!/bin/sh\n{small}\nexec '{sys.executable}' -c '{main}' \"$@\"\n", "sbatch": SBATCH}
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


def run(path: str, script: str, *arguments: str | Path) -> str:
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [SCRIPTS / script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("script", ["one_machine.sh", "slurm.sh", "ray.sh"])
def test_without_arguments_they_say_how_they_are_used(script: str) -> None:
    done = subprocess.run([SCRIPTS / script], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: ")


def test_the_manifest_asks_for_what_ray_needs() -> None:
    job = yaml.safe_load((SCRIPTS / "kuberay.yaml").read_text())
    head, (workers,) = job["spec"]["rayClusterSpec"]["headGroupSpec"], job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for group in (head, workers):
        mounts = {mount["name"] for mount in group["template"]["spec"]["containers"][0]["volumeMounts"]}
        assert mounts == {volume["name"] for volume in group["template"]["spec"]["volumes"]} == {"data", "recipe"}
    assert "--executor ray" in job["spec"]["entrypoint"]
    pinned = re.search(r"^ray==(.+)$", (SCRIPTS.parents[1] / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None and job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


@pytest.mark.slow
def test_each_ends_with_the_bytes_of_one_process(tmp_path: Path, path: str) -> None:
    recipe, folder = folder_data_set(tmp_path, people=6, part="lab"), tmp_path / "run"
    subprocess.run(["posesyn", "run", recipe, "--run", folder], env={**os.environ, "PATH": path}, check=True)
    whole = contents(folder)
    for script, arguments in (("one_machine.sh", ["2"]), ("slurm.sh", ["2"]), ("ray.sh", [])):
        if script == "ray.sh" and shutil.which("ray", path=path) is None:
            continue
        shutil.rmtree(folder)
        said = run(path, script, recipe, folder, *arguments)
        told = {"recipe.toml", "report.html"} if script == "ray.sh" else set()  # who does the parts is a key
        assert set(differing(contents(folder), whole)) <= told, said
