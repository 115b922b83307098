"""Decoding whatever people's folders hold, encoding, and drawing skeletons."""

import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posesyn_core import Sample, SampleError
from posesyn_core.files.images import (
    as_jpeg,
    decode_image,
    encode_jpeg,
    encode_png,
    image_size,
    load_image,
    read_encoded,
    storage_of,
    upright_size,
)
from posesyn_core.files.upright import Storage
from posesyn_core.geometry.skeletons import COCO17

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A smooth picture without symmetry, (48, 64, 3)."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([4 * x, 5 * y, 2 * x + y], -1).astype(np.uint8)


def saved(image: PIL.Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_png_comes_back_exactly(picture: np.ndarray) -> None:
    decoded = decode_image(encode_png(picture))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, picture)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_forms_come_back_exactly(picture: np.ndarray, form: str) -> None:
    assert np.array_equal(decode_image(saved(PIL.Image.fromarray(picture), form)), picture)


@pytest.mark.parametrize(
    ("form", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("GIF", {})]
)
def test_lossy_forms_come_back_nearly(picture: np.ndarray, form: str, options: dict[str, object]) -> None:
    decoded = decode_image(saved(PIL.Image.fromarray(picture), form, **options))
    assert np.abs(decoded.astype(int) - picture).mean() < 8


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_grey_palette_and_alpha_become_rgb(picture: np.ndarray, mode: str) -> None:
    image = PIL.Image.fromarray(picture).convert(mode)
    assert np.array_equal(decode_image(saved(image, "PNG")), np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_not_blended(picture: np.ndarray) -> None:
    transparent = np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)])
    assert np.array_equal(decode_image(saved(PIL.Image.fromarray(transparent), "PNG")), picture)


def test_cmyk_jpeg(picture: np.ndarray) -> None:
    cmyk = PIL.Image.fromarray(picture).convert("CMYK")
    assert np.abs(decode_image(saved(cmyk, "JPEG", quality=95)).astype(int) - picture).mean() < 8


def test_16_bits_are_scaled_to_8(picture: np.ndarray) -> None:
    import cv2

    deep = picture.astype(np.uint16) * 257
    encoded = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    assert np.abs(decode_image(encoded).astype(int) - picture).max() <= 1
    grey = saved(PIL.Image.fromarray(deep[..., 0]), "PNG")
    assert np.abs(decode_image(grey).astype(int) - picture[..., :1]).max() <= 1


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture under each EXIF orientation."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(picture: np.ndarray, orientation: int, form: str, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    stored = PIL.Image.fromarray(np.ascontiguousarray(TURNED[orientation](picture)))
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(form, {"quality": 95})
    data = saved(stored, form, exif=exif, **options)
    decoded = decode_image(data)
    assert decoded.shape == picture.shape
    assert np.abs(decoded.astype(int) - picture).mean() < 4
    assert image_size(data) == stored.size
    assert upright_size(data) == picture.shape[1::-1]
    (tmp_path / "picture").write_bytes(data)
    storage = storage_of(tmp_path / "picture")
    assert storage == Storage(orientation, *stored.size)
    assert storage.upright_size == picture.shape[1::-1]
    jpeg = as_jpeg(data)
    assert image_size(jpeg) == upright_size(jpeg) == picture.shape[1::-1]


HEIC = Path(__file__).with_name("heic")
"""``picture`` as an iPhone stores it: upright, turned, mirrored (which decoders undo)."""


@pytest.mark.parametrize(
    ("name", "orientation", "seen"),
    [("upright", 1, lambda a: a), ("turned", 8, lambda a: np.rot90(a, 1)), ("mirrored", 2, lambda a: a[:, ::-1])],
)
def test_heic_is_read_as_it_is_meant_to_be_seen(picture: np.ndarray, name: str, orientation: int, seen: Any) -> None:
    pytest.importorskip("pi_heif")
    path, wanted = HEIC / f"{name}.heic", seen(picture).astype(int)
    decoded = load_image(path)
    assert decoded.shape == wanted.shape and np.abs(decoded - wanted).mean() < 4
    assert storage_of(path) == Storage(orientation, *picture.shape[1::-1])
    assert upright_size(path.read_bytes()) == wanted.shape[1::-1]
    assert np.abs(decode_image(as_jpeg(path.read_bytes())).astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("order", [b"irot", b"imir", b"irotimir", b"imirirot"])
@pytest.mark.parametrize("axis", [0, 1])
def test_heic_tells_how_its_pixels_are_turned(picture: np.ndarray, turns: int, order: bytes, axis: int) -> None:
    """Whatever the file asks its decoder to do, in whatever order, brings the stored picture onto the upright one."""
    pytest.importorskip("pi_heif")
    values = {b"irot": turns, b"imir": axis}
    data = turned_heic([(order[at : at + 4], values[order[at : at + 4]]) for at in range(0, len(order), 4)])
    seen = decode_image(data).astype(int)
    storage = storage_of(data)
    assert (storage.width, storage.height) == picture.shape[1::-1] and storage.upright_size == seen.shape[1::-1]
    assert np.abs(storage.pixels(picture).astype(int) - seen).mean() < 4


def turned_heic(steps: list[tuple[bytes, int]]) -> bytes:
    """``picture`` with these properties in place of the one quarter of turned.heic."""
    data = (HEIC / "turned.heic").read_bytes()
    boxes = b"".join(struct.pack(">I4sB", 9, kind, value) for kind, value in steps)
    listed = bytes(0x80 | 6 + at for at in range(len(steps)))
    more = 9 * (len(steps) - 1), len(steps) - 1
    for name, size, change in (
        (b"meta", 456, sum(more)), (b"iprp", 263, sum(more)), (b"ipco", 230, more[0]), (b"ipma", 25, more[1]),
    ):  # fmt: skip
        data = data.replace(struct.pack(">I4s", size, name), struct.pack(">I4s", size + change, name))
    data = data.replace(struct.pack(">I4sB", 9, b"irot", 1), boxes)
    data = data.replace(bytes.fromhex("06810203058486"), bytes([5 + len(steps)]) + bytes.fromhex("8102030584") + listed)
    place = struct.pack(">I", 0x1EC)  # of the pixels, in iloc
    return data.replace(place, struct.pack(">I", 0x1EC + sum(more)))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_damaged_heic_is_refused(share: float) -> None:
    pytest.importorskip("pi_heif")
    data = (HEIC / "turned.heic").read_bytes()
    with pytest.raises(SampleError):
        decode_image(data[: int(share * len(data))])
    with pytest.raises(SampleError):
        decode_image(data[:24] + bytes(99))


def test_heic_without_its_decoder_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    for look in (decode_image, storage_of):
        with pytest.raises(SampleError, match=r"HEIC.*pip install 'posesyn\[heif\]'"):
            look((HEIC / "turned.heic").read_bytes())


def test_avif_in_the_form_of_heic_is_avif(picture: np.ndarray) -> None:
    data = saved(PIL.Image.fromarray(picture), "AVIF", quality=95)
    assert data[8:12] == b"avif"
    other = data[:8] + b"mif1" + data[12:]
    assert np.array_equal(decode_image(other), decode_image(data))


def test_a_file_that_is_far_too_large_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(3 << 30)
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(SampleError, match="larger than 1024 MiB"):
        load_image(tmp_path / "large.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_and_boxes_follow_their_pixels(picture: np.ndarray, orientation: int) -> None:
    stored = np.ascontiguousarray(TURNED[orientation](picture))
    storage = Storage(orientation, *stored.shape[1::-1])
    marks = np.array([[0, 0], [stored.shape[1] - 1, 0], [7, 11], [20, 30]], np.float32)
    x, y = storage.points(marks).astype(int).T
    assert np.array_equal(picture[y, x], stored[marks[:, 1].astype(int), marks[:, 0].astype(int)])
    x0, y0, x1, y1 = storage.box([7, 11, 20, 30]).astype(int)
    assert (x0 < x1) and (y0 < y1)
    inner = stored[11:31, 7:21]
    assert np.array_equal(picture[y0 : y1 + 1, x0 : x1 + 1].sum((0, 1)), inner.sum((0, 1)))
    assert storage.mirrored == (orientation in (2, 4, 5, 7))
    order = storage.order(COCO17)
    assert COCO17.joints[order[1]] == ("right_eye" if storage.mirrored else "left_eye")


def test_broken_exif_data_count_as_upright(picture: np.ndarray) -> None:
    data = saved(PIL.Image.fromarray(picture), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01")
    assert np.array_equal(decode_image(data), picture)
    assert storage_of(data) == Storage(1, 64, 48)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_truncated_images_are_refused(form: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    data = saved(PIL.Image.fromarray(noise), form)
    with pytest.raises(SampleError):
        decode_image(data[: int(share * len(data))])


def test_a_real_jpeg_cut_in_half_is_not_half_grey(shared: Path) -> None:
    data = next((shared / "data/images/mpii").glob("*.jpg")).read_bytes()
    assert decode_image(data).std() > 0
    for cut in (data[: len(data) // 2], data[:-2], data[: len(data) // 2] + bytes(len(data) // 2)):
        with pytest.raises(SampleError, match="truncated"):
            decode_image(cut)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>404</html>" * 20, "not an image"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        decode_image(data)


@pytest.mark.parametrize("side", [9_000, 14_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    bomb = saved(PIL.Image.new("1", (side, side)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(SampleError, match="80 million pixels"):
        decode_image(bomb)


def test_float_pixels_are_refused_with_their_mode(picture: np.ndarray) -> None:
    data = saved(PIL.Image.fromarray(picture[..., 0].astype(np.float32)), "TIFF")
    with pytest.raises(SampleError, match="F pixels"):
        decode_image(data)


@settings(max_examples=60, deadline=None)
@example("BMP", 245, 28)  # a height that OpenCV refuses by raising
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), st.integers(0, 2**32), st.integers(1, 30))
def test_damage_gives_an_image_or_a_sample_error(form: str, seed: int, faults: int) -> None:
    rng = np.random.default_rng(seed)
    data = np.frombuffer(saved(PIL.Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)), form), np.uint8).copy()
    data[rng.integers(0, len(data), faults)] = rng.integers(0, 255, faults)
    try:
        assert decode_image(data.tobytes()).ndim == 3
    except SampleError as error:
        assert str(error)


def test_encoding_is_deterministic_and_quality_counts(picture: np.ndarray) -> None:
    assert encode_jpeg(picture) == encode_jpeg(picture.copy())
    assert encode_png(picture) == encode_png(picture.copy())
    assert len(encode_jpeg(picture, 50)) < len(encode_jpeg(picture, 95))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_only_rgb_is_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_jpeg(np.zeros(shape, np.uint8))


def test_as_jpeg_keeps_an_upright_jpeg_and_converts_the_rest(picture: np.ndarray) -> None:
    jpeg = encode_jpeg(picture)
    assert as_jpeg(jpeg) is jpeg
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    turned = as_jpeg(saved(PIL.Image.fromarray(picture), "JPEG", exif=exif))
    assert image_size(turned) == (48, 64)
    assert upright_size(saved(PIL.Image.fromarray(picture), "JPEG", exif=exif)) == (48, 64)
    assert upright_size(encode_png(picture)) == (64, 48)
    for other in (encode_png(picture), saved(PIL.Image.fromarray(picture).convert("CMYK"), "JPEG")):
        converted = as_jpeg(other)
        assert image_size(converted) == (64, 48)
        assert np.abs(decode_image(converted).astype(int) - picture).mean() < 8


def test_a_sample_loads_its_image_from_a_path_or_bytes(picture: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(picture))
    for image in (tmp_path / "a.png", encode_png(picture)):
        sample = Sample("a", image, [0, 0, 9, 9], "coco17", np.zeros((17, 2)), np.zeros(17))
        assert np.array_equal(load_image(sample.image), picture)


def test_what_is_no_file_is_a_sample_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name, reason in (("gone.jpg", "No such file"), (".", "no regular file"), ("pipe.jpg", "no regular file"),
                         ("loop.jpg", "can't be read"), ("a\0b.jpg", "can't be read")):  # fmt: skip
        with pytest.raises(SampleError, match=reason):
            read_encoded(tmp_path / name)
    with pytest.raises(SampleError, match="no regular file"):
        read_encoded(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["png_69_bytes_takes_4GB.png", "photo_idat_length_bit.png", "truncated.png"])
def test_damaged_pictures_of_public_reports_are_refused_before_memory_is_taken(shared: Path, name: str) -> None:
    with pytest.raises(SampleError, match="truncated, or damaged"):
        decode_image((shared / "field/damaged" / name).read_bytes())
