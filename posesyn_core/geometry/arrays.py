"""What lets one implementation serve numpy arrays and torch tensors alike."""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", bound=Any)
"""A numpy array or a torch tensor; results are of the same kind as the arguments."""


def namespace(array: Any) -> Any:
    """The module, numpy or torch, whose functions fit ``array``; torch is not imported for numpy arrays."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(values: Any, reference: Array) -> Array:
    """``values`` as an array of the kind, precision and device of ``reference``."""
    result: Any
    if isinstance(reference, np.ndarray):
        result = np.asarray(values, dtype=reference.dtype)
        return result
    import torch

    result = torch.as_tensor(values, dtype=reference.dtype, device=reference.device)
    return result


def to_tensor(array: Any) -> "torch.Tensor":
    """``array`` as a floating-point tensor: a tensor as it is, anything else copied (its memory may be read-only)."""
    import torch

    if isinstance(array, torch.Tensor):
        return array
    values = np.array(array)
    return torch.from_numpy(values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64))


def as_given(tensor: "torch.Tensor", given: Array) -> Array:
    """``tensor`` in the kind of ``given``: numpy where that is not a tensor."""
    import torch

    result: Any = tensor if isinstance(given, torch.Tensor) else tensor.numpy()
    return result
