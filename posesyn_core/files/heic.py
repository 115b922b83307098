"""HEIC, the form in which iPhones store pictures: decoded by pi-heif (the extra ``heif``) where that is installed.

How such a picture is turned is a part of it, which its decoder applies; EXIF's orientation beside it means nothing
(ISO/IEC 23008-12). What was labelled on the pixels before that is brought onto the upright picture as for every format:
the boxes ``irot`` and ``imir`` of the file's primary picture tell.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image

from posesyn_core.errors import SampleError
from posesyn_core.files import upright
from posesyn_core.values import Image

FORMAT = "HEIF"
"""What Pillow calls it."""
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF = {b"avif", b"avis"}
_ANY = {b"mif1", b"msf1"}
"""The brands of the form itself, whatever is within."""
_NAMED = 8
"""How many brands are looked at."""
_STAY, _QUARTER = np.eye(2, dtype=int), np.array([[0, 1], [-1, 0]])
_STEPS = {
    b"irot": [np.linalg.matrix_power(_QUARTER, turns) for turns in range(4)],
    b"imir": [np.diag([1, -1]), np.diag([-1, 1])],
}
"""What the boxes do to directions (x right, y down), by their value: quarters anticlockwise; top and bottom
exchanged, or left and right."""
MISSING = "a HEIC picture, which needs pi-heif: pip install 'posesyn[heif]', or convert it to JPEG or PNG"


def is_heic(data: bytes) -> bool:
    """Whether an encoded picture is one, by its first bytes; AVIF, which begins alike, is not."""
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _NAMED)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS | _ANY and not (data[8:12] in _ANY and brands & _AVIF)


def orientation_of(data: bytes) -> int:
    """EXIF's number for how the decoder turns the picture as it is stored; 1 (not at all) if the file can't tell."""
    try:
        steps = [_STEPS[kind][content[0] & (3 if kind == b"irot" else 1)] for kind, content in _transforms(data)]
    except (LookupError, struct.error):  # a damaged file, which its decoder refuses
        return upright.UPRIGHT
    (xx, xy), (yx, yy) = np.linalg.multi_dot([_STAY, *reversed(steps), _STAY]).tolist()
    return upright.orientation(xx == 0, (xx or xy) < 0, (yx or yy) < 0)


def _transforms(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes ``irot`` and ``imir`` of the primary picture with their contents, in the order of application."""
    meta = dict(_boxes(dict(_boxes(data))[b"meta"][4:]))
    properties = dict(_boxes(meta[b"iprp"]))
    known, primary = list(_boxes(properties[b"ipco"])), meta[b"pitm"]
    wanted = int.from_bytes(primary[4:], "big")
    for at in _associated(properties[b"ipma"], wanted):
        if 0 < at <= len(known) and known[at - 1][0] in _STEPS:
            yield known[at - 1]


def _associated(content: bytes, wanted: int) -> list[int]:
    """The numbers, from 1, of the properties of the item ``wanted``, in their order (the box ``ipma``)."""
    version, wide = content[0], content[3] & 1
    (count,) = struct.unpack_from(">I", content, 4)
    at, number = 8, struct.Struct(">H" if version == 0 else ">I")
    for _ in range(min(count, len(content))):
        (item,) = number.unpack_from(content, at)
        size = content[at + number.size]
        start = at + number.size + 1
        at = start + size * (1 + wide)
        if item == wanted:
            listed = struct.unpack_from(f">{size}{'H' if wide else 'B'}", content, start)
            return [each & (0x7FFF if wide else 0x7F) for each in listed]
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes in a run of bytes: kind and content."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:  # of 64 bits
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if size == 0 else at + size
        if end < start:
            return
        yield kind, data[start:end]
        at = end


def opened(data: bytes) -> PIL.Image.Image:
    """The picture, of which only the header is read. SampleError if there is no decoder."""
    try:
        from pi_heif import HeifImageFile
    except (ImportError, OSError) as error:
        raise SampleError(MISSING) from error
    return HeifImageFile(io.BytesIO(data))


def pixels(picture: Any) -> Image:
    """The pixels (H, W, 3) of an opened picture as it is meant to be seen, without alpha. SampleError if damaged."""
    try:
        return np.array(picture.convert("RGB"))
    except Exception as error:  # whatever a damaged picture leads the decoder to
        raise SampleError(f"the image can't be decoded: {error}") from error
