"""Who may import whom. A change here is a decision, not a detail."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
import pywasmfilter_compiler

import pywasmfilter

COMPILER = Path(pywasmfilter_compiler.__file__).parent
SDK = Path(pywasmfilter.__file__).parent

# Part of the compiler (a file, or a folder with all that is in it) → the parts that it may import.
DIRECTIONS: dict[str, set[str]] = {
    "errors": set(),
    # WebAssembly: the linker knows components, components know the core format.
    "wasm": {"errors"},
    "component": {"wasm", "errors"},
    "linker": {"component", "wasm", "errors"},
    # The image and the builds.
    "sources": {"errors"},
    "entries": {"sources", "errors"},
    "watching": {"runtime_image", "sources"},
    "componentize": {"errors"},
    "wasi": {"component", "errors"},
    "unread": set(),
    "snapshot": {"unread", "hosts", "sources", "errors"},
    "module_writer": {"wasm", "errors"},
    "upstreams": {"wasm"},
    "cpython": {"linker"},
    "contents": {"sources", "wasm"},
    "provenance": {"componentize", "hosts", "sources", "wasm"},
    "runtime_image": {
        "componentize",
        "snapshot",
        "wasi",
        "cpython",
        "linker",
        "component",
        "wasm",
        "hosts",
        "sources",
        "errors",
    },
    "files": {"errors"},
    "pipeline": {
        "files",
        "watching",
        "linker",
        "entries",
        "runtime_image",
        "snapshot",
        "module_writer",
        "contents",
        "provenance",
        "settings",
        "hosts",
        "sources",
        "upstreams",
        "wasm",
        "errors",
    },
    "inline": {"pipeline", "contents", "runtime_image", "snapshot", "settings", "sources", "upstreams", "errors"},
    # What stands beside them.
    "hosts": {"wasm", "errors"},
    "module_report": {"contents", "hosts", "upstreams", "wasm", "errors"},
    "recorder": {"hosts", "wasm", "errors"},
    "recording": {"recorder", "module_report", "errors"},
    "settings": {"hosts", "errors"},
    "envoy": {"upstreams", "errors"},
    "oci": {"files", "module_report", "errors"},
    "manifests": {"envoy", "files", "hosts", "inline", "module_report", "oci", "upstreams", "errors"},
    "verification": {"module_writer", "pipeline", "provenance", "runtime_image", "sources", "wasm", "errors"},
    "sbom": {"contents", "oci", "provenance", "errors"},
    # The command, and the door of the library.
    "commands": {
        *("files", "inline", "manifests", "pipeline", "oci", "sbom", "verification", "settings", "hosts", "errors"),
    },
    "cli": {
        "commands",
        "pipeline",
        "watching",
        "settings",
        "hosts",
        "module_report",
        "recording",
        "runtime_image",
        "envoy",
        "upstreams",
        "errors",
    },
    "__init__": {"inline", "pipeline", "module_report", "errors"},
}
FILES = sorted(path.relative_to(COMPILER) for path in COMPILER.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part that a file belongs to."""
    return path.parts[0].removesuffix(".py")


def imported_modules(path: Path, package: tuple[str, ...]) -> set[str]:
    """The absolute names of all modules that a file imports, wherever in it; `package` is the one it belongs to."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def imported_parts(path: Path) -> set[str]:
    """The parts of the compiler that a file of it imports; "__init__" for what it takes from the door."""
    package = (COMPILER.name, *path.parent.parts)
    parts = set()
    for name in imported_modules(COMPILER / path, package):
        top, _, rest = name.partition(".")
        if top == COMPILER.name:
            first = rest.partition(".")[0]
            parts.add(first if first in DIRECTIONS else "__init__")
    return parts


def code_words(path: Path) -> str:
    """The names and texts of a file's code, without comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [child for child in body if not _is_text(child)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree).lower()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_every_part_has_its_directions() -> None:
    """A new file or folder of the compiler is given its place here."""
    assert {part_of(path) for path in FILES} == set(DIRECTIONS)


def test_there_is_no_way_back() -> None:
    """The directions allow no cycle: the parts can be put into an order in which each imports earlier ones only."""
    left = dict(DIRECTIONS)
    while left:
        free = [part for part, below in left.items() if not below & left.keys()]
        assert free, f"these import each other: {sorted(left)}"
        for part in free:
            del left[part]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_keep_to_the_directions(path: Path) -> None:
    """A file imports its own part and those that its part may import, in functions and for type checkers too."""
    part = part_of(path)
    assert imported_parts(path) <= DIRECTIONS[part] | {part}


@pytest.mark.parametrize(
    ("folder", "word", "exceptions"),
    [
        ("wasm", "component", ["binary.py"]),  # it tells the two by their first bytes
        ("component", "proxy", []),
        ("linker", "proxy", []),
    ],
)
def test_lower_parts_do_not_know_what_they_are_for(folder: str, word: str, exceptions: list[str]) -> None:
    """The core format does not speak of components, and the linker not of proxies."""
    speaking = [path.name for path in sorted((COMPILER / folder).glob("*.py")) if word in code_words(path)]
    assert speaking == exceptions


def imported_by(folder: Path, files: Iterable[Path]) -> dict[Path, set[str]]:
    """The absolute names of all modules that each file of a package imports."""
    return {file: imported_modules(file, (folder.name, *file.relative_to(folder).parent.parts)) for file in files}


def is_in(name: str, package: str) -> bool:
    """Whether a module is a package or in it."""
    return f"{name}.".startswith(f"{package}.")


def test_sdk_and_compiler_do_not_import_each_other() -> None:
    """The compiler copies the SDK's files and never runs them; the SDK does not know who compiles it.

    The emulated host stands above both: it builds what it tests, and the command offers it.
    """
    compiler = imported_by(COMPILER, (COMPILER / path for path in FILES))
    for file, names in compiler.items():
        is_command = file.name == "cli.py" or file.parent.name == "commands"
        allowed = {name for name in names if is_command and is_in(name, TESTING)}
        assert {name for name in names - allowed if is_in(name, SDK.name)} == set(), file
    sdk = imported_by(SDK, (path for path in SDK.rglob("*.py") if "testing" not in path.parts))
    for file, names in sdk.items():
        assert {name for name in names if is_in(name, COMPILER.name) or is_in(name, TESTING)} == set(), file


TESTING = f"{SDK.name}.testing"
