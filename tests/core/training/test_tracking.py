"""TensorBoard gets every curve, step by step."""

from pathlib import Path

from posesyn_core.training.tracking import tensorboard


def test_curves_can_be_read_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard(tmp_path) as write:
        write({"step": 0, "loss": 2.0})
        write({"step": 1, "loss": 1.0, "validation": 90.0})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 2.0), (1, 1.0)]
    assert [(event.step, event.value) for event in events.Scalars("validation")] == [(1, 90.0)]
    assert set(events.Tags()["scalars"]) == {"loss", "validation"}
