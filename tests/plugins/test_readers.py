"""What all readers share, on a small data set for each: how they deal with links, the order of files, and the like."""

from pathlib import Path

import pytest

from posesyn_core import Sample
from posesyn_core.components import Kind
from posesyn_core.contracts.entries import entries
from posesyn_core.files.locating import files_below
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.video import SUFFIXES
from tests.harness.subjects import PHOTO, Reader, Subject, registry, subjects

READERS = [subject for subject in subjects() if isinstance(subject.read, Reader)]
WITHOUT_FOLDER = {"hmr2_tar", "poses", "poses_spin", "mocap", "h36m_poses"}
"""Whose pictures are within other files, or that have none."""


def named(names: set[str]) -> list[Subject]:
    return [subject for subject in READERS if subject.name not in names]


def read(subject: Subject, root: Path, **options: bool) -> list[SampleOrRejection]:
    assert isinstance(subject.read, Reader)
    return list(entries(subject.read.made(root, **options)))


def filled(subject: Subject, root: Path) -> list[Sample]:
    """Write the data set, with every picture that it names; return its samples."""
    root.mkdir()
    subject.write(root)
    samples = [entry for entry in read(subject, root) if isinstance(entry, Sample)]
    for sample in samples:
        if isinstance(sample.image, Path):
            sample.image.parent.mkdir(parents=True, exist_ok=True)
            if not sample.image.exists():
                sample.image.write_bytes(PHOTO)
    return samples


def link_out(root: Path, samples: list[Sample], elsewhere: Path) -> None:
    """Put the pictures and videos elsewhere, and links into their places."""
    elsewhere.mkdir()
    pictures = {sample.image for sample in samples if isinstance(sample.image, Path)}
    videos = {path for path in files_below(root) if path.suffix in SUFFIXES}
    for number, path in enumerate(sorted(pictures | videos)):
        path.rename(elsewhere / f"{number}{path.suffix}")
        path.symlink_to(elsewhere / f"{number}{path.suffix}")


def test_every_reader_of_files_is_here() -> None:
    tried = {subject.read.name for subject in READERS if isinstance(subject.read, Reader)}
    known = {registered.component.name for registered in registry().of_kind(Kind.READER)}
    assert known - tried == {"world"}  # which is drawn


@pytest.mark.parametrize("subject", named(WITHOUT_FOLDER), ids=lambda subject: subject.name)
def test_links_out_of_the_root_are_followed_if_the_user_says_so(subject: Subject, tmp_path: Path) -> None:
    root = tmp_path / "data"
    samples = filled(subject, root)
    assert samples
    link_out(root, samples, tmp_path / "elsewhere")
    refused = read(subject, root)
    assert not [entry.id for entry in refused if isinstance(entry, Sample)]
    told = [reason for _, reason in refused if "set follow_links = true if you trust it" in reason]
    assert told, refused
    followed = [entry for entry in read(subject, root, follow_links=True) if isinstance(entry, Sample)]
    assert [sample.id for sample in followed] == [sample.id for sample in samples]
