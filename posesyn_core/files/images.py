"""Encoded images <-> uint8 RGB (H, W, 3) arrays."""

import io
import stat
import struct
import warnings

import cv2
import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from posesyn_core.errors import SampleError
from posesyn_core.files import heic, remote, upright
from posesyn_core.files.paths import shown
from posesyn_core.files.sniffing import HEAD, not_data
from posesyn_core.files.upright import Storage
from posesyn_core.values import EncodedImage, FileSlice, Image, Url

MAX_PIXELS = 80_000_000
"""Larger pictures are rejected by their header alone: a file of a few kB can claim gigabytes of pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""What counts as an image. Pillow knows more, some of which (PostScript) start other programs."""

MOST_BYTES = 1 << 30
"""Larger files are rejected: the largest picture, uncompressed with 16 bits a channel, has less."""

_JPEGS = ("JPEG", "MPO")  # phones write several JPEGs into one file
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_CHECKSUM = 4
_TURNED = "posesyn_orientation"
"""Under which the orientation of a HEIC picture is kept with its header."""
_HEAD = 1 << 18
"""So many first bytes tell how a JPEG is stored."""

# What OpenCV prints about a broken file is noise: the caller gets a SampleError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")  # and so is what Pillow warns of


def load_image(image: EncodedImage | FileSlice) -> Image:
    """Read and decode the ``image`` of a sample or a labelled frame; see :func:`decode_image`."""
    return decode_image(read_encoded(image))


def decode_image(data: bytes) -> Image:
    """Decode to uint8 RGB (H, W, 3), turned upright by its EXIF orientation (or AVIF's own), in every format alike.

    16 bits a channel are scaled to 8, grey is repeated, palette and CMYK are converted, alpha is dropped (the colours
    beneath it stay). SampleError with the reason if the file is empty, no image, truncated, or over ``MAX_PIXELS``.
    """
    header = _open(data)
    storage = _storage(header)
    if header.format == heic.FORMAT:
        return _of_that_size(heic.pixels(header), storage)
    try:
        pixels: Image | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:  # it reads a broken header otherwise than Pillow, and finds an absurd size
        raise SampleError(f"the image can't be decoded: {error.err}") from error
    if pixels is None:
        raise SampleError(f"the image can't be decoded: {_complaint(header)}")
    turned = pixels if header.format == "TIFF" else storage.pixels(pixels)  # TIFF's decoder turns it itself
    return _of_that_size(turned, storage)


def _of_that_size(turned: Image, storage: Storage) -> Image:
    if turned.shape[1::-1] != storage.upright_size:
        raise SampleError(
            f"the image can't be decoded: {turned.shape[1]}x{turned.shape[0]} pixels, where its header says "
            "{}x{}".format(*storage.upright_size)
        )
    return turned


def _open(data: bytes) -> PIL.Image.Image:
    """Read the header (about 40 microseconds): is it an image, and of a size worth decoding?"""
    if not data:
        raise SampleError("the image file is empty (zero bytes)")
    try:
        header = heic.opened(data) if heic.is_heic(data) else PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except SampleError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise SampleError(_no_image(data)) from error
    except PIL.Image.DecompressionBombError as error:
        raise SampleError(f"the image has more than {MAX_PIXELS / 1e6:.0f} million pixels") from error
    except Exception as error:  # Pillow's parsers raise whatever a broken header leads them to
        raise SampleError(f"the image header can't be read: {error}") from error
    if header.width * header.height > MAX_PIXELS:
        raise SampleError(f"the image has more than {MAX_PIXELS / 1e6:.0f} million pixels")
    if header.format == "PNG":
        header.info["exif"] = _png_exif(data)
    if header.format == heic.FORMAT:
        header.info[_TURNED] = heic.orientation_of(data)
    return header


def _no_image(data: bytes) -> str:
    known = not_data(data[:HEAD])
    return f"not an image: {known}" if known else f"not an image (none of {', '.join(FORMATS)})"


def _png_exif(data: bytes) -> bytes:
    """A PNG's EXIF data; SampleError if a chunk claims to be longer than the file, which decoders would believe."""
    at, exif = len(_PNG), b""
    while at + _CHUNK.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, at)
        start, at = at + _CHUNK.size, at + _CHUNK.size + length + _CHECKSUM
        if at > len(data):
            break
        if kind == b"eXIf":
            exif = data[start : start + length]
        if kind == b"IEND":
            return exif
    raise SampleError("the image can't be decoded: it is truncated, or damaged (a part is longer than the file)")


def _storage(header: PIL.Image.Image) -> Storage:
    """How the picture is stored. An orientation that can't be read is upright."""
    if header.format == heic.FORMAT:  # whose size is the upright one
        turned = Storage(header.info[_TURNED], *header.size)
        return Storage(turned.orientation, *turned.upright_size)
    try:
        exif = header.getexif() if header.format != "PNG" else _exif(header.info["exif"])
        tag = upright.known(exif.get(upright.TAG))
        if isinstance(header, PIL.TiffImagePlugin.TiffImageFile):  # whose size is the upright one, or not, by version
            return Storage(tag, int(header.tag_v2[_TIFF_WIDTH]), int(header.tag_v2[_TIFF_HEIGHT]))
    except Exception:  # Pillow's parsers raise whatever broken EXIF data lead them to
        tag = upright.UPRIGHT
    return Storage(tag, *header.size)


def _exif(data: bytes) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif.load(data)
    return exif


def storage_of(image: EncodedImage) -> Storage:
    """How a picture is stored, from its header alone; of a JPEG only the beginning is read. SampleError if broken."""
    if isinstance(image, bytes):
        return _storage(_open(image))
    head = read_encoded(image, _HEAD)
    try:
        return _storage(_open(head if head.startswith(b"\xff\xd8") else read_encoded(image)))
    except SampleError:
        return _storage(_open(read_encoded(image)))


def _complaint(picture: PIL.Image.Image) -> str:
    """Why OpenCV, which does not say, can't read a picture."""
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


def encode_bmp(image: Image) -> bytes:
    """BMP bytes of a uint8 RGB (H, W, 3) image: lossless, large and quick, for pictures that stay in memory."""
    return _encode(".bmp", image, [])


def _encode(suffix: str, image: Image, parameters: list[int]) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()


def read_encoded(image: EncodedImage | FileSlice, most: int = MOST_BYTES + 1) -> bytes:
    """The encoded bytes (the first ``most``) of an image given by path, by address or as such.

    SampleError if the file can't be read, is larger than ``MOST_BYTES``, or no regular file, which might never end.
    """
    if isinstance(image, bytes):
        return image
    part = image if isinstance(image, FileSlice) else FileSlice(image, 0, most)
    path = part.path
    if isinstance(path, Url):
        data = remote.read(path, part.start, min(most, part.size))
        if len(data) > MOST_BYTES:
            raise SampleError(f"image {path} is larger than {MOST_BYTES >> 20} MiB")
        return data
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SampleError(f"image {shown(path.name)} is no regular file")
        if min(most, part.size, found.st_size - part.start) > MOST_BYTES:
            raise SampleError(f"image {path.name} is larger than {MOST_BYTES >> 20} MiB")
        with path.open("rb") as file:
            file.seek(part.start)
            return file.read(min(most, part.size))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SampleError(f"image {path.name} can't be read: {reason}") from error


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded image as it is stored (not turned by EXIF), from its header alone."""
    storage = _storage(_open(data))
    return storage.width, storage.height


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height of the image that :func:`decode_image` would give, from its header alone."""
    return _storage(_open(data)).upright_size


def as_jpeg(data: bytes, quality: int = 95) -> bytes:
    """Encoded image -> upright RGB JPEG; one that is so already is returned as it is, without another loss.

    SampleError as in :func:`decode_image`, except that the pixels of a JPEG that can stay are not looked at.
    """
    header = _open(data)
    if header.format in _JPEGS and header.mode == "RGB" and _storage(header).orientation == upright.UPRIGHT:
        return data
    return encode_jpeg(decode_image(data), quality)
