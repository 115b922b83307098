"""A HybrIK file with broken people (``shared/field``): refused one by one, and nothing that is no number leaves."""

import json
import shutil
from pathlib import Path

import pytest

from posesyn_core import Sample
from posesyn_core.contracts.entries import entries
from posesyn_hybrik.config import HybrikReaderConfig
from posesyn_hybrik.reader import HybrikReader


@pytest.mark.filterwarnings("ignore::posesyn_core.errors.PoseSynWarning")
def test_broken_people_are_refused_and_the_others_read(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "field/hybrik-nan/images", tmp_path / "images")
    document = json.loads((shared / "field/hybrik-nan/annotations.json").read_bytes())
    people = document["annotations"]
    people[0]["betas"].append(0.5)
    people[1]["bbox"][2:] = [0, 0]
    people[2]["cam_param"]["f"] = [float("inf"), 1000]
    people[4]["thetas"][3][1] = 10**400
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    config = HybrikReaderConfig(str(tmp_path / "annotations.json"), body="free")
    found = list(entries(HybrikReader(config)))
    reasons = {entry[0]: entry[1] for entry in found if isinstance(entry, tuple)}
    assert isinstance(found[5], Sample)
    for number, words in enumerate(
        ("(10,) is expected, not (11,)", "no area", "not finite", "not finite", "int too large"),
    ):
        assert words in reasons[f"hybrik/h36m/{number}"]
