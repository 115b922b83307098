"""What all readers share: finding and loading annotation files, and turning entries into samples or rejections."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import existing_file
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
        for path in sorted(folder.glob("*.json"))
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
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(64).lstrip()[:1]


def find_images(root: Path, given: str, names: Iterable[str]) -> Path:
    """The image folder: ``given`` (relative to ``root``), else the first of ``names`` there is, else ``root``."""
    if given:
        if not (root / given).is_dir():
            raise UserError(f"the image folder {str(root / given)!r} does not exist; check the option 'images'")
        return root / given
    return next((root / name for name in names if (root / name).is_dir()), root)


def load_json(path: Path, expected: str) -> Any:
    """The document in ``path``; UserError naming the file and what is ``expected`` if it can't be read or parsed."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"annotation file {str(path)!r} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"annotation file {str(path)!r} is not valid JSON ({error}); expected {expected}; is it complete?"
        ) from error


def build_each(entries: Iterable[tuple[str, T]], build: Callable[[str, T], Sample]) -> Iterator[SampleOrRejection]:
    """``build`` a sample of every (id, entry); an entry that can't be read becomes (id, reason)."""
    for sample_id, entry in entries:
        try:
            yield build(sample_id, entry)
        except SampleError as error:
            yield sample_id, str(error)
        except KeyError as error:
            yield sample_id, f"malformed entry: the key {error} is missing"
        except (TypeError, ValueError, IndexError, AttributeError, OSError) as error:
            yield sample_id, f"malformed entry: {error}"


def as_object(entry: Any) -> dict[str, Any]:
    """``entry`` if it is a JSON object, else SampleError."""
    if not isinstance(entry, dict):
        raise SampleError(f"malformed entry: an object expected, not {str(entry)[:40]!r}")
    return entry


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
