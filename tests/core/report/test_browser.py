"""The page in a browser: a headless Chromium draws what can be turned and what can be opened."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from posesyn_core.files.images import load_image
from posesyn_core.pipeline.run import Run
from posesyn_core.report.page import write_report
from posesyn_core.values import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = ("--headless", "--no-sandbox", "--hide-scrollbars", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader", "--virtual-time-budget=2500")  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def shot(page: Path, place: str, out: Path, size: tuple[int, int] = (900, 700)) -> Image:
    """The window after ``page#place`` has been opened."""
    assert CHROMIUM is not None
    target = [f"--window-size={size[0]},{size[1]}", f"--screenshot={out}", f"{page.as_uri()}#{place}"]
    subprocess.run([CHROMIUM, *SWITCHES, f"--user-data-dir={out}.profile", *target], check=True, capture_output=True,
                   timeout=120)  # fmt: skip
    return load_image(out)


def share_of(image: Image, colour: tuple[int, int, int], within: int = 60) -> float:
    """How much of the picture has nearly that colour."""
    return float((np.abs(image.astype(int) - colour).max(-1) < within).mean())


@pytest.fixture(scope="module")
def page(complete_run: Run) -> Path:
    return write_report(complete_run)


def test_a_motion_is_drawn_in_3d_from_a_file(page: Path, tmp_path: Path) -> None:
    drawn = shot(page, "turn=0", tmp_path / "turn.png")
    assert share_of(drawn, (64, 132, 255)) > 3e-4  # the person's left, lit
    assert share_of(drawn, (255, 112, 48)) > 3e-4
    plain = shot(page, "", tmp_path / "plain.png")
    assert np.abs(drawn.astype(int) - plain).max(-1)[150:500, 100:800].astype(bool).mean() > 0.9  # the stage is open


def test_a_large_picture_stands_beside_the_real_one(page: Path, tmp_path: Path) -> None:
    """The first synthesised frame: after four mined pictures, its hard photograph and its reference."""
    drawn = shot(page, "large=6", tmp_path / "large.png")
    left, right = drawn[:, :450], drawn[:, 450:]
    for shade in ((0, 150, 230), (0, 96, 190)):
        assert share_of(left, shade, 30) > 1e-3  # labelled
    assert share_of(right, (64, 132, 255), 30) > 1e-3 and share_of(left, (64, 132, 255), 10) < 1e-3


FITS = """<script>(() => {
  const told = () => (document.body.style.background =
    document.documentElement.scrollWidth > innerWidth ? "rgb(255, 0, 0)" : "rgb(0, 255, 0)");
  addEventListener("resize", told);
  setInterval(told, 50);
})();</script></body>"""
"""Paints the page green where nothing is wider than the window, else red."""


def test_the_page_fits_a_phone(page: Path, tmp_path: Path) -> None:
    narrow = page.with_name("narrow.html")
    narrow.write_text(page.read_text().replace("</body>", FITS))
    drawn = shot(narrow, "", tmp_path / "narrow.png", (400, 700))
    narrow.unlink()
    assert share_of(drawn, (0, 255, 0), 20) > 0.02 and share_of(drawn, (255, 0, 0), 20) < 0.01
