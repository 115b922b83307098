"""HEIC, the form in which iPhones store pictures: decoded by pi-heif (the extra ``heif``) where that is installed.

How such a picture is turned is a part of it, which its decoder applies; EXIF's orientation beside it means nothing
(ISO/IEC 23000-22). So it has no other stored form, and counts as upright.
"""

import io
from typing import Any

import numpy as np
import PIL.Image

from posesyn_core.errors import SampleError
from posesyn_core.values import Image

FORMAT = "HEIF"
"""What Pillow calls it."""
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF = {b"avif", b"avis"}
_ANY = {b"mif1", b"msf1"}
"""The brands of the form itself, whatever is within."""
_NAMED = 8
"""How many brands are looked at."""
MISSING = "a HEIC picture, which needs pi-heif: pip install 'posesyn[heif]', or convert it to JPEG or PNG"


def is_heic(data: bytes) -> bool:
    """Whether an encoded picture is one, by its first bytes; AVIF, which begins alike, is not."""
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _NAMED)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS | _ANY and not (data[8:12] in _ANY and brands & _AVIF)


def opened(data: bytes) -> PIL.Image.Image:
    """The picture, of which only the header is read. SampleError if there is no decoder."""
    try:
        from pi_heif import HeifImageFile
    except (ImportError, OSError) as error:
        raise SampleError(MISSING) from error
    return HeifImageFile(io.BytesIO(data))


def pixels(picture: Any) -> Image:
    """The pixels (H, W, 3) of an opened picture as it is meant to be seen; alpha is dropped. SampleError if damaged."""
    try:
        return np.array(picture.convert("RGB"))
    except Exception as error:  # whatever a damaged picture leads the decoder to
        raise SampleError(f"the image can't be decoded: {error}") from error
