"""The documentation as a web site: it builds, no link is broken, and pages made from the sources are complete."""

import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from posesyn_core.components import Kind
from posesyn_core.registry import Registry

ROOT = Path(__file__).parents[2]


class Complaints(logging.Handler):
    """What mkdocs warns of: broken links and anchors, pages that the navigation leaves out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, complaints = tmp_path_factory.mktemp("site"), Complaints()
    logging.getLogger("mkdocs").addHandler(complaints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=False))
    logging.getLogger("mkdocs").removeHandler(complaints)
    assert not complaints.messages
    yield folder


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_bundled_component_has_its_page_with_all_options(site: Path) -> None:
    registry = Registry.discover()
    for kind in Kind:
        for registered in registry.of_kind(kind):
            component = registered.component
            if registered.origin.distribution != "posesyn":
                continue
            page = site / "plugins" / component.config.__module__.split(".")[0] / "index.html"
            text = text_of(page)
            assert f"{kind.value.capitalize()} {component.name}" in text
            for field in component.config.__attrs_attrs__:
                assert field.name in text, f"{component.name}: {field.name}"


def test_the_recipe_reference_has_every_section_with_defaults(site: Path) -> None:
    text = text_of(site / "recipe" / "index.html")
    for words in ("[score]", "min_weight", "K_C, how many of the hardest", "[finetune]", "from_scratch", "[executor]"):
        assert words in text


def test_equations_are_drawn_without_a_script(site: Path) -> None:
    page = (site / "how-it-works" / "index.html").read_text()
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') >= 6
    assert "$$" not in page


def test_pages_need_no_other_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://', page.read_text()), page


def test_the_readmes_links_lead_to_pages(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert 'href="tutorial/"' in page and 'src="examples/demo.jpg"' in page
    assert (site / "examples" / "demo.jpg").is_file()


def messages() -> list[str]:
    """The messages of the first column of the tables in troubleshooting.md."""
    cells = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("message", messages())
def test_messages_that_are_explained_are_those_that_the_code_has(message: str) -> None:
    sources = [path for folder in ("posesyn_core", "plugins") for path in (ROOT / folder).rglob("*.py")]
    joined = (re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sources)
    assert any(message in text for text in joined)


def test_every_extra_stands_in_the_table_of_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = [line.split("|")[1] for line in (ROOT / "docs/installation.md").read_text().splitlines() if "| `" in line]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert told == set(extras)
