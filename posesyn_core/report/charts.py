"""Small SVG charts for the report: plain text out, the same numbers give the same bytes.

Colours and fonts come from the style sheet of ``report.html`` by class name; every chart carries its description.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.skeletons import HUMANML22

WIDTH, HEIGHT = 460.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 30.0, 44.0
BAR, LABEL = 22.0, 150.0
SCALE = 160.0
"""Pixels a metre in a motion strip."""


@frozen
class Mark:
    """A vertical line in a chart: where, what it says, and the style class that colours it."""

    at: float
    text: str
    tone: str


@frozen
class Bar:
    """One horizontal bar: its name, its length, what stands at its end, and the style class that colours it."""

    name: str
    value: float
    text: str
    tone: str


@frozen
class Axes:
    """Data coordinates -> pixels of a chart whose axes start at 0 and end at ``x_high`` and ``y_high``.

    An axis that counts (``whole_x``, ``whole_y``) has ticks at whole numbers alone.
    """

    x_high: float
    y_high: float
    whole_x: bool = False
    whole_y: bool = False

    def x(self, value: ArrayLike) -> NDArray[np.float64]:
        return LEFT + np.asarray(value, np.float64) / self.x_high * (WIDTH - LEFT - RIGHT)

    def y(self, value: ArrayLike) -> NDArray[np.float64]:
        return HEIGHT - BOTTOM - np.asarray(value, np.float64) / self.y_high * (HEIGHT - TOP - BOTTOM)

    def draw(self, x_label: str, y_label: str) -> Markup:
        """Grid lines, ticks and the names of both axes."""
        along, across = ticks(self.x_high, self.whole_x), ticks(self.y_high, self.whole_y)
        parts = [
            _line(LEFT, y, WIDTH - RIGHT, y, "grid") + _text(LEFT - 6, y + 4, f"{tick:g}", "end")
            for tick, y in zip(across, self.y(across), strict=True)
        ]
        parts += [
            _text(x, HEIGHT - BOTTOM + 16, f"{tick:g}", "middle") for tick, x in zip(along, self.x(along), strict=True)
        ]
        parts.append(_text(WIDTH - RIGHT, HEIGHT - 8, x_label, "end", "axis"))
        parts.append(_text(4, 13, y_label, "start", "axis"))
        return Markup("").join(parts)

    def marks(self, marks: Sequence[Mark]) -> Markup:
        """Labelled vertical lines; a label moves down a row for every mark before it, so that none overlap."""
        parts = []
        for row, mark in enumerate(sorted(marks, key=lambda mark: mark.at)):
            x = float(self.x(mark.at))
            right = x > WIDTH * 0.6
            parts.append(_line(x, TOP, x, HEIGHT - BOTTOM, f"mark {mark.tone}"))
            anchor, shift = ("end", -5) if right else ("start", 5)
            parts.append(_text(x + shift, TOP + 12 + 16 * row, mark.text, anchor, f"note {mark.tone}"))
        return Markup("").join(parts)


def ticks(high: float, whole: bool = False) -> NDArray[np.float64]:
    """Round numbers from 0 to ``high``: 3 to 6 of them, in steps of 1, 2 or 5 times a power of ten.

    Of ``whole`` numbers alone there may be fewer.
    """
    rough = high / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return np.arange(0, high * (1 + 1e-9), max(step, 1) if whole else step)


def histogram(values: NDArray[np.floating], marks: Sequence[Mark], x_label: str, y_label: str, alt: str) -> Markup:
    """How often each size of value occurs, with vertical marks. ``values`` (N,) finite, N > 0.

    A few values far out (beyond twice the 99th percentile) are counted in the last bin, lest they flatten the rest.
    """
    high = max(min(float(values.max()), 2 * float(np.percentile(values, 99))), 1e-6) * 1.02
    bins = int(np.clip(2 * np.sqrt(len(values)), 10, 40))
    counts, edges = np.histogram(np.clip(values, 0, high), bins, (0, high))
    axes = Axes(high, max(float(counts.max()) * 1.15, 1.0), whole_y=True)
    bars = (
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="fill"/>').format(
            axes.x(low) + 0.5, axes.y(count), axes.x(up) - axes.x(low) - 1, axes.y(0) - axes.y(count)
        )
        for low, up, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    )
    inside = [mark for mark in marks if 0 <= mark.at <= high]
    return _svg(axes.draw(x_label, y_label) + Markup("").join(bars) + axes.marks(inside), WIDTH, HEIGHT, alt)


def curve(
    points: NDArray[np.floating],
    dots: NDArray[np.floating],
    marks: Sequence[Mark],
    x_label: str,
    y_label: str,
    alt: str,
) -> Markup:
    """A line through ``points`` (N, 2) with separate ``dots`` (M, 2) to compare it with; y in percent."""
    axes = Axes(float(points[:, 0].max()), 100.0)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(axes.x(points[:, 0]), axes.y(points[:, 1]), strict=True))
    line = Markup('<polyline points="{}" class="line"/>').format(path)
    circles = (
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4.5" class="dot"/>').format(axes.x(x), axes.y(y)) for x, y in dots
    )
    content = axes.draw(x_label, y_label) + line + Markup("").join(circles) + axes.marks(marks)
    return _svg(content, WIDTH, HEIGHT, alt)


def lines(series: Mapping[str, NDArray[np.floating]], x_label: str, y_label: str, alt: str) -> Markup:
    """Named lines through points (N, 2) each, with their dots; the name stands at the last one."""
    everything = np.concatenate(list(series.values()))
    axes = Axes(max(float(everything[:, 0].max()), 1.0), float(everything[:, 1].max()) * 1.15, whole_x=True)
    parts = [axes.draw(x_label, y_label)]
    for name, points in series.items():
        places = list(zip(axes.x(points[:, 0]), axes.y(points[:, 1]), strict=True))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(Markup('<polyline points="{}" class="line"/>').format(path))
        parts += [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" class="spot"/>').format(x, y) for x, y in places]
        parts += [_text(x, y - 9, f"{value:.1f}", "middle") for (x, y), value in zip(places, points[:, 1], strict=True)]
        parts.append(_text(places[0][0] + 8, places[0][1] + 18, name, "start", "axis"))
    return _svg(Markup("").join(parts), WIDTH, HEIGHT, alt)


def bars(rows: Sequence[Bar], alt: str) -> Markup:
    """Horizontal bars under each other, named at the left; a bar without length still shows its text."""
    longest = max((row.value for row in rows), default=0.0) or 1.0
    reach = WIDTH - LABEL - 76
    parts = []
    for at, row in enumerate(rows):
        y, length = at * BAR, row.value / longest * reach
        parts.append(_text(LABEL - 8, y + 15, row.name, "end"))
        parts.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" class="{}"/>').format(
                LABEL, y + 3, length, BAR - 6, row.tone
            )
        )
        parts.append(_text(LABEL + length + 6, y + 15, row.text, "start", "value"))
    return _svg(Markup("").join(parts), WIDTH, max(BAR * len(rows), BAR), alt)


def motion_strip(joints: NDArray[np.floating], alt: str, figures: int = 8) -> Markup:
    """Stick figures side by side, evenly spaced in time: (L, 22, 3) metres, y up -> SVG.

    All are seen by one fixed camera, 30 degrees to the side of +z and 12 degrees from above, each from in front of its
    own place, so that the heading is true but the way travelled is not. A head's circle and a shadow are added.
    """
    count = min(figures, len(joints))
    shown = joints[np.linspace(0, len(joints) - 1, count).round().astype(int)].astype(np.float64)
    place = shown[:, :1] * (1, 0, 1)
    points = SCALE * _seen(shown - place)
    # Half the room of a figure: the same for ordinary motions, so that people look equally tall.
    half = max(float(np.abs(points[..., 0]).max()) + 12, 0.65 * SCALE)
    ground = max(float(points[..., 1].max()) + 24, SCALE)
    centres = half * (2 * np.arange(figures)[:count] + 1)
    people = (
        _figure(centre, ground, centre + x, ground - y)
        for centre, (x, y) in zip(centres, np.moveaxis(points, -1, 1), strict=True)
    )
    width = 2 * half * figures
    return _svg(_line(0, ground, width, ground, "floor") + Markup("").join(people), width, ground + 14, alt, "strip")


def _seen(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) metres about the origin -> (..., 2) right and up as the camera sees them, in metres at the origin."""
    turn, tilt, distance = np.deg2rad(30), np.deg2rad(12), 4.0
    x, y, z = np.moveaxis(points, -1, 0)
    # Looking along -z, the body's left (+x) appears on the right.
    across, towards = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
    up, near = y * np.cos(tilt) - towards * np.sin(tilt), y * np.sin(tilt) + towards * np.cos(tilt)
    return np.stack([across, up], -1) * (distance / (distance - near))[..., None]


def _figure(centre: float, ground: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> Markup:
    """One figure of a strip from the pixels (22,) of its joints: shadow, three strokes (a side each), head."""
    sides: dict[str, list[str]] = {"middle": [], "left": [], "right": []}
    for parent, child in HUMANML22.bones:
        side = HUMANML22.joints[child].partition("_")[0]
        segment = f"M{x[parent]:.1f} {y[parent]:.1f}L{x[child]:.1f} {y[child]:.1f}"
        sides[side if side in ("left", "right") else "middle"].append(segment)
    head = HUMANML22.joints.index("head")
    shadow = Markup('<ellipse cx="{:.1f}" cy="{:.1f}" rx="42" ry="9" class="shadow"/>').format(centre, ground)
    strokes = (Markup('<path d="{}" class="bone {}"/>').format("".join(d), side) for side, d in sides.items())
    skull = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="13" class="skull"/>').format(x[head], y[head])
    return shadow + Markup("").join(strokes) + skull


def _line(x0: float, y0: float, x1: float, y1: float, style: str) -> Markup:
    form = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')
    return form.format(x0, y0, x1, y1, style)


def _text(x: float, y: float, text: str, anchor: str, style: str = "label") -> Markup:
    form = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>')
    return form.format(x, y, anchor, style, text)


def _svg(content: Markup, width: float, height: float, alt: str, style: str = "chart") -> Markup:
    form = Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>')
    return form.format(style, width, height, escape(alt), content)
