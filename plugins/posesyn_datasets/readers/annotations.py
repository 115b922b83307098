"""What all readers share: finding and loading annotation files, and turning entries into samples or rejections."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import remote
from posesyn_core.files.locating import Pictures, PicturesAt, in_order
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import read_each, read_json, reason_of
from posesyn_core.files.sniffing import head_of
from posesyn_core.values import FloatArray, Sample, SampleOrRejection

T = TypeVar("T")


def existing_root(root: Path, reader: str) -> Path:
    """``root`` if it is a folder, else UserError."""
    if not root.is_dir():
        raise UserError(f"the root {str(root)!r} of the {reader} reader is not a folder; check the path")
    return root


def find_annotations(root: Path, given: str, names: Iterable[str], *, opens_with: str, expected: str) -> Path:
    """The annotation file: ``given`` (relative to ``root``), else the first of ``names`` there is below ``root``.

    Failing those, the only JSON file in ``root`` or ``root/annotations`` whose text opens with the character
    ``opens_with`` ("[" for a list, "{" for an object). UserError saying what is ``expected`` if there is none, or
    listing the candidates if there are several.
    """
    if given:
        return existing_file(root / given, "annotation file")
    named = next((root / name for name in names if (root / name).is_file()), None)
    if named is not None:
        return named
    others = [
        path
        for folder in (root, root / "annotations")
        for path in in_order(folder.glob("*.json"))
        if _first_character(path) == opens_with
    ]
    if len(others) == 1:
        return others[0]
    if others:
        listed = ", ".join(str(path.relative_to(root)) for path in others)
        raise UserError(
            f"{str(root)!r} has several annotation files ({listed}); name one with the option 'annotations'"
        )
    raise UserError(
        f"{str(root)!r} holds no annotations; expected {expected}, or name a file with the option 'annotations'"
    )


def _first_character(path: Path) -> str:
    head = head_of(path) if path.is_file() else b""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return head.decode(encoding, "replace").lstrip()[:1]


def find_images(root: Path, given: str, names: Iterable[str], *, follow_links: bool = False) -> Pictures | PicturesAt:
    """The pictures in the image folder: ``given`` (below ``root``, or at an address), else the first of ``names``,
    else ``root``."""
    if remote.is_url(given):
        return PicturesAt(remote.base_of(given))
    if given and not (root / given).is_dir():
        raise UserError(f"the image folder {str(root / given)!r} does not exist; check the option 'images'")
    folder = given or next((name for name in names if (root / name).is_dir()), "")
    return Pictures(root / folder, follow_links=follow_links)


def load_json(path: Path, expected: str) -> Any:
    """The document in ``path``; UserError naming the file and what is ``expected`` if it can't be read or parsed."""
    return read_json(path, "annotation file", expected)


def build_each(entries: Iterable[tuple[str, T]], build: Callable[[str, T], Sample]) -> Iterator[SampleOrRejection]:
    """``build`` a sample of every (id, entry); an entry that raises anything becomes (id, reason).

    A UserError passes: it is about more than the entry.
    """
    for sample_id, entry in entries:
        try:
            sample: SampleOrRejection = build(sample_id, entry)
        except SampleError as error:
            sample = sample_id, str(error)
        except UserError:
            raise
        except Exception as error:  # whatever a broken entry leads to
            sample = sample_id, f"malformed entry: {reason_of(error)}"
        yield sample


def read_files(
    files: Iterable[tuple[str, T]], read: Callable[[T], Iterable[SampleOrRejection]]
) -> Iterator[SampleOrRejection]:
    """The entries of a data set of several files, (id, file): one that can't be read becomes (id, reason).

    UserError if none can be; see :func:`posesyn_core.files.reading.read_each`.
    """
    return read_each(files, read, lambda name, reason: (name, reason))


def as_object(entry: Any) -> dict[str, Any]:
    """``entry`` if it is a JSON object, else SampleError."""
    if not isinstance(entry, dict):
        raise SampleError(f"malformed entry: an object expected, not {str(entry)[:40]!r}")
    return entry


def key(number: Any) -> str:
    """An id as text: some tools write 7.0 for 7, or text for a number."""
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def keypoints(points: ArrayLike, confidence: ArrayLike, joints: int) -> tuple[FloatArray, FloatArray]:
    """Check labelled joints: ``points`` (J, 2) pixels and ``confidence`` (J,), 0 = no label; return both.

    Joints without a label get the coordinates 0. SampleError if the number of joints is wrong, a labelled joint is
    not finite, or no joint is labelled.
    """
    xy, c = np.asarray(points, np.float32), np.asarray(confidence, np.float32)
    if xy.shape != (joints, 2) or c.shape != (joints,):
        raise SampleError(f"{joints} joints expected, not arrays of shape {xy.shape} and {c.shape}")
    labelled = c != 0
    if not (np.isfinite(c).all() and (c >= 0).all() and np.isfinite(xy[labelled]).all()):
        raise SampleError("a labelled joint is not a number")
    if not labelled.any():
        raise SampleError("no visible joint: none is labelled")
    return np.where(labelled[:, None], xy, np.float32(0)), c
