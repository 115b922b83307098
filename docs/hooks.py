"""What mkdocs adds to this folder: pages made from the sources, pages that live elsewhere, equations as MathML.

Pages made from the sources (the recipe reference, one page per plugin) say what the classes and components themselves
say, so they are never out of date.
"""

import ast
import html
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from posesyn_core.authoring.reference import Row, rows
from posesyn_core.components import Component, Kind
from posesyn_core.engines.readiness import lacking
from posesyn_core.recipe import Choice, Recipe
from posesyn_core.registry import Registered, Registry

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
    "bench/RESULTS.md": "results.md",
}
"""Pages that stand elsewhere in the repository, where readers of the sources look for them."""
ASSETS = ("examples/demo.jpg", "examples/anerf.jpg")
Packages = dict[str, list[Registered]]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a page of every package to the navigation."""
    for section in config.nav or []:
        if isinstance(section, dict) and "Plugins" in section:
            section["Plugins"] += [{name: f"plugins/{name}.md"} for name in packages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    made = {page: relinked((ROOT / source).read_text(), source) for source, page in ELSEWHERE.items()}
    made |= {"recipe.md": recipe_page()} | {f"plugins/{name}.md": plugin_page(name) for name in packages()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    for asset in ASSETS:
        files.append(File.generated(config, asset, abs_src_path=str(ROOT / asset)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Relink the pages of this folder, and draw equations without a script."""
    source = f"docs/{page.file.src_uri}"
    text = relinked(markdown, source) if (ROOT / source).is_file() else markdown
    if page.file.src_uri == "plugins.md":
        text = re.sub(r"^\| `(posesyn_\w+)` \|", r"| [`\1`](plugins/\1.md) |", text, flags=re.MULTILINE)
    return equations(text)


def equations(markdown: str) -> str:
    """``$$...$$`` and ``$...$`` outside code as MathML, which browsers draw by themselves."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else _equations(part) for part in parts)


def _equations(text: str) -> str:
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: convert(found[1].strip(), display="block"), text, flags=re.DOTALL)
    return re.sub(r"(?<![\w$])\$([^$\n]+?)\$(?!\w)", lambda found: convert(found[1]), text)


def relinked(markdown: str, source: str) -> str:
    """Links of a file of the repository as they are from its page; what has no page is named, not linked."""
    page = _page_of(source)
    depth = "../" * page.count("/")

    def link(found: "re.Match[str]") -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        place = (ROOT / source).parent.joinpath(target).resolve()
        if "://" in target or not target or not place.is_relative_to(ROOT):
            return found[0]
        path = place.relative_to(ROOT).as_posix()
        if path in ASSETS:
            return f"{text}({depth}{path})"
        return f"{text}({depth}{_page_of(path)}{anchor})" if _has_page(path) else text.strip("[]")

    return re.sub(r"(!?\[[^\]]*\])\(([^)#\s]*)(#[^)\s]*)?\)", link, markdown)


def _page_of(path: str) -> str:
    return ELSEWHERE.get(path, path.removeprefix("docs/"))


def _has_page(path: str) -> bool:
    return path in ELSEWHERE or (path.startswith("docs/") and path.endswith(".md"))


def packages() -> Packages:
    """The components of every bundled package, by its name; the core's among them."""
    found: Packages = {}
    registry = _registry()
    for registered in (each for kind in Kind for each in registry.of_kind(kind)):
        if registered.origin.distribution == "posesyn":
            found.setdefault(_package(registered.component), []).append(registered)
    return dict(sorted(found.items()))


def _registry() -> Registry:
    return Registry.discover()


def _package(component: Component) -> str:
    return component.config.__module__.split(".")[0]


def plugin_page(name: str) -> str:
    """What a package is, and each of its components: example, needs, licences, weights, options; and its parity."""
    summary = inspect.getdoc(importlib.import_module(name)) or ""
    components = packages()[name]
    parts = [f"# {name}", summary if name != "posesyn_core" else "The components that the core itself provides."]
    parts += [_component(registered) for registered in components]
    return "\n\n".join([*parts, *_parity(name)]) + "\n"


def _component(registered: Registered) -> str:
    component, registry = registered.component, _registry()
    lacks = lacking(registry, registered)
    about = (inspect.getdoc(component.config) or "").replace("``", "`")
    parts = [
        f"## {component.kind.value.capitalize()} `{component.name}`",
        _sentence(component.summary),
        _example(component),
        _bullets("Ready to run with its default options." if not lacks else "Before it runs:", lacks),
        about,
        _licences(component),
        _weights(component),
        _table(rows(component.config)) or "It has no options.",
    ]
    return "\n\n".join(part for part in parts if part)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


SECTION = {"reader": "dataset", "engine": "estimator.engine", "augmenter": "finetune.augmenter"}
"""Where a recipe names a component of a kind whose section is not called after it."""


def _example(component: Component) -> str:
    if component.kind in (Kind.KEYPOINTS, Kind.DETECTOR):
        key = "labeller" if component.kind is Kind.KEYPOINTS else "detector"
        return f'```toml\n[dataset]\nname = "images"\nroot = "/data/photos"\n{key} = "{component.name}"\n```'
    if component.kind is Kind.WRITER:
        return f'```toml\n[export]\nformats = ["{component.name}"]\n```'
    required = "".join(
        f'\n{field.name} = "..."' for field in attrs.fields(component.config) if field.default is attrs.NOTHING
    )
    section = SECTION.get(component.kind.value, component.kind.value)
    return f'```toml\n[{section}]\nname = "{component.name}"{required}\n```'


def _bullets(title: str, lacks: list[Any]) -> str:
    return "\n".join([title, *([""] if lacks else []), *(f"- {lack.what}: {lack.remedy}" for lack in lacks)])


def _licences(component: Component) -> str:
    licence = component.licence
    if licence is None:
        return ""
    named = (("code follows", licence.code), ("weights", licence.weights), ("data that you make", licence.data))
    return "\n".join(["| | licence |", "|---|---|", *(f"| {what} | {cell(text)} |" for what, text in named)])


def _weights(component: Component) -> str:
    if component.weights is None:
        return ""
    return (
        f"`posesyn weights check {component.name} FILE` tells whether a checkpoint fits, and "
        f"`posesyn weights convert {component.name} FILE OUT.safetensors` converts it."
    )


def _parity(name: str) -> Iterator[str]:
    """What its test against the official code replays: the names of the tests and of the recorded arrays."""
    path = ROOT / "tests" / "parity" / f"test_{name.removeprefix('posesyn_')}.py"
    if not path.is_file():
        return
    tree = ast.parse(path.read_text())
    claims = [
        (ast.unparse(test), ast.literal_eval(names))
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "Claims"
        if isinstance(node.value, ast.Dict)
        for test, names in zip(node.value.keys, node.value.values, strict=True)
        if test is not None and isinstance(names, ast.Constant)
    ]
    yield f"## Parity with the official code\n\n{ast.get_docstring(tree) or ''}"
    if claims:
        lines = ["| test | recorded arrays that it replays |", "|---|---|"]
        lines += [f"| {test.removeprefix('test_').replace('_', ' ')} | `{cell(names)}` |" for test, names in claims]
        yield "\n".join(lines)


def _table(options: list[Row]) -> str:
    if not options:
        return ""
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_line(row) for row in options)])


def _line(row: Row) -> str:
    return f"| `{row.name}` | {_type(row.type)} | {_default(row.default)} | {cell(row.meaning)} |"


def _type(text: str) -> str:
    if "Choice" in text or "Source" in text:
        return "components" if text.startswith("tuple") else "component"
    if text.startswith("a "):
        return text
    values = re.sub(r"Literal\[([^]]*)\]", lambda found: found[1].replace(", ", " | "), text)
    return _code(re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", values))


def _default(text: str) -> str:
    chosen = re.match(r"Choice\(name=('[^']*')", text)
    return text if text == "required" else _code(chosen[1] if chosen else text)


def _code(text: str) -> str:
    """In HTML: Markdown has no way to write a bar in code in a table."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def cell(text: str) -> str:
    """A text that fits into a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def recipe_page() -> str:
    """Every key of a recipe, from the classes that parse it."""
    sections = [field for field in attrs.fields(Recipe) if attrs.has(_class(field)) and _class(field) is not Choice]
    parts = [
        "# Recipe reference",
        "A recipe is a TOML file with these keys and sections. This page is generated from the classes that parse it; "
        "`--set section.key=value` sets a key on the command line, and an unknown key is refused.",
        "## Top level",
        _table([row for row, field in _fields(Recipe) if field not in sections]),
        "## Components",
        'A key whose value is a component takes its name (`estimator = "hmr2"`), or a section with `name`, the '
        "component's own options (see its page), `label` (what tables and files call it) and, if it has a network, a "
        "section `engine`:",
        '```toml\n[estimator]\nname = "hmr2"\nweights = "epoch=35-step=1000000.ckpt"\n\n'
        '[estimator.engine]\nname = "onnx"\nprecision = "fp32"\n```',
    ]
    for field in sections:
        cls = _class(field)
        about = inspect.getdoc(cls) or ""
        parts += [f"## `[{field.name}]`", about.replace("``", "`"), _table(rows(cls))]
    return "\n\n".join(parts) + "\n"


def _fields(cls: type) -> Iterator[tuple[Row, "attrs.Attribute[Any]"]]:
    return zip(rows(cls), attrs.fields(cls), strict=True)


def _class(field: "attrs.Attribute[Any]") -> Any:
    return field.type
