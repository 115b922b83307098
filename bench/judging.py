"""Claim: frames that are judged as they are drawn are written only if they are kept, in about the time of judging them
afterwards; another threshold needs no network.

On the demo's world and starter estimator. One pass: the stage `animate` (which also plans the clips). Two passes: the
same plans drawn and written, then read again and judged. Another tau: the stage `filter` on the estimates at hand,
against the network once more on the frames on disk. Prints both times, what was written, and the ratios.

    python bench/judging.py [--people 120] [--tau 200]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import posesyn_starter
from posesyn_core.components import Kind
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.parallel.threads import ordered_map
from posesyn_core.pipeline.judging import Judge, label_frames
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Clip, Run, create_run, fork_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage

MB = 1e6


def mined(folder: Path, people: int, tau: float) -> Run:
    """A run of the demo, up to the motions."""
    settings = [f"dataset.count={people}", f"score.hard={people // 3}", f"score.easy={people // 4}"]
    settings += [f"filter.tau={tau}", "animate.keep_dropped=false"]
    recipe = load_recipe(Path(posesyn_starter.__path__[0]) / "demo.toml", settings)
    run = create_run(folder, recipe, Registry.discover())
    for stage in STAGES[: STAGES.index("animate")]:
        run_stage(run, stage)
    return run


def draw(run: Run, clips: list[Clip], folder: Path) -> list[list[Path]]:
    """The clips' plans drawn by the run's threads, every frame written."""
    animator = run.create(Kind.ANIMATOR, run.recipe.animator, "animator")

    def paths_of(numbered: tuple[int, Clip]) -> list[Path]:
        number, clip = numbered
        paths = []
        for at, image in enumerate(animator.animate(clip.plan)):
            paths.append(folder / f"{number}-{at}.jpg")
            write_atomic(paths[-1], encode_jpeg(image, run.recipe.animate.jpeg_quality))
        return paths

    return list(ordered_map(paths_of, enumerate(clips), run.recipe.machine.workers))


def judge(run: Run, clips: list[Clip], images: list[list[Path]]) -> int:
    """How many of the frames on disk are kept."""
    frames = (
        frame
        for clip, paths in zip(clips, images, strict=True)
        for frame in label_frames(clip.plan, paths, clip.width, clip.height)
    )
    return sum(found.keep for found in Judge.of(run).judge(frames))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size(folder: Path) -> float:
    """MB of the pictures in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.jpg")) / MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--tau", type=float, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run = mined(root / "run", options.people, options.tau)
        one = seconds(lambda: run_stage(run, "animate"))
        clips, images = list(run.clips.values()), []
        drawing = seconds(lambda: images.extend(draw(run, clips, root / "all")))
        judging = seconds(lambda: judge(run, clips, images))
        tighter = fork_run(
            run, root / "tighter", load_recipe(run.folder / "recipe.toml", [f"filter.tau={options.tau / 2}"])
        )
        again = seconds(lambda: run_stage(tighter, "filter"))
        frames = run.require("animate")["frames"]
        print(
            f"{frames} frames of {len(clips)} clips: one pass {one:.1f} s, {size(run.folder):.1f} MB written; drawing "
            f"alone {drawing:.1f} s, and judging what it wrote {judging:.1f} s, {size(root / 'all'):.1f} MB; ratio "
            f"{(drawing + judging) / one:.2f}"
        )
        print(f"another tau: {again:.2f} s, against {judging:.1f} s of the network: ratio {judging / again:.0f}")


if __name__ == "__main__":
    main()
