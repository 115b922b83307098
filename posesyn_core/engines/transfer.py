"""A batch's way to the device and back: pictures as bytes, in pinned memory, copied beside what the device computes.

On a CPU there is no way to go: pictures become numbers where the batch is put together.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from posesyn_core.values import Inputs, Pixels

Numbers = Mapping[str, np.ndarray]


@frozen(eq=False)
class Collated:
    """The inputs of a batch: ``tensors`` by name, batch first; of pictures that are bytes (B, H, W, C) also the
    ``levels`` (B, C, 256) that make numbers of them.
    """

    tensors: Mapping[str, Tensor]
    levels: Mapping[str, Tensor] = field(factory=dict)

    @property
    def nbytes(self) -> int:
        """How many bytes are copied to a device."""
        return sum(tensor.nbytes for tensor in (*self.tensors.values(), *self.levels.values()))

    def __len__(self) -> int:
        """The number of samples."""
        return len(next(iter(self.tensors.values())))

    def pinned(self) -> "Collated":
        """The same in memory that a GPU reads by itself."""
        tensors, levels = (
            {name: tensor.pin_memory() for name, tensor in part.items()} for part in (self.tensors, self.levels)
        )
        return Collated(tensors, levels)

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The batch on ``device``, its pictures as numbers; from pinned memory without waiting for the copies."""
        sent = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        for name, levels in self.levels.items():
            sent[name] = looked_up(sent[name], levels.to(device, non_blocking=True))
        return sent


def looked_up(pixels: Tensor, levels: Tensor) -> Tensor:
    """Bytes (B, H, W, C) by their ``levels`` (B, C, 256) -> the pictures (B, C, H, W) float32."""
    places = pixels.permute(0, 3, 1, 2)
    return levels.gather(2, places.flatten(2).long()).unflatten(2, places.shape[2:])


def collate(items: Sequence[Inputs], device: torch.device) -> Collated:
    """The inputs of several samples, which have the same names and shapes, as one batch for ``device``.

    A batch in which some pictures are bytes and some are numbers goes as numbers.
    """
    tensors, levels = {}, {}
    for name in items[0]:
        values = [item[name] for item in items]
        pictures = [value for value in values if isinstance(value, Pixels)]
        if len(pictures) != len(values):
            tensors[name] = torch.from_numpy(np.stack([np.asarray(value) for value in values]))
        elif device.type == "cpu":
            tensors[name] = torch.from_numpy(_numbers(pictures))
        else:
            tensors[name] = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
            levels[name] = torch.from_numpy(np.stack([picture.levels for picture in pictures]))
    return Collated(tensors, levels)


def _numbers(pictures: Sequence[Pixels]) -> np.ndarray:
    """(B, C, H, W), each picture looked up where it stays: copies of megabytes cost more than looking up."""
    batch = np.empty((len(pictures), *pictures[0].shape), pictures[0].dtype)
    for place, picture in zip(batch, pictures, strict=True):
        picture.fill(place)
    return batch


def pinned_for(device: torch.device, batch: Collated) -> Collated:
    """The batch in pinned memory, if the device is a GPU that can make use of it."""
    return batch.pinned() if device.type == "cuda" and torch.cuda.is_available() else batch


class Lane:
    """Copies of one device's inputs and outputs, beside its computing: on a CUDA stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, batch: Collated) -> dict[str, Tensor]:
        """The batch on the device, ready for its current stream; does not wait."""
        if self.stream is None:
            return batch.on(self.device)
        with torch.cuda.stream(self.stream):
            tensors = batch.on(self.device)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        for tensor in tensors.values():
            tensor.record_stream(computing)
        return tensors

    def fetch(self, outputs: Mapping[str, Tensor]) -> Callable[[], Numbers]:
        """Begin to copy ``outputs`` to main memory; the result waits for them, and may be called in another thread."""
        home = {name: tensor.to("cpu", non_blocking=True) for name, tensor in outputs.items()}
        arrived = None if self.stream is None else torch.cuda.current_stream(self.device).record_event()

        def arrays() -> Numbers:
            if arrived is not None:
                arrived.synchronize()
            return {name: tensor.numpy() for name, tensor in home.items()}

        return arrays
