"""Data sets of several files: one that can't be read is refused by its name, the others are read."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from posesyn_core import Sample, SampleError, UserError
from posesyn_core.contracts.entries import entries
from posesyn_core.files.reading import read_each
from tests.harness.subjects import Reader, subjects

DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "a page": lambda data: b"<!DOCTYPE html><html><body>404</body></html>",
    "a pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
}


@frozen
class Case:
    """A subject's part that is copied from ``source`` to ``target``; ``file`` is spoilt, and ``told`` tells it."""

    file: str
    told: str
    source: str = ""
    target: str = ""
    options: Mapping[str, Any] = field(factory=dict)


CASES = {
    "humman": Case("p1_a1/cameras.json", "humman/p1_a1", "p000455_a000986", "p1_a1"),
    "panoptic": Case("171204_pose0/calibration_171204_pose0.json", "panoptic/171204_pose0", "171204_pose1",
                     "171204_pose0"),
    "3dpw": Case("sequenceFiles/test/a.pkl", "3dpw/test/a", "sequenceFiles/test/downtown_walk_00.pkl",
                 "sequenceFiles/test/a.pkl"),
    "emdb": Case("P0/a/P0_a_data.pkl", "emdb/emdb1/P0_a", "P0/09_outdoor_walk/P0_09_outdoor_walk_data.pkl",
                 "P0/a/P0_a_data.pkl"),
    "agora": Case("validation_SMPL/SMPL/validation_7_withjv.pkl", "agora/validation/validation_7_withjv",
                  "validation_SMPL/SMPL/validation_0_withjv.pkl", "validation_SMPL/SMPL/validation_7_withjv.pkl"),
    "jhmdb": Case("joint_positions/walk/a/joint_positions.mat", "jhmdb/test/walk/a"),
    "human36m": Case("S9/MyPoseFeatures/D3_Positions_mono/Directions 1.60457274.cdf",
                     "human36m/test/S9/S9_Directions_1.60457274/S9_Directions_1.60457274",
                     options={"subjects": ["S9", "S11"]}),
    "mpi_inf_3dhp": Case("TS1/annot_data.mat", "mpi_inf_3dhp/test/TS1", options={"subjects": ["TS1", "TS2"]}),
    "mpi_inf_3dhp_train": Case("S1/Seq2/annot.mat", "mpi_inf_3dhp/train/S1_Seq2"),
    "hmr2_tar": Case("a.tar", "hmr2/a/damage", "s.tar", "a.tar", {"path": "{}"}),
    "crowdnet_human36m": Case("Human36M/annotations/Human36M_subject5_data.json",
                              "crowdnet/human36m/Human36M_subject5"),
}  # fmt: skip


def written(name: str, root: Path) -> tuple[Case, Reader]:
    """The subject's files below ``root``, with a second part where it has but one."""
    subject = next(subject for subject in subjects() if subject.name == name)
    subject.write(root)
    case = CASES[name]
    if case.source:
        source, target = root / case.source, root / case.target
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    if name == "panoptic":
        (root / "171204_pose0/calibration_171204_pose1.json").rename(root / case.file)
    if name == "emdb":
        shutil.copytree(root / "P0/09_outdoor_walk/images", root / "P0/a/images")
    if name == "crowdnet_human36m":
        for path in sorted((root / "Human36M/annotations").iterdir()):
            shutil.copy(path, str(path).replace("subject1", "subject5"))
    assert isinstance(subject.read, Reader)
    return case, subject.read


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_read_is_refused_alone(tmp_path: Path, name: str, damage: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    case, reader = written(name, root)
    options = {key: str(root) if value == "{}" else value for key, value in case.options.items()}
    whole = list(entries(reader.made(root, **options)))
    (root / case.file).write_bytes(DAMAGES[damage]((root / case.file).read_bytes()))
    made = reader.made(root, **options)
    found = list(entries(made))
    told = [entry for entry in found if not isinstance(entry, Sample) and entry[0] == case.told]
    assert len(told) == 1, [entry for entry in found if not isinstance(entry, Sample)]
    kept = {entry.id for entry in found if isinstance(entry, Sample)}
    assert kept
    assert kept <= {entry.id for entry in whole if isinstance(entry, Sample)}


def test_what_is_read_comes_in_order_and_if_nothing_is_that_is_a_sentence() -> None:
    def read(file: int) -> list[str]:
        if file < 0:
            raise (SampleError if file == -1 else ValueError)(f"file {file}")
        return [f"{file}-{at}" for at in range(file)]

    def found(*files: int) -> list[str]:
        return list(read_each(((str(file), file) for file in files), read, lambda name, reason: f"{name}: {reason}"))

    assert found(-1, 2, -2, 0, 1) == ["-1: file -1", "2-0", "2-1", "-2: malformed: file -2", "1-0"]
    assert found(-1, 0) == ["-1: file -1"]
    assert found() == []
    with pytest.raises(UserError, match=r"^file -1 \(and none of 2 others of the data set can be read\)$"):
        found(-1, -2, -1)
    with pytest.raises(UserError, match=r"^malformed: file -2$"):
        found(-2)
