"""Encoded images <-> uint8 RGB (H, W, 3) arrays, and skeletons drawn on them."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.skeletons import joint_set as find_joint_set
from posesyn_core.values import Image

MAX_PIXELS = 80_000_000
"""Larger pictures are refused by their header alone: a file of a few kB can claim gigabytes of pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""What counts as an image. Pillow knows more, some of which (PostScript) start other programs."""

_ORIENTATION = 0x0112
_UPRIGHT = 1

Colour = tuple[int, int, int]
LEFT: Colour = (64, 132, 255)
RIGHT: Colour = (255, 112, 48)
MIDDLE: Colour = (96, 208, 112)

# What OpenCV prints about a broken file is noise: the caller gets a SampleError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode_image(data: bytes) -> Image:
    """Decode to uint8 RGB (H, W, 3), turned upright by its EXIF orientation.

    16 bits a channel are scaled to 8, grey is repeated, palette and CMYK are converted, alpha is dropped (the colours
    beneath it stay). SampleError with the reason if the file is empty, no image, truncated, or over ``MAX_PIXELS``.
    """
    header = _open(data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return _decode_with_pillow(header) if pixels is None else pixels


def _open(data: bytes) -> PIL.Image.Image:
    """Read the header (about 40 microseconds): is it an image, and of a size worth decoding?"""
    if not data:
        raise SampleError("the image file is empty (zero bytes)")
    try:
        header = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        raise SampleError(f"not an image (none of {', '.join(FORMATS)})") from error
    except PIL.Image.DecompressionBombError as error:
        raise SampleError(f"the image has more than {MAX_PIXELS / 1e6:.0f} million pixels") from error
    except Exception as error:  # Pillow's parsers raise whatever a broken header leads them to
        raise SampleError(f"the image header can't be read: {error}") from error
    if header.width * header.height > MAX_PIXELS:
        raise SampleError(f"the image has more than {MAX_PIXELS / 1e6:.0f} million pixels")
    return header
