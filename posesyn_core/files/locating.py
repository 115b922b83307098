"""Where the files of a data set lie: in the order that people give them, and found by the names annotations have."""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from attrs import frozen
from natsort import natsorted, ns

from posesyn_core.errors import PoseSynWarning, SampleError
from posesyn_core.files.paths import inside, shown
from posesyn_core.files.remote import below
from posesyn_core.values.places import Url

Named = TypeVar("Named", Path, str)

PICTURES = {
    ".avif",
    ".bmp",
    ".heic",
    ".heif",
    ".hif",
    ".jfif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
}
"""What the names of pictures end with, where a folder holds other files too."""


def in_order(names: Iterable[Named]) -> list[Named]:
    """Paths or names in natural order: frame 2 before frame 10, folder by folder. The same names, the same order."""
    return natsorted(sorted(names), key=str, alg=ns.PATH)


def files_below(root: Path, *, follow_links: bool = False) -> Iterator[Path]:
    """Every file below a folder, no folder twice; links to folders only with ``follow_links``."""
    seen: set[str] = set()
    for where, folders, files in os.walk(root, followlinks=follow_links):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(where) / name for name in files)


def links_to_folders(root: Path) -> Iterator[Path]:
    """The links that :func:`files_below` does not follow."""
    for where, folders, _ in os.walk(root):
        yield from (path for name in folders if (path := Path(where) / name).is_symlink())


class Pictures:
    """The pictures below a folder, found by the names that an annotation file has for them.

    Labelling tools write the paths of their own machine: absolute, with Windows' separators, or without the folder. A
    name that is not a file below ``root`` as it stands is searched for below it; that is told once. A picture fits if
    its path ends like the name or the name like the path, or by its last part alone if the name is an absolute path.
    Nothing outside ``root`` is ever found, but through links, and through those only with ``follow_links``.
    """

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        self.root, self.follow_links = root, follow_links
        self._below: dict[str, list[PurePosixPath]] | None = None
        self._taken: dict[Path, str] = {}

    def find(self, name: str) -> Path:
        """The path of the picture called ``name``: where it says, or the only one below that ends like it.

        A name that nothing fits gives the path where it should be. SampleError if that lies outside the folder, if
        several pictures fit, or if the one that fits is another name's.
        """
        if not isinstance(name, str):
            raise SampleError(f"malformed entry: a picture is called {str(name)[:40]!r}")
        try:
            stated = inside(self.root, name, follow_links=self.follow_links)
        except SampleError:
            if not _elsewhere(name):
                raise
            found = self._search(name)
            if found is None:
                raise
            return found
        return stated if stated.is_file() else self._search(name) or stated

    def at(self, name: str) -> Path:
        """The path of the picture (or video) ``name``, which is not searched for: data sets of a fixed layout.

        SampleError if it lies outside the folder.
        """
        return inside(self.root, name, follow_links=self.follow_links)

    def _search(self, name: str) -> Path | None:
        parts = PurePosixPath(PureWindowsPath(name).as_posix()).parts
        candidates = self._files().get(parts[-1], []) if parts else []
        fits = {path: _common_tail(parts, path.parts) for path in candidates}
        if not _elsewhere(name):
            fits = {path: fit for path, fit in fits.items() if fit in (len(parts), len(path.parts))}
        best = [path for path, fit in fits.items() if fit == max(fits.values())]
        if not best:
            return None
        if len(best) > 1:
            one, other, *_ = in_order(map(str, best))
            raise SampleError(f"the picture {shown(name)} may be {one} or {other}, both below the image folder")
        found = inside(self.root, str(best[0]), follow_links=self.follow_links)
        if not self._taken:
            self._tell(name, found)
        if self._taken.setdefault(found, name) != name:
            raise SampleError(f"the pictures {shown(self._taken[found])} and {shown(name)} would both be {found.name}")
        return found

    def _files(self) -> dict[str, list[PurePosixPath]]:
        """The files below the root by their last names."""
        if self._below is None:
            self._below = {}
            for path in files_below(self.root, follow_links=self.follow_links):
                self._below.setdefault(path.name, []).append(PurePosixPath(path.relative_to(self.root).as_posix()))
        return self._below

    def _tell(self, name: str, found: Path) -> None:
        warnings.warn(
            f"pictures are not where the annotation file says; they are taken by their names below {self.root} "
            f"({shown(name)} is {found})",
            PoseSynWarning,
            stacklevel=3,
        )


@frozen
class PicturesAt:
    """The pictures below an address, as :class:`Pictures`; nothing is searched: names must tell where they are."""

    base: Url

    def find(self, name: str) -> Url:
        """The address of the picture called ``name``. SampleError if that leads out of the base."""
        if not isinstance(name, str):
            raise SampleError(f"malformed entry: a picture is called {str(name)[:40]!r}")
        return below(self.base, name)

    at = find


def _elsewhere(name: str) -> bool:
    """Whether a name is the absolute path of another machine, which is not a way out of the root."""
    return (name.startswith(("/", "\\")) or PureWindowsPath(name).drive != "") and ".." not in PureWindowsPath(
        name
    ).parts


def _common_tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many of the last parts of two paths are equal."""
    alike = [a == b for a, b in zip(reversed(one), reversed(other), strict=False)]
    return alike.index(False) if False in alike else len(alike)
