"""Curves of a training in TensorBoard. Other trackers implement the hook ``training_stepped``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from posesyn_core.errors import UserError

NOT_CURVES = ("step",)


@contextmanager
def tensorboard(folder: Path) -> Iterator[Callable[[dict[str, float]], None]]:
    """A function that writes the metrics of a step below ``folder / "tensorboard"``.

    A resumed training goes on in the same folder. UserError if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("finetune.tensorboard needs TensorBoard: pip install 'posesyn[tensorboard]'") from error
    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def write(metrics: dict[str, float]) -> None:
            for name in metrics.keys() - NOT_CURVES:
                writer.add_scalar(name, metrics[name], int(metrics["step"]))

        yield write
