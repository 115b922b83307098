"""Large pictures for the report: what a click on a small one opens, and the skeletons that can be laid over it.

They are files beside the page, read when they are looked at: a synthesised frame is its own, a photograph gets a large
crop in ``report.files/``. Joints are given in pixels of the picture, so that the page draws them itself.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import Factory, frozen

from posesyn_core.drawing.sheets import Overlay, around
from posesyn_core.drawing.skeletons import colour_of
from posesyn_core.errors import SampleError
from posesyn_core.files.images import encode_jpeg, load_image
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry import skeletons
from posesyn_core.geometry.crops import crop
from posesyn_core.report.scenes import css
from posesyn_core.values import LabelledFrame, Sample

FILES = "report.files"
"""The folder beside the page."""
OURS = r"[0-9a-f]{20}\.jpg|[a-z]+-\d+\.js"
"""What the files in it are called."""
SIDE, QUALITY = 720, 85
View = tuple[float, float, float, float]


@frozen
class Panel:
    """A large picture: its file relative to the page, the part (x, y, width, height) of the image that it shows, in the
    image's pixels (0, 0, 0, 0 = all of it), a caption, and skeletons by name."""

    file: str
    view: View
    caption: str
    overlays: tuple[tuple[str, Overlay], ...] = ()


@frozen
class Beside:
    """Where a page's files are written (``files``, to become ``FILES``), and the run ``folder`` that it lies in.

    ``of`` tells the people of several runs apart, whose ids may be the same.
    """

    files: Path
    folder: Path
    of: str = ""
    shown: dict[str, View] = Factory(dict)
    """What of its image each written picture shows."""

    def panel(
        self, of: Sample | LabelledFrame, caption: str, overlays: Mapping[str, Overlay] = MappingProxyType({})
    ) -> Panel | None:
        """A person's panel: the image itself if it lies in the run folder, else a crop that is written.

        None if the image can't be read.
        """
        named = tuple(overlays.items())
        if isinstance(of.image, Path) and of.image.is_relative_to(self.folder):
            whole = of.image.relative_to(self.folder).as_posix()
            return Panel(whole, (0, 0, 0, 0), caption, named) if of.image.exists() else None
        name = f"{hashlib.blake2b((self.of + of.id).encode(), digest_size=10).hexdigest()}.jpg"
        if name not in self.shown:
            try:
                image = load_image(of.image)
                part = around(of.box, *image.shape[1::-1])
            except SampleError:
                return None
            write_atomic(self.files / name, encode_jpeg(crop(image, part, SIDE)[0], QUALITY))
            x, y, right, bottom = part.tolist()
            self.shown[name] = (x, y, right - x, bottom - y)
        return Panel(f"{FILES}/{name}", self.shown[name], caption, named)

    def page(self, name: str, number: int, html: str) -> None:
        """Write a further page of what the page shows in part, as ``page.js`` fetches it."""
        write_atomic(
            self.files / f"{name}-{number}.js", f"posesynPage({json.dumps(name)}, {number}, {json.dumps(html)});\n"
        )


def zoom(panels: Sequence[Panel | None]) -> str:
    """What the page needs to open panels beside each other, as JSON; empty without any."""
    shown = [panel for panel in panels if panel is not None]
    return json.dumps([_plain(panel) for panel in shown]) if shown else ""


def _plain(panel: Panel) -> dict[str, Any]:
    drawn = [_skeleton(name, overlay) for name, overlay in panel.overlays]
    view = [round(number, 1) for number in panel.view]
    return {"file": panel.file, "view": view, "caption": panel.caption, "skeletons": drawn}


def _skeleton(name: str, overlay: Overlay) -> dict[str, Any]:
    """A skeleton with None for joints that are not shown."""
    joints = skeletons.joint_set(overlay.joint_set)
    known = np.asarray(np.isfinite(overlay.joints2d).all(-1))
    if overlay.visible is not None:
        known = known & overlay.visible
    points = [
        [round(x, 1), round(y, 1)] if seen else None
        for (x, y), seen in zip(overlay.joints2d.tolist(), known.tolist(), strict=True)
    ]
    colours = [css(colour_of(joint, overlay.colours)) for joint in joints.joints]
    return {"name": name, "points": points, "bones": joints.bones, "colours": colours}
