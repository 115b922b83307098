"""Who may use PoseSyn: the licences of what comes with it, and what each plugin says of its code, weights and data."""

import ast
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from posesyn_core.components import Kind, Licence
from posesyn_core.registry import Registry

ROOT = Path(__file__).parent.parent
COMMERCIAL = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software Foundation|MPL|Mozilla|Zlib|CC0|BSL-1\.0|ISC|LLVM-exception|Unlicense"
)
"""Licences that let a company use, change and sell what it builds with them."""
RESEARCH_ONLY = re.compile(r"non.?commercial|\bNC\b|research|academic|Max.?Planck", re.IGNORECASE)
EXCEPTIONS = (re.compile(r"nvidia-.*|cuda-.*"),)
"""Proprietary, but free for companies to use: the CUDA libraries that PyTorch's wheel for Linux brings."""


def installed_with(
    name: str, extras: frozenset[str] = frozenset(), found: dict[str, str] | None = None
) -> dict[str, str]:
    """The licences of a distribution and of all that it requires here, by name, as the installed metadata has them."""
    found = {} if found is None else found
    key = re.sub(r"[-_.]+", "-", name).lower()
    if f"{key}{sorted(extras)}" in found:
        return found
    try:
        metadata, requires = distribution(name).metadata, distribution(name).requires or []
    except PackageNotFoundError:  # of another system or Python
        return found
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    found[f"{key}{sorted(extras)}"] = " ".join(
        filter(None, [metadata.get("License-Expression"), *classifiers, (metadata.get("License") or "")[:200]])
    )
    for line in requires:
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            installed_with(needed.name, frozenset(needed.extras), found)
    return found


def for_companies(licence: str) -> bool:
    """Whether a licence that is stated in this way lets companies in."""
    return bool(COMMERCIAL.search(licence)) and not RESEARCH_ONLY.search(licence)


def test_what_pip_install_brings_lets_companies_in() -> None:
    found = installed_with("posesyn")
    assert {"torch[]", "numpy[]", "scipy[]", "roma[]"} <= set(found)
    refused = {
        name: licence
        for name, licence in found.items()
        if not for_companies(licence) and not any(pattern.match(name) for pattern in EXCEPTIONS)
    }
    assert not refused


@pytest.mark.parametrize(
    "licence", ["", "UNKNOWN", "CC-BY-NC-4.0", "Software Copyright License for non-commercial use"]
)
def test_what_is_unknown_or_for_research_alone_is_told(licence: str) -> None:
    assert not for_companies(licence)


def test_our_code_imports_smplx_only_to_read_smplh() -> None:
    """Its licence allows research alone, as that of SMPL-H's files does: an extra brings it."""
    found = set()
    for folder in ("posesyn_core", "plugins", "engines"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found |= {file.relative_to(ROOT).as_posix() for name in names if name.split(".")[0] == "smplx"}
    assert found == {"posesyn_core/body/with_hands.py"}


def stated() -> dict[str, set[Licence]]:
    """What the components of each bundled package state about themselves."""
    found: dict[str, set[Licence]] = {}
    registry = Registry.discover()
    for kind in Kind:
        for registered in registry.of_kind(kind):
            if registered.origin.distribution == "posesyn":
                package = registered.component.config.__module__.split(".")[0]
                assert registered.component.licence is not None, (
                    f"{package}: {registered.component.name} states no licence"
                )
                found.setdefault(package, set()).add(registered.component.licence)
    return found


def test_the_readme_has_what_the_plugins_state() -> None:
    readme = (ROOT / "README.md").read_text()
    for package, licences in stated().items():
        name = "core" if package == "posesyn_core" else f"`{package}`"
        for licence in licences:
            row = f"| {name} | {licence.code} | {licence.weights} | {licence.data} |"
            assert row in readme, f"README.md lacks the line {row}"
