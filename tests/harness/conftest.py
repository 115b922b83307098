"""One small whole run for all harnesses: what it costs is paid once."""

from collections.abc import Iterator

import pytest

from tests.harness.runs import Finished, whole_run


@pytest.fixture(scope="session")
def only_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with whole_run(tmp_path_factory.mktemp("whole")) as finished:
        yield finished


@pytest.fixture
def finished(only_run: Finished) -> Finished:
    """A finished run as it was written, to be harmed."""
    only_run.heal()
    return only_run
