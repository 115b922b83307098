"""The report as a browser sees it: parsed, section by section."""

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.drawing.sheets import COLUMNS, TILE
from posesyn_core.drawing.truth import write_truth_sheet
from posesyn_core.files.images import decode_image, encode_jpeg
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected
from posesyn_core.pipeline.tables import Row
from posesyn_core.report.mining import HARD_SHOWN
from posesyn_core.report.page import write_report
from posesyn_core.report.synthesis import CLIPS_PAGE, MOTIONS_PAGE
from posesyn_core.values import Motion

MakeRun = Callable[..., Run]
SECTIONS = ("result", "weakness", "mining", "motions", "frames", "passing", "fidelity", "refused", "data", "made-with")
SEPARATE = {"td", "th", "li", "p", "h3", "b", "span", "text", "div"}
VOID = {"meta", "img", "wbr", "br"}


class Page(HTMLParser):
    """The text, pictures and charts of every section; fails if a tag is not closed where it should be."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.open: list[str] = []
        self.section = "header"
        self.texts: dict[str, str] = {}
        self.tags: dict[str, list[tuple[str, dict[str, str | None]]]] = {}
        self.feed(re.sub(r"(<script[^>]*>).*?(?=</script>)", r"\1", self.source, flags=re.DOTALL))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        self.tags.setdefault(self.section, []).append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(self.section, []).append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> does not close what is open at {self.getpos()}"
        if tag in SEPARATE:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data

    def text(self, section: str) -> str:
        return " ".join(self.texts[section].split())

    def find(self, tag: str, section: str = "") -> list[dict[str, str | None]]:
        return [attrs for at, tags in self.tags.items() if section in ("", at) for name, attrs in tags if name == tag]


@pytest.fixture(scope="module")
def page(complete_run: Run) -> Page:
    return Page(write_report(complete_run))


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    assert [name for name in page.tags if name != "header"] == list(SECTIONS)
    tags = {tag for found in page.tags.values() for tag, _ in found}
    assert not tags & {"link", "iframe", "object"}
    assert not any("src" in script for script in page.find("script"))
    links = {attrs["href"] or "" for attrs in page.find("a")}
    assert links == {f"#{section}" for section in SECTIONS}
    written = re.sub(r"<script.*?</script>", "", page.source, flags=re.DOTALL)
    assert not re.search(r"https?://|@import|url\(", written)
    assert len(page.source) < 2e6


def test_every_picture_is_there_and_says_what_it_shows(page: Page) -> None:
    pictures = page.find("img")
    # Mined, captioned, then hard, reference, kept, dropped for each clip, and the sheet of the data set.
    assert len(pictures) == 4 + 2 + 2 * (1 + 1 + 3 + 3) + 1
    for picture in pictures:
        kind, _, data = (picture["src"] or "").partition(",")
        assert kind == "data:image/jpeg;base64"
        assert decode_image(base64.b64decode(data)).shape[0] in (192, 256, TILE)
        assert picture["alt"] and picture["loading"] == "lazy"
    assert all(chart["aria-label"] for chart in page.find("svg"))
    assert len(page.find("svg")) == 1 + 2 + 2 + 1


def test_the_header_counts_what_each_stage_passed_on(page: Page) -> None:
    header = page.text("header")
    for step in (
        *("5 samples scored", "2 hard", "2 easy", "2 captions", "2 motions", "2 clips", "12 frames drawn"),
        *("6 frames kept 50 % of 12 judged", "1 units rejected", "seed 5"),
    ):
        assert step in header


def test_before_and_after_is_told_as_it_came_out(page: Page) -> None:
    text = page.text("result")
    assert "+4.0 mm (+4.0 %)" in text and "-10.0 mm (-10.0 %)" in text
    assert "-4.0 mm (-5.0 %)" in text  # PA-MPJPE of posesyn
    assert "Fine-tuned on real data only: MPJPE is 4.0 mm (4.0 %) higher (worse) than as shipped." in text
    assert "MPJPE is 14.0 mm (13.5 %) lower (better) than fine-tuned on real data only." in text
    assert "20 steps, with 40 real and 6 synthesised frames" in text


def test_without_test_data_the_2d_error_still_says_how_weak(make_run: MakeRun) -> None:
    run = make_run("filter")
    run.finish("evaluate", {"variants": {}, "note": "the recipe names no test data"})
    page = Page(write_report(run))
    assert "names no [test] data" in page.text("result")
    text = page.text("weakness")
    # Joint errors 60, 30, 15, 6, 3 pixels at 15 joints each (the pelvis is the root), of a crop of 256.
    assert "off by 22.8 pixels on average" in text and "over 75 labelled joints" in text
    assert "mean 76.0 and median 50.0" in text
    assert "5 % of the crop 12.8 40.0 %" in text and "20 % of the crop 51.2 80.0 %" in text
    assert "hard: from 100" in text and "easy: up to 20" in text


def test_hard_and_easy_samples_stand_with_their_errors(page: Page) -> None:
    text = page.text("mining")
    assert "Hardest 2" in text and "Easiest 2" in text
    assert "error 200.0 60.0 px a joint pictures/a" in text
    assert text.index("error 200.0") < text.index("error 100.0") < text.index("error 10.0") < text.index("error 20.0")
    assert "labelled" in text and "predicted" in text


def test_texts_of_the_data_are_shown_and_never_run(page: Page) -> None:
    assert "A run <i>of ours</i>" in page.text("header")
    assert "squats <script>alert(1)</script>" in page.text("motions")
    assert "squats <script>alert(1)</script>" in page.text("frames")
    assert '"><img src=x onerror=alert(1)>' in page.text("mining")
    assert len(page.find("script")) == 3 and not page.find("i")  # triangles, three.js, and the page's own
    assert "alert(1)" not in "".join(re.findall(r"<script.*?</script>", page.source, flags=re.DOTALL))
    assert all("onerror" not in attrs for attrs in page.find("img"))


def test_kept_frames_stand_next_to_dropped_ones_with_error_and_reason(page: Page) -> None:
    text = page.text("frames")
    assert "3 of 6 frames kept; joints -> SMPL residual 12.5 mm" in text
    assert "kept, 119 mm dropped, 121 mm 3D error 121.0 mm exceeds tau = 120 mm" in text
    classes = [attrs.get("class") for attrs in page.find("figure", "frames")]
    assert classes.count("tag kept") == classes.count("tag dropped") == 6


def test_pass_rates_stand_beside_those_of_the_paper(page: Page) -> None:
    text = page.text("passing")
    for row in ("200 mm 83.3 % 72.6 %", "120 mm 50.0 % 45.7 %", "80 mm 16.7 % 28.2 %", "40 mm 16.7 % 6.6 %"):
        assert row in text
    assert [attrs.get("class") for attrs in page.find("tr", "passing")].count("chosen") == 1
    assert len(page.find("circle", "passing")) == 5


def test_a_summed_error_is_not_compared_with_the_paper(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(overrides=["filter.name=tpe_error", "filter.reduction=sum", "filter.tau=150"])))
    text = page.text("passing")
    assert "summed over the joints" in text and "150 mm" in text and "tau = 150 mm" in text
    assert "paper" not in text and not page.find("circle", "passing")


def test_refused_units_are_counted_by_reason(make_run: MakeRun) -> None:
    run = make_run()
    boxes = [Row(f"clip{at}", rejected=f"joints -> SMPL residual {60 + at} mm > 60 mm") for at in range(120)]
    run.clips.write_part(1, boxes)
    page = Page(write_report(run))
    text = page.text("refused")
    assert "121 units" in text and "The first 100" in text
    assert "120 animate joints -> SMPL residual … mm > … mm" in text
    assert "1 score the image file is empty (zero bytes)" in text
    assert "residual 77 mm" in text and "residual 178 mm" not in text


def test_the_recipe_and_its_components_are_shown(page: Page) -> None:
    text = page.text("made-with")
    assert "tpe_error Keep frames that the estimator gets right" in text
    assert "not installed here" in text  # the other components: this registry has only the core's
    assert 'root = "pictures"' in text and "steps = 20" in text


@pytest.mark.parametrize(
    ("last", "first_missing", "empty"),
    [
        ("score", "select", ("mining", "motions", "frames", "passing")),
        ("select", "caption", ("motions", "frames", "passing")),
        ("caption", "synthesize", ("frames", "passing")),
        ("animate", "filter", ("frames", "passing")),
    ],
)
def test_a_partial_run_shows_what_there_is(
    make_run: MakeRun, last: str, first_missing: str, empty: tuple[str, ...]
) -> None:
    page = Page(write_report(make_run(last)))
    assert "not run yet" in page.text("header")
    for section in empty:
        assert "has not run yet" in page.text(section)
        assert not page.find("img", section)
    assert any(f"The stage {first_missing} has not run yet" in page.text(section) for section in SECTIONS)
    assert "off by 22.8 pixels" in page.text("weakness")


def test_a_run_that_has_not_begun_has_a_report(tmp_path: Path, make_run: MakeRun) -> None:
    from posesyn_core.pipeline.run import create_run

    fresh = create_run(tmp_path / "fresh", make_run("score").recipe, make_run("score").registry)
    page = Page(write_report(fresh))
    assert "The stage score has not run yet" in page.text("weakness")
    assert "No unit was refused" in page.text("refused")


def test_a_run_without_one_good_sample_says_so(make_run: MakeRun) -> None:
    run = make_run("score")
    run.scored.write_part(0, [Row("pictures/f", rejected="no joint is labelled")])
    page = Page(write_report(run))
    assert "No sample could be scored" in page.text("weakness")
    assert "no joint is labelled" in page.text("refused")


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_picture_that_is_gone_leaves_its_place_with_the_reason(make_run: MakeRun, damage: str) -> None:
    run = make_run()
    photo = run.folder.parent / "photo0.jpg"
    frame = next(run.clips.values()).frames[0].image
    for path in (photo, frame):
        path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:40])
    page = Page(write_report(run))
    holes = [attrs["aria-label"] for attrs in page.find("div") if attrs.get("class") == "placeholder"]
    assert len(holes) == 4  # among the hard ones, beside its motion and its clip, among the frames
    assert len(page.find("img")) == 4 + 2 + 16 + 1 - 4
    assert page.text("mining").count("no picture:") == 1


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(make_run: MakeRun) -> None:
    first = write_report(make_run()).read_bytes()
    assert write_report(make_run(name="elsewhere")).read_bytes() == first


def test_nothing_half_written_is_left(make_run: MakeRun) -> None:
    run = make_run()
    path = write_report(run)
    assert path == run.folder / "report.html"
    assert not list(run.folder.rglob("*posesyn-partial*"))


def test_many_samples_are_shown_in_part(make_run: MakeRun) -> None:
    run = make_run("score")
    hard = next(run.scored.values())
    count = HARD_SHOWN + 6
    run.selected.write_part(0, [Row(str(at), Selected(HARD, at, hard)) for at in range(count)])
    page = Page(write_report(run))
    assert f"Hardest {HARD_SHOWN} of {count} chosen" in page.text("mining")
    assert len(page.find("img", "mining")) == HARD_SHOWN


def test_a_random_choice_has_no_thresholds(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(overrides=["score.method=random"])))
    assert "at random" in page.text("mining")
    assert "hard: from" not in page.text("weakness")


def test_scores_against_another_estimator_are_told_in_its_joints(make_run: MakeRun) -> None:
    run = make_run(overrides=["score.labels=estimated_2d", "labeller=starter"])
    rows = [Row(s.sample.id, evolve(s, joint_errors=np.full(24, 8.0), compared="smpl24")) for s in run.scored.values()]
    run.scored.write_part(0, rows)
    run.selected.write_part(0, [Row("a", Selected(HARD, 0, rows[0].value))])  # type: ignore[arg-type]
    page = Page(write_report(run))
    assert f"over {5 * 23} labelled joints" in page.text("weakness")
    assert "left hand" in page.text("weakness")
    assert "8.0 px a joint" in page.text("mining")


def test_samples_of_every_data_set_are_shown_with_what_it_says_of_them(make_run: MakeRun) -> None:
    run = make_run()
    samples = [scored.sample for scored in run.scored.values()]
    write_truth_sheet(samples[:2], run.folder / "finetune", "coco")
    write_truth_sheet(samples[2:], run.folder / "evaluate", "3dpw")
    pictures = Page(write_report(run)).find("img", "data")
    assert [picture["alt"] for picture in pictures] == [
        "Mined: folder", "Real training data: coco", "Test data: 3dpw"
    ]  # fmt: skip
    sheet = decode_image(base64.b64decode((pictures[0]["src"] or "").partition(",")[2]))
    assert sheet.shape == (TILE, COLUMNS * TILE, 3)
    assert [bool((sheet[:, at * TILE : (at + 1) * TILE] < 250).any()) for at in range(COLUMNS)] == [True] * 5 + [False]


def test_frames_that_were_dropped_unwritten_are_left_out_with_a_word(make_run: MakeRun) -> None:
    run = make_run()
    for row in run.frames.values():
        if not row.verdict.keep:
            row.frame.image.unlink()  # type: ignore[union-attr]
    page = Page(write_report(run))
    classes = [attrs.get("class") for attrs in page.find("figure", "frames")]
    assert classes.count("tag kept") == 6 and "tag dropped" not in classes
    assert "Dropped frames were not written; with animate.keep_dropped" in page.text("frames")
    assert "50.0 %" in page.text("passing")  # their errors are known all the same


def opened(page: Page, section: str) -> list[list[dict[str, Any]]]:
    """What clicks on the pictures of a section open."""
    return [json.loads(attrs["data-zoom"] or "") for attrs in page.find("figure", section) if "data-zoom" in attrs]


def test_a_click_opens_the_real_picture_beside_the_synthesised_one(complete_run: Run, page: Page) -> None:
    frames = [panels for panels in opened(page, "frames") if len(panels) == 2]
    assert len(frames) == 12
    for real, made in frames:
        assert real["caption"].startswith("Real") and made["caption"].startswith("Synthesised")
        assert [skeleton["name"] for skeleton in real["skeletons"]] == ["labelled", "predicted"]
        assert [skeleton["name"] for skeleton in made["skeletons"]] == ["synthesised label"]
        for panel in (real, made):
            picture = decode_image((complete_run.folder / panel["file"]).read_bytes())
            x, y, width, height = panel["view"] if panel["view"][2] else (0, 0, *picture.shape[1::-1])
            points = np.array([point for skeleton in panel["skeletons"] for point in skeleton["points"] if point])
            inside = ((points >= (x, y)) & (points <= (x + width, y + height))).all(1)
            assert len(points) and inside.all()
            assert made["file"].startswith("animate/frames/") and real["file"].startswith("report.files/")


def test_a_run_in_the_run_folder_is_a_section_that_leads_to_its_own_page(make_run: MakeRun) -> None:
    outer, inner = make_run(), make_run(name="run/photographs")
    page = Page(write_report(outer))
    assert "#photographs" in {attrs["href"] for attrs in page.find("a")}
    text = page.text("photographs")
    assert "2 hard images became 6 labelled frames." in text and "6 frames kept" in text and "1 units rejected" in text
    assert [attrs["href"] for attrs in page.find("a", "photographs")] == []  # it has no page yet
    write_report(inner)
    page = Page(write_report(outer))
    assert [attrs["href"] for attrs in page.find("a", "photographs")] == ["photographs/report.html"]
    shown = [panel["file"] for panels in opened(page, "photographs") for panel in panels]
    assert {file.split("/")[0] for file in shown} == {"photographs", "report.files"}
    assert all((outer.folder / file).is_file() for file in shown)
    assert not Page(inner.folder / "report.html").find("a", "photographs")


def test_a_damaged_run_in_the_run_folder_is_told_and_nothing_else_is_lost(make_run: MakeRun) -> None:
    outer, inner = make_run(), make_run(name="run/photographs")
    (inner.folder / "recipe.toml").write_text("seed = [")
    page = Page(write_report(outer))
    assert "photographs can't be shown:" in page.text("photographs")
    assert len(page.find("img", "frames")) == 16


def test_the_picture_that_was_drawn_of_a_run_stands_on_its_page(make_run: MakeRun) -> None:
    run = make_run()
    assert not Page(write_report(run)).find("img", "header")
    (run.folder / "picture.jpg").write_bytes(encode_jpeg(np.full((40, 140, 3), 77, np.uint8)))
    (picture,) = Page(write_report(run)).find("img", "header")
    assert decode_image(base64.b64decode((picture["src"] or "").partition(",")[2])).shape == (40, 140, 3)


def test_motions_stand_page_by_page_and_can_be_turned(make_run: MakeRun, standing: Callable[[int], np.ndarray]) -> None:
    run = make_run("synthesize")
    hard, count = next(run.scored.values()), 2 * MOTIONS_PAGE + 3
    names = [f"pictures/{at}" for at in range(count)]
    samples = [evolve(hard, sample=evolve(hard.sample, id=name)) for name in names]
    run.selected.write_part(0, [Row(name, Selected(HARD, at, samples[at])) for at, name in enumerate(names)])
    run.captions.write_part(0, [Row(name, Captioned(name, f"motion {name}")) for name in names])
    motions = [Motion(f"{name}#0", name, "", standing(30), 20.0) for name in names]
    run.motions.write_part(0, [Row(motion.id, motion) for motion in motions])
    page = Page(write_report(run))
    assert len(page.find("button", "motions")) == MOTIONS_PAGE + 2 and "page 1 of 3" in page.text("motions")
    files = [(run.folder / "report.files" / f"motions-{number}.js").read_text() for number in (1, 2)]
    assert [file.count("data-scene") for file in files] == [MOTIONS_PAGE, 3]
    assert not (run.folder / "report.files" / "motions-3.js").exists()
    call = re.fullmatch(r'posesynPage\("motions", 2, (.*)\);\n', files[1], flags=re.DOTALL)
    assert call and names[-1] in json.loads(call[1]).replace("<wbr>", "")
    scene = json.loads(page.find("button", "motions")[0]["data-scene"] or "")
    moving = scene["layers"][-1]
    points = np.frombuffer(base64.b64decode(moving["points"]), "<i2").reshape(moving["frames"], 22, 3) / 1000
    np.testing.assert_allclose(points[:, 20, 1], standing(30)[::2, 20, 1], atol=1e-3)
    assert moving["fps"] == 10


def test_five_hundred_clips_stand_page_by_page_in_a_small_file(make_run: MakeRun) -> None:
    run, count = make_run(), 500
    clip, frames = next(run.clips.values()), list(run.frames.values())[:6]
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    for frame in frames:  # noise: no picture is larger
        assert isinstance(frame.frame.image, Path)
        frame.frame.image.write_bytes(encode_jpeg(noise))
    plans = [evolve(clip.plan, id=f"{at:03d}@0") for at in range(count)]
    run.clips.write_part(0, [Row(plan.id, evolve(clip, plan=plan)) for plan in plans])
    run.frames.write_part(
        0, [Row(f"{plan.id}/{one.index}", evolve(one, clip=plan.id)) for plan in plans for one in frames]
    )
    page = Page(write_report(run))
    pages = -(-count // CLIPS_PAGE)
    assert f"page 1 of {pages}" in page.text("frames") and len(page.find("blockquote", "frames")) == CLIPS_PAGE
    assert (run.folder / "report.html").stat().st_size < 5e6
    files = [(run.folder / "report.files" / f"clips-{number}.js").read_text() for number in range(1, pages)]
    assert sum(file.count("blockquote>") for file in files) == 2 * (count - CLIPS_PAGE)
    assert "499@0" in files[-1] and not (run.folder / "report.files" / f"clips-{pages}.js").exists()


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-14.0, -6.0, "cut the error by 10.0 mm (10 %)"),
        (-14.0, 6.0, "-10.0 mm, which may be chance"),
    ],
)
def test_the_summary_says_what_happened_and_what_to_do(make_run: MakeRun, low: float, high: float, told: str) -> None:
    run = make_run()
    change = {"metric": "mpjpe", "low": low, "high": high, "first": 100, "second": 90, "better": 70, "samples": 50}
    run.finish(
        "evaluate",
        {"variants": dict(run.summary("evaluate") or {})["variants"], "differences": {"world": {"shipped": [change]}}},
    )
    run.finish("export", {})
    text = summary_of(Page(write_report(run)))
    assert text.startswith("2 hard images became 6 labelled frames.") and told in text
    assert 10 <= len(text.split()) <= 26


@pytest.mark.parametrize(
    ("further", "share", "then"),
    [(-1.0, "", "try a stricter filter.tau"), (1.0, " (10 %)", "confirm with other seeds")],
)
def test_the_summary_does_not_credit_the_frames_with_what_real_data_did_alone(
    make_run: MakeRun, further: float, share: str, then: str
) -> None:
    run = make_run()
    by_variant = dict(run.summary("evaluate") or {})["variants"]
    shipped, error = by_variant["shipped"], by_variant["posesyn"]["mpjpe"]
    alone = {**by_variant["posesyn"], "mpjpe": error + further}
    change = {"metric": "mpjpe", "low": -14, "high": -6, "first": 100, "second": 90, "better": 70, "samples": 50}
    run.finish(
        "evaluate",
        {
            "variants": {**by_variant, "shipped": shipped, "real_only": alone},
            "differences": {"world": {"shipped": [change]}},
        },
    )
    run.finish("export", {})
    gain = shipped["mpjpe"] - error
    said = f"cut the error by {gain:.1f} mm{share}, real data alone by {gain - further:.1f}: {then}"
    assert said in summary_of(Page(write_report(run)))


def summary_of(page: Page) -> str:
    found = re.search(r'<p class="summary">(.*?)</p>', page.source)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("score", "posesyn resume goes on with select"),
        ("animate", "posesyn resume goes on with filter"),
        ("filter", "posesyn resume goes on with export"),
    ],
)
def test_the_summary_of_a_run_under_way_names_the_next_step(make_run: MakeRun, last: str, told: str) -> None:
    assert told in summary_of(Page(write_report(make_run(last))))


@pytest.mark.parametrize(("labels", "told"), [("estimated_2d", "2D joints that"), ("estimated_3d", "root-relative 3D")])
def test_how_table_7_is_read_is_told(make_run: MakeRun, labels: str, told: str) -> None:
    page = Page(write_report(make_run(overrides=[f"score.labels={labels}", "labeller=blazepose"])))
    assert told in page.text("mining") and "blazepose" in page.text("mining")


def test_a_plain_run_speaks_of_no_variant(make_run: MakeRun) -> None:
    assert "Table 7" not in Page(write_report(make_run())).text("mining")
