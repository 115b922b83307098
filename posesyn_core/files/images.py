"""Encoded images <-> uint8 RGB (H, W, 3) arrays."""

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from posesyn_core.errors import SampleError
from posesyn_core.values import Image

MAX_PIXELS = 80_000_000
"""Larger pictures are refused by their header alone: a file of a few kB can claim gigabytes of pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""What counts as an image. Pillow knows more, some of which (PostScript) start other programs."""

_ORIENTATION = 0x0112
_UPRIGHT = 1
_LYING = (5, 6, 7, 8)
"""The EXIF orientations of pictures that are stored with width and height exchanged."""

# What OpenCV prints about a broken file is noise: the caller gets a SampleError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def load_image(image: Path | bytes) -> Image:
    """Read and decode the ``image`` of a sample or a labelled frame; see :func:`decode_image`."""
    return decode_image(read_encoded(image))


def decode_image(data: bytes) -> Image:
    """Decode to uint8 RGB (H, W, 3), turned upright by its EXIF orientation.

    16 bits a channel are scaled to 8, grey is repeated, palette and CMYK are converted, alpha is dropped (the colours
    beneath it stay). SampleError with the reason if the file is empty, no image, truncated, or over ``MAX_PIXELS``.
    """
    header = _open(data)
    try:
        pixels: Image | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # it reads a broken header otherwise than Pillow, and finds an absurd size
        raise SampleError(f"the image can't be decoded: {error.err}") from error
    if pixels is None:
        raise SampleError(f"the image can't be decoded: {_complaint(header)}")
    return pixels


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


def _complaint(picture: PIL.Image.Image) -> str:
    """Why OpenCV, which does not say, refused a picture."""
    try:
        picture.load()
    except Exception as error:  # as above
        return str(error)
    return f"{picture.format} with {picture.mode} pixels is not supported"


def encode_jpeg(image: Image, quality: int = 95) -> bytes:
    """JPEG bytes of a uint8 RGB (H, W, 3) image; the same image gives the same bytes."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: Image) -> bytes:
    """PNG bytes (lossless) of a uint8 RGB (H, W, 3) image; the same image gives the same bytes."""
    return _encode(".png", image, [])


def _encode(suffix: str, image: Image, parameters: list[int]) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()


def read_encoded(image: Path | bytes) -> bytes:
    """The encoded bytes of an image given by path or as such; SampleError if the file can't be read."""
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        raise SampleError(f"image {image.name} can't be read: {error.strerror}") from error


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded image as it is stored (not turned by EXIF), from its header alone."""
    return _open(data).size


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height of the image that :func:`decode_image` would give, from its header alone."""
    header = _open(data)
    lying = header.getexif().get(_ORIENTATION, _UPRIGHT) in _LYING
    return (header.height, header.width) if lying else header.size


def as_jpeg(data: bytes, quality: int = 95) -> bytes:
    """Encoded image -> upright RGB JPEG; one that is so already is returned as it is, without another loss.

    SampleError as in :func:`decode_image`, except that the pixels of a JPEG that can stay are not looked at.
    """
    header = _open(data)
    if header.format == "JPEG" and header.mode == "RGB" and header.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT:
        return data
    return encode_jpeg(decode_image(data), quality)
