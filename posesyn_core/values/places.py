"""Where the encoded pictures of samples lie, beside paths: at addresses, and within larger files."""

from pathlib import Path
from urllib.parse import quote, unquote

from attrs import frozen

_MARK = "/./"
"""Stands between base and name where both are stored as one text, as in rsync's paths."""
_QUOTED = ("http://", "https://")


@frozen
class Url:
    """A file at an address: on a web server, or in an object store (``s3://bucket/key``). Nothing is read yet.

    ``base`` is what the user named, which nothing leaves; ``name`` is the file's below it, as it is called there.
    :func:`posesyn_core.files.remote.below` makes one from a name that can't be trusted.
    """

    base: str
    name: str = ""

    @property
    def address(self) -> str:
        """The whole address; on web servers the name is quoted."""
        if not self.name:
            return self.base
        return f"{self.base}/{quote(self.name) if self.base.startswith(_QUOTED) else self.name}"

    @property
    def suffix(self) -> str:
        """What the name ends with: ".jpg"."""
        return Path(self.name).suffix

    def __str__(self) -> str:
        return unquote(self.address) if self.base.startswith(_QUOTED) else self.address

    def stored(self) -> str:
        """Base and name as one text, which :func:`place_of` takes apart again."""
        return f"{self.base}{_MARK}{self.name}"


@frozen
class FileSlice:
    """Some of a file's bytes, to be read when they are needed: a picture within a shard."""

    path: Path | Url
    start: int
    size: int


EncodedImage = Path | Url | bytes
"""A picture as samples carry it: its path, its address, or its bytes, encoded."""


def place_of(stored: str) -> Path | Url:
    """The path or the :class:`Url` of a stored text. Paths never have a "://", nor bases a "/./"."""
    base, mark, name = stored.partition(_MARK)
    return Url(base, name) if mark and "://" in base else Path(stored)
