"""A photograph through the stages of a run; killed and resumed, the same."""

import shutil
from pathlib import Path

import pytest

from posesyn_core.files.images import load_image
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_wan.animator import WanAnimator
from posesyn_wan.vace import WanVaceAnimator


def opened(folder: Path, shared: Path, name: str) -> Run:
    recipe = parse_recipe(
        f'dataset = {{ name = "coco", root = "{shared}/data/images/coco", annotations = "test_coco.json" }}\n'
        "[machine]\nworkers = 1\n"
        "[score]\nhard = 2\neasy = 1\n[synthesize]\nmax_frames = 48\n[animate]\nframe_stride = 8\nkeep_dropped = true\n"
        f'[animator]\nname = "{name}"\nweights = "random"\nwidth = 64\nheight = 64\nsteps = 1\nprecision = "fp32"\n'
    )
    return create_run(folder, recipe, Registry.discover())


@pytest.fixture(scope="module")
def motions(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its motions, which no animator has a part in."""
    run = opened(tmp_path_factory.mktemp("run") / "motions", shared, "wan_animate")
    for stage in STAGES[: STAGES.index("animate")]:
        run_stage(run, stage)
    return run.folder


def pictures(run: Run) -> dict[str, bytes]:
    """The frames by their paths in the run."""
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*.jpg")}


@pytest.mark.parametrize("kind", [WanAnimator, WanVaceAnimator], ids=["wan_animate", "wan_vace"])
def test_a_killed_run_goes_on_to_the_same_frames(
    motions: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[WanAnimator] | type[WanVaceAnimator],
) -> None:
    name = "wan_animate" if kind is WanAnimator else "wan_vace"
    whole, broken = (
        opened(Path(shutil.copytree(motions, tmp_path / place)), shared, name) for place in ("whole", "broken")
    )
    figures = run_stage(whole, "animate")
    assert figures["clips"] == 2 and figures["rejected"] == 0 and figures["frames"] >= 8
    clip = next(iter(whole.clips.values()))
    for frame in clip.frames:
        assert load_image(frame.image).shape == (clip.height, clip.width, 3)
    own, calls = kind._video, []

    def killed(self, *given):  # type: ignore[no-untyped-def]
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return own(self, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(kind, "_video", killed)
        run_stage(broken, "animate")
    run_stage(opened(broken.folder, shared, name), "animate")
    assert pictures(whole) and pictures(whole) == pictures(broken)
    assert [clip.plan.id for clip in whole.clips.values()] == [clip.plan.id for clip in broken.clips.values()]
