"""Numbers on the command line that can't be: one sentence that names the option, exit code 2."""

import pytest

from posesyn_core.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep", "run", "--taus", "120,nan"], "--taus': 'nan' is not a number above 0"),
        (["sweep", "run", "--taus", "120,,80"], "--taus': '' is not a number above 0"),
        (["experiment", "table5", "--taus", "-3"], "--taus': '-3' is not a number above 0"),
        (["engine", "verify", "spin", "--tolerance", "inf"], "--tolerance': 'inf' is not a number above 0"),
        (["engine", "bench", "spin", "--seconds", "0"], "--seconds': '0' is not a number above 0"),
        (["engine", "bench", "spin", "--batches", "8,x"], "batch sizes must be whole numbers"),
        (["engine", "export", "spin", "--opset", "-1"], "--opset': -1 is not in the range"),
        (["engine", "export", "spin", "--ir", "x"], "--ir': 'x' is not a valid integer"),
    ],
)
def test_numbers_that_can_not_be_are_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert told in capsys.readouterr().err
