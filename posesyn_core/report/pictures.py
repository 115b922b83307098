"""Photographs for the report: square crops about a person with skeletons on them, as data URIs."""

import base64
from collections.abc import Callable, Sequence

from attrs import frozen

from posesyn_core.drawing.sheets import Overlay, tile
from posesyn_core.errors import SampleError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.values import Image, LabelledFrame, Sample

QUALITY = 80


@frozen
class Picture:
    """A picture as a data URI, or the ``fault`` why there is none; ``alt`` says what it shows."""

    alt: str
    uri: str = ""
    fault: str = ""


@frozen
class Card:
    """A picture with what there is to say about it, in bold, plainly, and as an id; ``tone`` is a style class.

    ``zoom`` is what a click opens (:func:`posesyn_core.report.large.zoom`).
    """

    picture: Picture
    head: str
    note: str = ""
    id: str = ""
    tone: str = ""
    zoom: str = ""


def person(of: Sample | LabelledFrame, overlays: Sequence[Overlay], alt: str, side: int = 256) -> Picture:
    """The person's square crop, ``side`` pixels wide, with ``overlays``; an unreadable image gives the reason."""
    return encoded(lambda: tile(of, overlays, side), alt)


def encoded(draw: Callable[[], Image], alt: str) -> Picture:
    """What ``draw`` draws; where it raises a SampleError, the reason."""
    try:
        return Picture(alt, uri=data_uri(encode_jpeg(draw(), QUALITY)))
    except SampleError as error:
        return Picture(alt, fault=str(error))


def data_uri(jpeg: bytes) -> str:
    """A JPEG as it stands in a page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
