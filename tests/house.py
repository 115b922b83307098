"""The house as its sources show it: which file imports which, at what time, and what that loads.

Everything is read with :mod:`ast`; nothing is imported.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT, ROOT / "plugins", ROOT / "engines")
"""Where import packages lie."""

HEAVY = frozenset(
    {
        *(
            "accelerate",
            "aiohttp",
            "av",
            "cdflib",
            "cv2",
            "diffusers",
            "embreex",
            "fsspec",
            "h5py",
            "jinja2",
            "onnx",
            "onnxruntime",
        ),
        *(
            "onnxscript",
            "pi_heif",
            "PIL",
            "pyarrow",
            "ray",
            "rich",
            "roma",
            "safetensors",
            "scipy",
            "smplx",
            "tensorboard",
        ),
        *("tensorrt", "tflite", "torch", "trimesh", "transformers", "webdataset"),
    }
)
"""Libraries that no start-up loads: a component or a command imports them when it needs them."""


@frozen
class Import:
    """One import: the module, the line, and when: "loading" the file, in a "call", for "types" only, or by "name"."""

    module: str
    line: int
    when: str


@cache
def files() -> Mapping[str, Path]:
    """Every source file of the core, the plugins and the engines by its module's name."""
    found = {}
    for folder in FOLDERS:
        for path in folder.glob("posesyn_*/**/*.py"):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    """What a file imports, and the modules whose full names stand in it as texts, to be imported by them."""
    return tuple(_imports(ast.parse(files()[module].read_text()), "loading"))


def _imports(node: ast.AST, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module is not None, "imports are absolute"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (Import(name if name in files() else child.module, child.lineno, when) for name in names)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str) and child.value in files():
            yield Import(child.value, child.lineno, "name")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, "call")
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from _imports(child, "types")
        else:
            yield from _imports(child, when)


def edges() -> dict[str, frozenset[str]]:
    """The import graph: for each file the other files of the house that it imports, whenever."""
    return {m: frozenset(i.module for i in imports(m) if i.module in files() and i.module != m) for m in files()}


@cache
def loads(module: str) -> frozenset[str]:
    """The heavy libraries that importing a module loads."""
    library = module.partition(".")[0]
    if module not in files():
        return frozenset({library}) & HEAVY
    return frozenset().union(*(loads(i.module) for i in imports(module) if i.when == "loading"))


def package(module: str) -> str:
    """The import package of a module: "posesyn_core", "posesyn_spin"."""
    return module.partition(".")[0]


def room(module: str) -> str:
    """The room (or the file at the root) of the core that a module of the core stands in; "__init__" for the core."""
    return module.split(".")[1] if "." in module else "__init__"
