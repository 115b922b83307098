"""Claim: from a bare machine to the first picture takes less than five minutes of CPU time, installation included.

A new virtual environment, `pip install .` of this checkout with constraints.txt's versions, and `posesyn predict` of
a photograph, each with the CPU time of its processes (downloads count as they do in pip).

    python bench/first_picture.py [PHOTO]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 300


def spent(title: str, command: list[str], folder: Path) -> float:
    """The CPU seconds of a command and its processes, printed with the time on the clock."""
    before, clock = os.times(), time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{title:<44} {seconds:6.1f} s of CPU time, {time.perf_counter() - clock:6.1f} s on the clock", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=ROOT / "examples" / "photographs" / "walking.jpg")
    photo = parser.parse_args().photo.absolute()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        programs = folder / ".venv" / ("Scripts" if os.name == "nt" else "bin")
        pip = [str(programs / "pip"), "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        total = sum(
            (
                spent("python -m venv .venv", [sys.executable, "-m", "venv", ".venv"], folder),
                spent("pip install .", [*pip, str(ROOT)], folder),
                spent(f"posesyn predict {photo.name}", [str(programs / "posesyn"), "predict", str(photo)], folder),
            )
        )
        assert (folder / "predictions" / f"{photo.stem}.overlay.jpg").is_file()
    print(f"together {total:.0f} s of CPU time, at most {MOST_SECONDS} s allowed")
    if total > MOST_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
