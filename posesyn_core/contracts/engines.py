"""What runs networks: the protocol of engines, and of the components whose networks they take over."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from attrs import frozen

from posesyn_core.contracts.options import option

if TYPE_CHECKING:
    import torch

NetworkCall = Callable[[Mapping[str, "torch.Tensor"]], Mapping[str, "torch.Tensor"]]

PRECISIONS = ("fp32", "fp16", "bf16")
"""In which torch computes a network; the tensors that go in and come out are float32 in each."""
INT8 = "int8"
"""What some engines compute in besides: weights and what they are multiplied by rounded to 256 levels."""
ENGINE_PRECISIONS = (*PRECISIONS, INT8)


@frozen
class ExportableModule:
    """A torch module with all that an engine has to know to take it over.

    ``example`` holds one example input per name; axis 0 of every tensor is the batch, all other axes have the
    example's size. ``keep_fp32`` names what is in float32 even in half precision, because accuracy needs it there:
    submodules (dotted, as in ``named_modules``: regressors, soft-argmax, rotation orthogonalisation, norms), parameters
    and buffers, and inputs. What leaves such a part stays in float32 until a halved part takes it.
    ``calibration`` gives typical inputs, by which :mod:`posesyn_core.engines.quantisation` chooses its levels and
    :mod:`posesyn_core.engines.rounding` how weights are rounded.
    """

    name: str
    module: "torch.nn.Module"
    example: Mapping[str, "torch.Tensor"]
    keep_fp32: tuple[str, ...] = ()
    calibration: "Callable[[], Iterable[Mapping[str, torch.Tensor]]] | None" = None


def _rising(batch: tuple[int, int]) -> str | None:
    return None if batch[0] <= batch[1] else f"must be [smallest, largest], not {list(batch)}"


@frozen
class EngineConfig:
    """The options that every engine has; an engine's own config adds to them."""

    precision: Literal["fp32", "fp16", "bf16", "int8"] = option(
        "fp32", "fp32, fp16, bf16 or, on ONNX Runtime and OpenVINO, int8; parts that need it are in fp32 all the same"
    )
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")
    batch: tuple[int, int] = option(
        (1, 64), "smallest and largest batch that the network is made ready for", least=1, check=_rising
    )


@runtime_checkable
class Engine(Protocol):
    """Runs a network: named tensors in, named tensors out."""

    @property
    def config(self) -> EngineConfig:
        """Its options; an engine's config class derives from EngineConfig."""
        ...

    def load(self, module: ExportableModule) -> NetworkCall:
        """Make ``module`` ready for batches in the config's range, in its precision and on its device.

        The result takes tensors by name, batch first, and returns tensors on the device that those were on; floats
        are float32 in any precision. A batch outside the range is a UserError (``engines.batches.check_batch``).
        """
        ...


@runtime_checkable
class Accelerated(Protocol):
    """A motion generator or animator whose networks an engine can take over."""

    def networks(self) -> Sequence[ExportableModule]:
        """The networks, each with a name of its own.

        An output named ``logits`` holds the scores of tokens; engines are judged by whether the same token is best.
        """
        ...

    def use(self, calls: Mapping[str, NetworkCall]) -> None:
        """From now on call these, by the networks' names, instead of the torch modules."""
        ...
