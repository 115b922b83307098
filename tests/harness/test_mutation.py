"""Mutated input of every kind: nothing but samples, recorded rejections and sentences comes of it.

No traceback, no hang over 20 seconds, no process over 2 GB, no crash of the interpreter, no number that is none. The
short part has fixed seeds; the long one is ``make slow``'s, or, for other seeds and numbers of cases::

    python -m tests.harness.test_mutation CASES [SEED] [SUBJECT ...]
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 20.0
BYTES = 2_000_000_000
SHORT, LONG = 380, 50_000
SLACK = float(os.environ.get("POSESYN_HARNESS_SLACK", "1"))
"""Times as many seconds, on a machine that does other work."""


class Reading:
    """The process that reads mutated input; a new one after each that died."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, self._start(folder)

    def _start(self, folder: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.harness.mutant", str(folder)]
        log = (folder.parent / f"{folder.name}.log").open("a")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready, Path(log.name).read_text()[-3000:]
        return process

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; a hang or a death is one, too."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], SECONDS * SLACK)
        line = stdout.readline() if ready else ""
        answer = json.loads(line) if line else None
        if answer is not None and answer["memory"] < BYTES:
            return answer
        fault = "too much memory" if answer else "a hang" if not ready else "a crash"
        self.stop()
        died = self.process.returncode
        self.process = self._start(self.folder)
        return {
            "outcome": "fault",
            "detail": f"{fault} (exit code {died})",
            **question,
            **(answer or {}),
            "fault": fault,
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def reading(folder: Path) -> Iterator[Reading]:
    found = Reading(folder)
    try:
        yield found
    finally:
        found.stop()


def attack(
    folder: Path, cases: int, seed: int, only: list[str] | None = None, tell: Any = None
) -> list[dict[str, Any]]:
    """All answers."""
    answers = []
    with reading(folder) as process:
        for case in range(cases):
            answers.append(process.ask(case=case, seed=seed, only=only) | {"case": case})
            if tell is not None:
                tell(answers)
    return answers


def figures(answers: list[dict[str, Any]]) -> str:
    """A table by subject, and the sum."""
    kinds = ("read", "sentence", "fault")
    counts = {name: Counter[str]() for name in sorted({answer.get("subject", "?") for answer in answers})}
    for answer in answers:
        counts[answer.get("subject", "?")][answer["outcome"]] += 1
    lines = [f"{'subject':<22}" + "".join(f"{kind:>10}" for kind in kinds)]
    lines += [f"{name:<22}" + "".join(f"{count[kind]:>10}" for kind in kinds) for name, count in counts.items()]
    total = Counter(answer["outcome"] for answer in answers)
    rejected = sum(answer.get("rejected", 0) for answer in answers)
    peak = max(answer.get("memory", 0) for answer in answers)
    lines.append(f"{'all ' + str(len(answers)):<22}" + "".join(f"{total[kind]:>10}" for kind in kinds))
    return "\n".join([*lines, f"entries rejected {rejected}, most memory {peak / 1e9:.2f} GB"])


def faults(answers: list[dict[str, Any]]) -> str:
    return "\n\n".join(json.dumps(answer, indent=1) for answer in answers if answer["outcome"] == "fault")


def test_mutated_input_gives_samples_rejections_and_sentences(tmp_path: Path) -> None:
    answers = attack(tmp_path / "mutants", SHORT, seed=1)
    print(figures(answers))
    assert not faults(answers), faults(answers)
    assert Counter(answer["outcome"] for answer in answers)["read"] > SHORT / 5


@pytest.mark.slow
def test_fifty_thousand_mutated_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = attack(tmp_path / "mutants", LONG, seed=2)
    with capsys.disabled():
        print("\n" + figures(answers))
    assert not faults(answers), faults(answers)


PREFIXES = {
    "crowdnet-Human36M": "crowdnet_human36m", "crowdnet-MuCo": "crowdnet_muco", "crowdnet-person": "crowdnet_mscoco",
    "hmr2-e": "hmr2_npz", "hmr2-s": "hmr2_tar", "hybrik-": "hybrik", "jhmdb_a.json": "jhmdb_json",
    "human36m_h36m": "human36m_npz", "mpi_inf_3dhp_": "mpi_inf_3dhp",
}  # fmt: skip


def _of(name: str) -> tuple[str, str]:
    """The subject and the file that a damaged file of the public reports stands for."""
    stated = name
    for mark in ("-TRACEBACK", "-BADSAMPLE", "-HANG", "-DIED"):
        stated = stated.partition(mark)[0]
    subject = next((subject for prefix, subject in PREFIXES.items() if name.startswith(prefix)), None)
    reader = next(r for r in ("mpi_inf_3dhp", stated.partition("_")[0].partition("-")[0]) if stated.startswith(r))
    return subject or reader, stated.removeprefix(reader)[1:]


def test_the_damaged_annotations_of_public_reports(shared: Path, tmp_path: Path) -> None:
    found = sorted((shared / "field/damaged/annotations").iterdir())
    assert len(found) > 60
    answers = []
    with reading(tmp_path / "mutants") as process:
        for path in found:
            subject, file = _of(path.name)
            answers.append(process.ask(subject=subject, file=file, content=str(path)) | {"case": path.name})
    assert not faults(answers), faults(answers)


def main(cases: int, seed: int, only: list[str]) -> None:
    """The long part by hand: faults as they are found, figures now and then, and at the end."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"mutants in {folder}", flush=True)

        def tell(answers: list[dict[str, Any]]) -> None:
            if answers[-1]["outcome"] == "fault":
                print(faults(answers[-1:]), flush=True)
            if len(answers) % 1000 == 0:
                print(figures(answers), flush=True)

        print(figures(attack(Path(folder) / "mutants", cases, seed, only or None, tell)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2, sys.argv[3:])
