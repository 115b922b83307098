"""The split of the motion data between mining and everything else."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from posesyn_starter.splits import mining_clip


def test_only_wild_clips_are_mined_and_only_by_their_name() -> None:
    clips = [f"clip_{number}" for number in range(400)]
    mined = [clip for clip in clips if mining_clip(clip, "wild")]
    assert 150 < len(mined) < 250
    assert not any(mining_clip(clip, "lab") for clip in clips)
    assert mining_clip("cmu_01_01", "wild") == mining_clip("cmu_01_01", "wild")


def test_command_lists_recordings_once(tmp_path: Path) -> None:
    clips = np.array(["a", "a", "b", "c", "d", "e", "f"])
    np.savez(tmp_path / "motions.npz", clip=clips, domain=np.array(["wild"] * 5 + ["lab"] * 2))
    command = [sys.executable, "-m", "posesyn_starter.splits", str(tmp_path / "motions.npz")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == [clip for clip in "abcd" if mining_clip(clip, "wild")]
    assert 0 < len(printed) < 4
