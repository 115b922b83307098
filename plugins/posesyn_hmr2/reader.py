"""4D-Humans' annotation files as a data set of ours."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from attrs import define

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import UserError
from posesyn_core.files import remote
from posesyn_core.files.locating import Pictures, PicturesAt, in_order
from posesyn_core.files.reading import read_each
from posesyn_core.values import FileSlice, Sample, SampleOrRejection, SmplParams, Url
from posesyn_hmr2.people import Person


@define
class Hmr2ReaderConfig:
    """Where the annotations are."""

    path: str = option("", "a shard (.tar) or a folder of shards, also at an address (s3://...); or a set (.npz)")
    images: str = option("", "folder (or address) of an evaluation set's images; empty = that of the .npz")
    follow_links: bool = follow_links("images")


@define
class Hmr2Reader:
    """Yields the people of shards and evaluation sets, in SMPL's joints.

    Of the 44 joints those that are SMPL's or a limb of the same name are taken, in 2D and (``keypoints3d``, relative
    to joint 39) in 3D. The body's place is not known: ``smpl.transl`` is 0. HMR 2.0 trains on all that the files say
    of them (``training_items``).
    """

    config: Hmr2ReaderConfig

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`."""
        for stem, person in self._people(lazily=False):
            if isinstance(person, tuple):
                yield f"hmr2/{stem}/{person[0]}", person[1]
            else:
                yield sample_of(person, f"hmr2/{stem}/{person.id}")

    @property
    def training_kind(self) -> type:
        """4D-Humans' own people: all of the 44 joints, silhouettes and how well the bodies were fitted."""
        return Person

    def training_items(self) -> Iterator[Person | tuple[str, str]]:
        """See :class:`posesyn_core.components.ReaderAbilities`; pictures stay in the shards."""
        return (person for _, person in self._people(lazily=True))

    def _people(self, lazily: bool) -> Iterator[tuple[str, Person | tuple[str, str]]]:
        """The name of each file with every person in it."""
        from posesyn_hmr2.annotations import read_npz, read_shard

        def read(file: Path | Url) -> Iterator[tuple[str, Person | tuple[str, str]]]:
            if isinstance(file, Url) or file.suffix == ".tar":
                people = read_shard(file, lazily=lazily)
            else:
                people = read_npz(file, self._pictures(file.parent))
            yield from ((_stem(file), person) for person in people)

        files = self._files()
        if any(isinstance(file, Url) for file in files):  # a line that is down is no reason to leave out a shard
            for file in files:
                yield from read(file)
        else:
            yield from read_each(
                ((_stem(file), file) for file in files), read, lambda stem, reason: (stem, ("damage", reason))
            )

    def _files(self) -> Sequence[Path | Url]:
        """The shards in natural order, or the evaluation set."""
        given = self.config.path
        if remote.is_url(given):
            found = [remote.file_at(given)] if given.endswith(".tar") else remote.listed(remote.base_of(given))
            below = {url.name: url for url in found if url.suffix == ".tar"}
            files: Sequence[Path | Url] = [below[name] for name in in_order(below)]
        else:
            path = Path(given).expanduser()
            files = in_order(path.glob("*.tar")) if path.is_dir() else [path]
        if not files or files[0].suffix not in (".tar", ".npz"):
            raise UserError(f"dataset.path {given!r} is neither a .tar or .npz nor a folder of .tar files")
        return files

    def _pictures(self, beside: Path) -> Pictures | PicturesAt:
        given = self.config.images
        if remote.is_url(given):
            return PicturesAt(remote.base_of(given))
        return Pictures(Path(given).expanduser() if given else beside, follow_links=self.config.follow_links)


def _stem(file: Path | Url) -> str:
    return PurePosixPath(file.name).stem


def sample_of(person: Person, name: str) -> Sample:
    """A person of an official file as a sample of ours."""
    from posesyn_core.files.images import read_encoded
    from posesyn_hmr2.joints import PELVIS, to_smpl

    flat, spatial = to_smpl(person.keypoints_2d), to_smpl(person.keypoints_3d)
    relative = spatial[:, :3] - person.keypoints_3d[PELVIS, :3]
    known = spatial[:, 3:] > 0
    pose = person.body_pose.reshape(24, 3)
    posed = person.has_body_pose and person.has_betas
    return Sample(
        id=name,
        image=read_encoded(person.image) if isinstance(person.image, FileSlice) else person.image,
        box=np.concatenate([person.center - person.extent / 2, person.center + person.extent / 2]),
        joint_set="smpl24",
        keypoints2d=flat[:, :2],
        confidence=flat[:, 2],
        smpl=SmplParams(pose[0], pose[1:], person.betas, np.zeros(3, np.float32)) if posed else None,
        keypoints3d=np.where(known, relative, np.nan) if known.any() else None,
    )
