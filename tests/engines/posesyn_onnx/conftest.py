"""One cache of graphs for the session: exporting takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from posesyn_core.registry import Registry


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The engine cache's folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSESYN_CACHE", str(folder))
        yield folder / "engines"


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.discover()
