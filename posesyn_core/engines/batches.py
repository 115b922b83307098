"""A loaded network and the batches that it is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen

from posesyn_core.contracts.engines import Engine, ExportableModule, NetworkCall
from posesyn_core.contracts.results import a_value, calling, name_of
from posesyn_core.errors import UserError

if TYPE_CHECKING:
    import torch

    from posesyn_core.engines.transfer import Collated, Lane, Numbers

T = TypeVar("T")

LEAST_PASS, MOST_PASS = 4, 32
"""Samples that a network computes at once on a CPU; no more than a run reads together, as passes are filled up."""
PASS_NUMBERS = 2**18
"""Numbers that the inputs of such a pass hold together, if it is larger than the smallest."""


def cpu_pass(module: ExportableModule) -> int:
    """How many samples a network computes at once on a CPU: always as many, so that a sample's result depends on itself
    alone. Kernels are chosen by the batch's size, but treat its rows alike; exactly in most networks, while HybrIK's
    sigma in eager torch and the starter's outputs on ONNX Runtime differ by 6e-8 from place to place.

    It follows from the size of a sample's inputs and not from a measurement, so it is the same on every machine. Maps
    of many pictures leave the caches: passes of 32 take 1.7 times as long as those of 4 for the starter in eager torch,
    and twice as long for BlazePose. Networks that see little are mostly calls and the reading of weights: passes of 32
    take a quarter to a half of the time for lifters of joints, and passes of 8 three quarters for a small network that
    sees 96 x 96 pixels.
    """
    inputs = sum(tensor.numel() // len(tensor) for tensor in module.example.values())
    fitting = min(max(LEAST_PASS, PASS_NUMBERS // max(1, inputs)), MOST_PASS)
    return 1 << fitting.bit_length() - 1  # the power of two that is not larger


@frozen
class LoadedNetwork:
    """A network on an engine, with the smallest and the largest batch that it should be given.

    With a ``lane`` to the engine's device, :meth:`start` copies beside what is computed there.
    """

    call: NetworkCall
    batch: tuple[int, int]
    lane: "Lane | None" = field(default=None, eq=False)

    def start(self, batch: "Collated") -> "Callable[[], Numbers]":
        """Begin one pass; what comes back waits for its outputs, and may be called in another thread."""
        with calling(self.call):
            outputs = self.call(batch.tensors if self.lane is None else self.lane.send(batch))
        if not isinstance(outputs, Mapping):
            raise UserError(f"the network returned {a_value(outputs)} where a dict is needed")
        for name, tensor in outputs.items():
            if not hasattr(tensor, "numpy"):
                raise UserError(f"the network returned {a_value(tensor)} as {name!r} where a tensor is needed")
        if self.lane is not None:
            return self.lane.fetch(outputs)
        return lambda: {name: tensor.numpy() for name, tensor in outputs.items()}

    def passes(self, items: Sequence[T]) -> Iterator[tuple[list[T], int]]:
        """Split a batch into (pass, how many of it count); a pass that is too small repeats its last item."""
        least, most = self.batch
        for at in range(0, len(items), most):
            part = list(items[at : at + most])
            yield part + part[-1:] * (least - len(part)), len(part)

    def __call__(self, tensors: "Mapping[str, torch.Tensor]") -> "Mapping[str, torch.Tensor]":
        """As a NetworkCall for any batch: in passes, put together again."""
        import torch

        size = len(next(iter(tensors.values())))
        if self.batch[0] <= size <= self.batch[1]:
            return self.call(tensors)
        outputs = []
        for rows, count in self.passes(range(size)):
            part = self.call({name: tensor[torch.tensor(rows)] for name, tensor in tensors.items()})
            outputs.append({name: tensor[:count] for name, tensor in part.items()})
        return {name: torch.cat([part[name] for part in outputs]) for name in outputs[0]}


def load_network(engine: Engine, module: ExportableModule) -> LoadedNetwork:
    """Make an estimator's network ready. On a CPU all passes have one size (:func:`cpu_pass`)."""
    least, most = engine.config.batch
    if engine.config.device == "cpu":
        least = most = min(max(cpu_pass(module), least), most)
    return LoadedNetwork(loaded(engine, module), (least, most), _lane(engine.config.device))


def loaded(engine: Engine, module: ExportableModule) -> NetworkCall:
    """A network on an engine; UserError naming the engine's method if it fails."""
    with calling(engine.load):
        call = engine.load(module)
    if not callable(call):
        raise UserError(f"{name_of(engine.load)} returned {a_value(call)} where a function of tensors is needed")
    return call


def _lane(device: str) -> "Lane | None":
    """Of a GPU that torch knows; other devices are given main memory."""
    import torch

    from posesyn_core.engines.transfer import Lane

    return Lane(torch.device(device)) if device.startswith("cuda") and torch.cuda.is_available() else None


def check_batch(module: ExportableModule, tensors: "Mapping[str, torch.Tensor]", batch: tuple[int, int]) -> None:
    """UserError if the ``tensors`` of one call hold more or fewer samples than the network was made ready for."""
    size = len(next(iter(tensors.values())))
    if not batch[0] <= size <= batch[1]:
        raise UserError(
            f"the network {module.name!r} was made ready for batches of {batch[0]} to {batch[1]} samples and got "
            f"{size}; set the engine's batch = [{min(size, batch[0])}, {max(size, batch[1])}]"
        )
