"""What the tests of PoseGen share."""

from pathlib import Path

import pytest

from tests.tiny import small_spin


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a small untrained SPIN."""
    return small_spin(tmp_path_factory.mktemp("spin"))
