"""The closed loop's script on a handful of people: one command from the clips to the table, the oracle's row in it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench/closed_loop.py"
SMALL = (
    "dataset.count=12", "score.hard=3", "score.easy=4", "animate.frame_stride=8", "test.count=12",
    "finetune.steps=3", "finetune.batch_size=4", "finetune.start_share=0.3",
)  # fmt: skip
TITLES = (
    "(a) as shipped", "(b) fine-tuned on real data", "(c) fine-tuned on real + synthesised",
    "(d) the mined people's true labels",
)  # fmt: skip


def row(table: str, title: str) -> list[float]:
    """Seed 0's figures of a row, one for each metric."""
    return [float(found) for found in re.findall(rf"^{re.escape(title)} +([\d.]+)", table, re.MULTILINE)]


@pytest.mark.slow
def test_every_training_has_a_row_of_its_own(shared: Path, tmp_path: Path) -> None:
    real = f'real=[{{name="images",root="{shared}/data/photos",labeller={{name="blazepose"}}}}]'
    options = [part for text in (*SMALL, real) for part in ("--set", text)]
    command = [sys.executable, str(SCRIPT), "--seeds", "0", "--oracle", "--keep", str(tmp_path)]
    told = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    mpjpe, pa_mpjpe = zip(*(row(told.stdout, title) for title in TITLES), strict=True)
    assert len(set(mpjpe)) == len(set(pa_mpjpe)) == len(TITLES), told.stdout
    assert (tmp_path / "oracle-0/weights.safetensors").exists()
