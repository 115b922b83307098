"""Lifters trained on arrays of poses: resumed bit by bit, and the tables made of it."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from attrs import evolve
from torch import Tensor

from posesyn_core.cli.main import main
from posesyn_core.errors import UserError
from posesyn_poseaug.augmentor import Precision, lifted
from posesyn_poseaug.config import MocapConfig, PoseAugConfig
from posesyn_poseaug.mocap import MocapReader
from posesyn_poseaug.tables import TABLES, table4
from posesyn_poseaug.training import Data, Schedule, Training, run
from posesyn_poseaug.weights import LIFTERS, load_network
from tests.plugins.posesyn_poseaug.motions import write_motions

CONFIG = PoseAugConfig(batch_size=32, epochs=4, warm_up=1, pool=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    path = str(write_motions(tmp_path_factory.mktemp("motions") / "motions.npz"))
    train = MocapReader(MocapConfig(path, domain="lab", cameras=2)).poses()
    test = MocapReader(MocapConfig(path, domain="wild", views="wild", cameras=1)).poses()
    return Data(train, {"wild": test}, "smpl16")


def training(data: Data, config: PoseAugConfig | None = CONFIG, epochs: int = 4) -> Training:
    torch.manual_seed(0)
    return Training(load_network("simplebaseline", "random"), data, Schedule(epochs, 1e-3, 32), 0, config)


def weights(made: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made.lifter.state_dict().items()}


def test_an_interrupted_training_goes_on_bit_by_bit(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training(data)
    lines = run(whole, tmp_path / "whole", "whole")
    broken = training(data)
    plain = Training.epoch

    def epoch(self: Training, number: int) -> dict[str, float]:
        if number == 3:
            raise KeyboardInterrupt
        return plain(self, number)

    monkeypatch.setattr(Training, "epoch", epoch)
    with pytest.raises(KeyboardInterrupt):
        run(broken, tmp_path / "broken", "broken")
    monkeypatch.setattr(Training, "epoch", plain)
    again = training(data)
    assert json.dumps(run(again, tmp_path / "broken", "again")) == json.dumps(lines)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(again)[name], value, rtol=0, atol=0)


def test_another_training_in_its_folder_is_told(data: Data, tmp_path: Path) -> None:
    run(training(data, epochs=1), tmp_path, "first")
    with pytest.raises(UserError, match="holds a training with another schedule"):
        run(training(data, epochs=2), tmp_path, "second")


def test_a_lifter_learns_alone(data: Data, tmp_path: Path) -> None:
    lines = run(training(data, None, epochs=25), tmp_path, "alone")
    assert lines[-1]["loss"] < 0.3 * lines[1]["loss"]


@pytest.mark.parametrize("name", sorted(LIFTERS))
def test_in_bfloat16_a_lifter_answers_nearly_the_same(name: str, data: Data) -> None:
    torch.manual_seed(0)
    lifter, keypoints = load_network(name, "random"), data.pairs.keypoints[:64]
    precise, quick = (lifted(lifter.eval(), keypoints, precision) for precision in get_args(Precision))
    assert quick.dtype == torch.float32
    assert 0 < float(((quick - precise).norm() / precise.norm()).detach()) < 0.05


def test_poseaug_trains_a_lifter_in_bfloat16(data: Data) -> None:
    made, precise = (training(data, evolve(CONFIG, precision=each, warm_up=0)) for each in ("bf16", "fp32"))
    losses = [made.epoch(number)["loss"] for number in (1, 2)]
    assert losses[1] < losses[0]
    assert losses != [precise.epoch(number)["loss"] for number in (1, 2)]
    assert all(weight.dtype == torch.float32 for weight in made.lifter.parameters())


def test_every_table_names_what_it_shows() -> None:
    tables = [*TABLES.values(), table4("repository", ("",)), table4("paper", ("DET", "CPN", "HR", "GT"))]
    assert sorted({table.name for table in tables}) == [f"poseaug-table{number}" for number in range(1, 8)]
    for table in tables:
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names)
        for row in table.rows:
            for data_set, figures in row.published.items():
                assert {(data_set, metric) for metric in figures} <= set(table.columns)


def test_a_table_on_motions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.npz", "val.npz"):
        write_motions(tmp_path / name)
    monkeypatch.setenv("POSESYN_MOTIONS", str(tmp_path))
    small = ["own_epochs=2", "epochs=3", "batch_size=64", "warm_up=1"]
    settings = [f"finetune.augmenter.{setting}" for setting in small] + ["estimator.width=16"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    rows = ["--rows", "Baseline", "--rows", "A: KCS"]
    command = ["experiment", "poseaug-table7", "--world", "mocap", "--run", str(tmp_path / "run")]
    for _ in range(2):  # the second time everything is there
        main([*command, *arguments, *rows])
        shown = capsys.readouterr().out
        assert "wild (3DHP)" in shown and "(86.6)" in shown and "(88.4)" in shown
    figures = json.loads((tmp_path / "run" / "poseaug-table7.json").read_text())
    assert [each["row"] for each in figures] == ["Baseline", "A: KCS"]
    assert figures[0]["figures"]["0"]["wild"]["mpjpe"] > 0


def test_a_generator_without_numbers_is_told(data: Data, tmp_path: Path) -> None:
    made = training(data, evolve(CONFIG, warm_up=4))  # the lifter itself rests
    assert made.augmentor is not None
    with torch.no_grad():
        made.augmentor.generator.RTprocess.w2_T.bias[0] = torch.nan
    with pytest.raises(
        UserError, match="the lifter: the weights are no numbers after epoch 1: lower the learning rate"
    ):
        run(made, tmp_path / "run", "the lifter")
