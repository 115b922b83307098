"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# One instruction set for torch's convolutions on every x86 processor, the one that reproduces the reference data:
# others round otherwise, which tips activations at a ReLU's bend. Read at torch's first convolution.
os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX2")
settings.register_profile("posesyn", deadline=None)  # a loaded machine is no failure
settings.load_profile("posesyn")

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference data (``$POSESYN_SHARED``); the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set POSESYN_SHARED)")
    return SHARED
