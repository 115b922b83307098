"""Small data sets in their official layouts, written without the readers' help."""

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def photo() -> bytes:
    """An encoded 80 x 60 picture."""
    y, x = np.mgrid[0:60, 0:80]
    return cv2.imencode(".jpg", np.stack([3 * x, 4 * y, x + y], -1).astype(np.uint8))[1].tobytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a data set."""
    return tmp_path / "data"
