"""The LSPET reader on a small instance of the official layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.lspet import LspetConfig, LspetReader
from tests.plugins.posesyn_datasets.overlays import drawn


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(LspetReader(LspetConfig(root, **options)).samples())


def joints(people: int = 2) -> np.ndarray:
    """(14, 3, N) as in joints.mat: joint k of person n at (10 n + k, 2 k), neck and head top 13 px apart."""
    rows = np.zeros((14, 3, people))
    rows[:, 0] = np.arange(14)[:, None] + 10 * np.arange(people)
    rows[:, 1] = 2 * np.arange(14)[:, None]
    rows[13, :2] = rows[12, :2] + np.array([[5.0], [12.0]])
    rows[:, 2] = 1
    return rows


def write(root: Path, rows: Any, photo: bytes, name: str = "images/im{:05d}.jpg") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / "joints.mat", {"joints": rows})
    for at in range(rows.shape[-1]):
        (root / name.format(at + 1)).write_bytes(photo)


@pytest.mark.parametrize("name", ["images/im{:05d}.jpg", "im{:05d}.png"])
def test_people_are_read_with_their_head_sizes(root: Path, photo: bytes, name: str) -> None:
    rows = joints()
    rows[0, 2, 1] = 0
    write(root, rows, photo, name)
    samples = [sample for sample in read(root) if isinstance(sample, Sample)]
    assert [sample.id for sample in samples] == ["lspet/all/im00001", "lspet/all/im00002"]
    for at, sample in enumerate(samples):
        assert sample.image == root / name.format(at + 1)
        assert load_image(sample.image).shape == (60, 80, 3)
        drawn(sample)
        assert sample.joint_set == "lsp14"
        assert sample.head_size == pytest.approx(13)
        assert sample.keypoints2d[1:] == pytest.approx(rows[1:, :2, at])
    assert samples[1].confidence.tolist() == [0] + [1] * 13


def test_without_neck_or_head_there_is_no_head_size(root: Path, photo: bytes) -> None:
    rows = joints(3)
    rows[12, 2, 0] = rows[13, 2, 1] = 0
    rows[13, :2, 2] = rows[12, :2, 2]
    write(root, rows, photo)
    assert [sample.head_size for sample in read(root) if isinstance(sample, Sample)] == [None] * 3


def test_a_broken_person_is_refused_and_the_next_one_read(root: Path, photo: bytes) -> None:
    rows = joints(3)
    rows[:, 2, 0] = 0
    rows[4, 0, 1] = np.nan
    write(root, rows, photo)
    first, second, good = read(root)
    assert isinstance(first, tuple)
    assert "no visible joint" in first[1]
    assert isinstance(second, tuple)
    assert "not a number" in second[1]
    assert isinstance(good, Sample)


def test_what_is_missing_or_wrong_is_said(root: Path, photo: bytes) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"misses joints\.mat .*sam\.johnson\.io"):
        read(root)
    write(root, joints().transpose(1, 0, 2), photo)  # the layout of LSP, not of LSPET
    with pytest.raises(UserError, match=r"'joints' .* must be 14 x 3 x any, not 3 x 14 x 2"):
        read(root)
    with pytest.raises(UserError, match="option 'images'"):
        write(root, joints(), photo)
        read(root, images="none")


def test_the_protocol_is_the_papers() -> None:
    assert LspetReader(LspetConfig(Path())).protocol.pckh == 0.6
