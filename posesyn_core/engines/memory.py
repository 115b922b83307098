"""Work for which memory does not suffice, on whatever device: rejected, with what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from posesyn_core.errors import SampleError

_COMPLAINTS = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad allocation")
"""Words of torch's devices, of its CPU allocator, and of ONNX Runtime."""


@contextmanager
def rejecting_what_does_not_fit(what: str, remedies: str) -> Iterator[None]:
    """SampleError naming ``what`` and the ``remedies`` if memory runs out within the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(complaint in text for complaint in _COMPLAINTS):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise SampleError(f"out of memory for {what}: {remedies}") from error
