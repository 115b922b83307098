"""A process that reads mutated input, one case a line: a crash, a hang or too much memory is seen from outside.

``python -m tests.harness.mutant FOLDER`` takes {"case": number, "seed": ..., "only": [...]} or {"subject": name,
"file": name, "content": path} a line, and answers with what became of it.
"""

import json
import logging
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import apart
from tests.harness.mutations import mutate_file
from tests.harness.subjects import Subject, subjects

SPARE = 4 << 30
"""Bytes of address space that a case may ask for; what it really takes is measured."""


class Mutant:
    """The subjects in a folder, each written once and mended after every case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = list(subjects())

    def place(self, subject: Subject) -> Path:
        """The folder of a subject's valid files."""
        place = self.folder / subject.name
        if not place.exists():
            place.mkdir(parents=True)
            subject.write(place)
        return place

    def case(self, number: int, seed: int, only: list[str] | None) -> dict[str, Any]:
        random = np.random.default_rng([seed, number])
        known = [subject for subject in self.known if only is None or subject.name in only]
        subject = known[number % len(known)]
        place = self.place(subject)
        paths = subject.paths(place)
        path = paths[int(random.integers(len(paths)))]
        return self.attempt(subject, place, path, lambda: mutate_file(path, random))

    def given(self, subject: str, file: str, content: str) -> dict[str, Any]:
        """A case whose file is given."""
        found = next(known for known in self.known if known.name == subject)
        return self._given(found, self.place(found), file, content)

    def _given(self, subject: Subject, place: Path, file: str, content: str) -> dict[str, Any]:
        found = [path for path in place.rglob("*") if path.name == file] or subject.paths(place)
        path = next(path for path in found if path.suffix == Path(file).suffix)
        return self.attempt(subject, place, path, lambda: shutil.copyfile(content, path) and "given")

    def attempt(self, subject: Subject, place: Path, path: Path, spoil: Any) -> dict[str, Any]:
        """Read the subject with one file spoilt; the file is as it was afterwards."""
        good = path.read_bytes()
        told = {"subject": subject.name, "file": str(path.relative_to(place))}
        try:
            told["how"] = spoil()
            told |= outcome(subject, place)
            if told["outcome"] == "fault":
                kept = (
                    self.folder
                    / "faults"
                    / f"{subject.name}-{len(list((self.folder / 'faults').glob('*')))}{path.suffix}"
                )
                kept.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, kept)
                told["kept"] = str(kept)
        finally:
            path.unlink(missing_ok=True)
            path.write_bytes(good)
        return told | {"memory": memory()}


def outcome(subject: Subject, place: Path) -> dict[str, Any]:
    try:
        tried = subject.read(place)
    except UserError as error:
        sentence = str(error)
        fault = "\n" in sentence or "failed after" in sentence
        return {"outcome": "fault" if fault else "sentence", "detail": sentence[:500]}
    except SampleError as error:
        return {"outcome": "fault", "detail": f"a SampleError that nobody took: {error}"}
    except BaseException:
        return {"outcome": "fault", "detail": traceback.format_exc()[-3000:]}
    return {"outcome": "read", "samples": tried.samples, "rejected": tried.rejected}


def memory() -> int:
    """The most that this process, or the one that reads apart, ever took, bytes."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    running = apart._process.running
    if running is None or running.poll() is not None:
        return own
    status = Path(f"/proc/{running.pid}/status").read_text()
    other = next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return max(own, other)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    mutant = Mutant(folder)
    for subject in mutant.known:  # everything is imported and warm before memory is limited and time is taken
        subject.read(mutant.place(subject))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = sys.stdout
    sys.stdout = sys.stderr
    print(json.dumps({"ready": memory()}), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answer = (
            mutant.case(question["case"], question["seed"], question.get("only"))
            if "case" in question
            else mutant.given(**question)
        )
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
