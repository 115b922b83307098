"""Where everything was rejected: the most frequent reasons on the terminal, and exit code 1."""

import json
from pathlib import Path

import pytest

from posesyn_core.cli import main
from tests.harness.runs import Finished


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A data set in which no entry can be used: pictures that are not there."""
    people = [{"image": f"{number}.jpg", "box": [5, 5, 5, 5], "keypoints": [[0, 0, 1]] * 24} for number in range(4)]
    (tmp_path / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": people}))
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        ("evaluate", 'test=[{{name="folder", root="{}"}}]'),
        ("finetune", 'real=[{{name="folder", root="{}"}}]'),
        ("finetune", 'validation={{name="folder", root="{}"}}'),
        ("score", 'dataset={{name="folder", root="{}"}}'),
    ],
)
def test_a_data_set_of_which_nothing_is_left_ends_with_its_reasons(
    finished: Finished, broken: Path, stage: str, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(finished.folder)
    with pytest.raises(SystemExit, match="1"):
        main([stage, run, "--set", setting.format(broken), "--restart", stage])
    told = capsys.readouterr().err
    assert "nothing is left" in told and "4" in told and "most often for: " in told


def test_motions_that_a_filter_drops_all_leave_nothing_to_export_and_to_train_on(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(finished.folder)
    for stage, *options in (("filter", "--set", "filter.tau=0.001"), ("export",), ("finetune",)):
        with pytest.raises(SystemExit, match="1"):
            main([stage, run, *options, "--restart", stage])
        assert "exceeds tau" in (told := capsys.readouterr().err) or "nothing is left after export" in told
