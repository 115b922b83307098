"""The charts: what is drawn stands for the numbers."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.geometry.skeletons import HUMANML22
from posesyn_core.report import charts

Standing = Callable[[int], np.ndarray]


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


@given(st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_inside(high: float) -> None:
    found = charts.ticks(high)
    assert 3 <= len(found) <= 6
    assert found[0] == 0 and found[-1] <= high * 1.001
    step = found[1] / 10 ** np.floor(np.log10(found[1] * 1.0001))
    assert np.isclose(step, [1, 2, 5, 10]).any()


@given(st.floats(0.5, 1e4))
def test_axes_that_count_have_whole_ticks(high: float) -> None:
    found = charts.ticks(high, whole=True)
    assert (found == found.round()).all() and len(found) <= 6


def test_a_histogram_has_an_area_that_fits_its_values() -> None:
    values = np.array([1.0] * 10 + [5.0] * 20 + [9.0] * 30)
    drawn = parse(charts.histogram(values, [], "error", "samples", "Errors"))
    heights = sorted(float(rect.attrib["height"]) for rect in drawn.iter("rect"))
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 2, 3], atol=0.02)
    assert drawn.attrib["aria-label"] == "Errors" and drawn.attrib["role"] == "img"


def test_a_value_far_out_does_not_flatten_a_histogram() -> None:
    values = np.append(np.linspace(0, 100, 500), 1e7)
    drawn = parse(charts.histogram(values, [charts.Mark(60, "here", "hard")], "error", "samples", ""))
    assert len(list(drawn.iter("rect"))) > 10
    assert any(text.text == "here" for text in drawn.iter("text"))


def test_all_values_equal_are_still_a_histogram() -> None:
    assert len(list(parse(charts.histogram(np.zeros(3), [], "", "", "")).iter("rect"))) == 1


def test_bars_are_as_long_as_their_values() -> None:
    rows = [charts.Bar("a<b", 10, "10", "w1"), charts.Bar("c", 5, "5", "w1"), charts.Bar("d", 0, "0", "w1")]
    drawn = parse(charts.bars(rows, "Three"))
    long, half, none = (float(rect.attrib["width"]) for rect in drawn.iter("rect"))
    assert long > 100 and np.isclose(half, long / 2, atol=0.1) and none == 0
    assert [text.text for text in drawn.iter("text")] == ["a<b", "10", "c", "5", "d", "0"]


def test_a_curve_passes_through_its_points_on_the_axes() -> None:
    points = np.array([[0, 0], [100, 50], [200, 100]])
    drawn = parse(charts.curve(points, points[1:2], [], "tau", "kept", "Curve"))
    line = np.array([pair.split(",") for pair in next(drawn.iter("polyline")).attrib["points"].split()], float)
    dot = numbers(next(drawn.iter("circle")), "cx", "cy")
    np.testing.assert_allclose(line[1], dot)
    np.testing.assert_allclose(line[0] + line[2], 2 * line[1], atol=0.11)
    assert line[0, 1] > line[2, 1]  # y grows upwards


def figures_of(svg: str) -> list[dict[str, np.ndarray]]:
    """The stroke ends (n, 2) of every figure's left and right side."""
    paths = list(parse(svg).iter("path"))
    found = [
        (p.attrib["class"], np.array(re.findall(r"-?\d+\.\d", p.attrib["d"]), float).reshape(-1, 2)) for p in paths
    ]
    sides = ("bone middle", "bone left", "bone right")
    return [{kind: points for kind, points in found[at : at + 3] if kind in sides} for at in range(0, len(found), 3)]


def test_a_strip_shows_eight_moments_standing_on_the_ground(standing: Standing) -> None:
    strip = charts.motion_strip(standing(40), "Lifts the left hand")
    figures = figures_of(strip)
    assert len(figures) == 8
    floor = next(line for line in parse(strip).iter("line") if line.attrib["class"] == "floor")
    ground = numbers(floor, "y1")[0]
    for figure in figures:
        feet = max(figure["bone left"][:, 1].max(), figure["bone right"][:, 1].max())
        assert abs(feet - ground) < 12  # the feet stand half a foot's breadth in front of or behind the middle
        assert (
            figure["bone left"][:, 0].mean() > figure["bone right"][:, 0].mean()
        )  # facing us, the left is on our right
    wrists = [figure["bone left"][:, 1].min() for figure in figures]
    assert wrists[-1] < wrists[0] - 30  # lifted: further up the page


def test_walking_away_does_not_leave_the_strip(standing: Standing) -> None:
    motion = standing(20)
    motion[:, :, 0] += np.linspace(0, 30, 20)[:, None]
    still, moved = figures_of(charts.motion_strip(standing(20), "")), figures_of(charts.motion_strip(motion, ""))
    for one, other in zip(still, moved, strict=True):
        np.testing.assert_allclose(one["bone right"], other["bone right"], atol=0.11)


def test_a_short_motion_has_as_many_figures_as_frames(standing: Standing) -> None:
    assert len(figures_of(charts.motion_strip(standing(3), ""))) == 3
    assert len(HUMANML22.bones) == 21
