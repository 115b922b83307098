"""Plans as files, frames from files: what another program needs to know, and what can go wrong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.components import Animator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import decode_image, encode_png
from posesyn_core.values import ClipPlan
from posesyn_files.animator import FileAnimator
from posesyn_files.config import FileConfig
from posesyn_files.plugin import register_animators
from tests.core.body.test_guidance import SIZE, plan

COPY_NORMALS = """
import json, shutil, sys
from pathlib import Path
clip = Path(sys.argv[1])
assert json.loads((clip / "plan.json").read_text())["frames"] == 3
for path in (clip / "guidance" / "normal").iterdir():
    shutil.copy(path, clip / "frames" / path.name)
"""


@pytest.fixture
def clip() -> ClipPlan:
    drawn = plan(3)
    return evolve(drawn, reference=evolve(drawn.reference, image=encode_png(np.full((*SIZE, 3), 90, np.uint8))))


def made(folder: Path, **options: object) -> FileAnimator:
    return FileAnimator(FileConfig(str(folder), **{"guidance": ["normal"], **options}))  # type: ignore[arg-type]


def test_a_program_draws_the_frames(tmp_path: Path, clip: ClipPlan) -> None:
    (tmp_path / "draw.py").write_text(COPY_NORMALS)
    animator = made(tmp_path / "clips", command=f"{sys.executable} {tmp_path / 'draw.py'}")
    assert isinstance(animator, Animator) and register_animators()[0].name == "file"
    frames = list(animator.animate(clip))
    (folder,) = (tmp_path / "clips").iterdir()
    assert sorted(path.name for path in (folder / "guidance").iterdir()) == ["normal"]  # and nothing unasked for
    for number, frame in enumerate(frames, start=1):
        drawn = (folder / "guidance" / "normal" / f"{number:04d}.png").read_bytes()
        np.testing.assert_array_equal(frame, decode_image(drawn))
    arrays = np.load(folder / "plan.npz")
    np.testing.assert_array_equal(arrays["body_pose"], clip.body_pose)
    assert json.loads((folder / "plan.json").read_text())["width"] == SIZE[1]


def test_frames_may_come_later(tmp_path: Path, clip: ClipPlan) -> None:
    animator = made(tmp_path)
    with pytest.raises(SampleError, match=r"0 of 3 frames .* run with --restart animate"):
        next(animator.animate(clip))
    (folder,) = tmp_path.iterdir()
    for number, name in enumerate(("2", "9", "10")):  # numbers without zeros before them are in their order, too
        (folder / "frames" / f"{name}.png").write_bytes(encode_png(np.full((*SIZE, 3), number, np.uint8)))
    assert [int(frame[0, 0, 0]) for frame in animator.animate(clip)] == [0, 1, 2]
    with pytest.raises(SampleError, match="another plan"):
        next(animator.animate(evolve(clip, transl=clip.transl + np.float32(0.1))))
    (folder / "frames" / "9.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(SampleError, match="the reference"):
        list(animator.animate(clip))


def test_a_program_that_fails(tmp_path: Path, clip: ClipPlan) -> None:
    (tmp_path / "fail.py").write_text("raise SystemExit('no memory left')")
    with pytest.raises(SampleError, match="ended with code 1: no memory left"):
        next(made(tmp_path / "a", command=f"{sys.executable} {tmp_path / 'fail.py'}").animate(clip))
    with pytest.raises(UserError, match="can't be started"):
        next(made(tmp_path / "b", command="/no/such/program").animate(clip))
    with pytest.raises(UserError, match="is not known"):
        made(tmp_path, guidance=["outline"])
