"""The command line on a real photograph: clips of any length come back that long, and the same after a kill."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.files.images import load_image
from posesyn_core.pipeline.run import open_run
from posesyn_core.registry import Registry
from tests.harness.runs import Victim, contents, differing, victim

LENGTHS = (2, 13, 14, 30, 77, 120)
LONGEST = max(LENGTHS)
RECIPE = """
dataset = {{ name = "coco", root = "{shared}/data/images/coco", annotations = "test_coco.json" }}
machine = {{ workers = 1 }}
score = {{ hard = 1, easy = 1 }}
synthesize = {{ min_frames = {longest}, max_frames = {longest} }}
animate = {{ max_frames = 2, reference_size = 64, keep_dropped = true }}
animator = {{ name = "{name}", weights = "random", width = 64, height = 64, steps = 1, precision = "fp32" }}
filter = {{ tau = 1e9 }}
finetune = {{ steps = 0 }}
"""


@pytest.fixture(scope="module", params=["wan_animate", "wan_vace"])
def finished(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of one clip of two frames."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(shared=shared, longest=LONGEST, name=request.param))
    main(["run", str(recipe), "--run", str(folder / "run")])
    return folder / "run"


@pytest.fixture(scope="module")
def harness(finished: Path) -> Iterator[Victim]:
    with victim(finished.parent) as process:
        yield process


def again(folder: Path, length: int) -> list[str]:
    """The arguments that draw the clip anew, with so many frames."""
    return ["animate", str(folder), "--set", f"animate.max_frames={length}", "--restart", "animate"]


def frames(folder: Path) -> list[bytes]:
    """The clip's pictures, of the size that the clip has."""
    (clip,) = open_run(folder, Registry.discover()).clips.values()
    assert len(clip.frames) == len(clip.plan.transl) == len(clip.plan.joints2d)
    for frame in clip.frames:
        assert load_image(frame.image).shape == (clip.height, clip.width, 3) == (64, 64, 3)
    return [path.read_bytes() for path in sorted((folder / "animate/frames").rglob("*.jpg"))]


@pytest.mark.slow
def test_a_clip_has_as_many_frames_as_its_motion(finished: Path) -> None:
    assert len(frames(finished)) == 2
    for length in LENGTHS:
        drawn = []
        for _ in range(2):
            main(again(finished, length))
            drawn.append(frames(finished))
        assert len(drawn[0]) == length and drawn[0] == drawn[1]
        assert length == 2 or len(set(drawn[0])) > length / 2


@pytest.mark.slow
def test_a_long_clip_killed_while_it_is_drawn_comes_out_the_same(finished: Path, harness: Victim) -> None:
    saved = Path(shutil.copytree(finished, finished.parent / "saved"))
    for arguments in (again(finished, LONGEST), ["resume", str(finished)]):
        harness.complete(*arguments)
    whole = contents(finished)
    shutil.rmtree(finished)
    shutil.copytree(saved, finished)  # the same place: tables name files by where they are
    assert harness.do(*again(finished, LONGEST), stage="animate", after=1)["killed"]
    assert harness.do("resume", str(finished), stage="animate", event=3)["killed"]
    harness.complete("resume", str(finished))
    assert len(frames(finished)) == LONGEST
    assert differing(contents(finished), whole) == []
