"""One small whole run for all harnesses: what it costs is paid once."""

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.harness.runs import Finished, command, contents, victim


@pytest.fixture(scope="session")
def only_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    root = tmp_path_factory.mktemp("whole")
    with victim(root / "run") as process:
        arguments, counts = command(root), root / "counts.json"
        process.complete(*arguments, counts=str(counts))
        shutil.copytree(root / "run", root / "whole")
        yield Finished(root, process, arguments, json.loads(counts.read_text()), contents(root / "run"))


@pytest.fixture
def finished(only_run: Finished) -> Finished:
    """A finished run as it was written, to be harmed."""
    only_run.heal()
    return only_run
