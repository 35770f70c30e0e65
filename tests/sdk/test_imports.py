"""What importing the SDK brings with it: every worker of a proxy carries it, and every layer knows only those below."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pywasmfilter

PACKAGE = Path(pywasmfilter.__file__).parent

# The standard library's modules that the SDK may import while it is imported itself. They bring others with them.
ALLOWED = ("__future__", "enum", "functools", "heapq", "time")

# What its functions may import when they run: a build keeps it for filters that call them (see `_runtime/importer.py`).
ALLOWED_LATER = ("importlib", "json")

# From the lowest: a file imports files of earlier lines only. `_runtime` and `testing` stand above all of them.
LAYERS = [
    ["types", "_abi", "_protobuf", "_traceback", "_plans"],
    ["_serialization", "exceptions", "buffers", "metrics", "_state"],
    ["headers", "log", "shared", "foreign_functions", "_errors", "config"],
    ["callouts", "properties", "_slots"],
    ["hostcalls", "_timers", "rate_limit"],
    ["_tasks"],
    ["_bodies", "_callback_tasks", "calls", "schedule"],
    ["messages"],
    ["contexts"],
    ["_callbacks", "cache", "memory", "rules"],
    ["registry"],
    ["decorators", "_dispatcher", "upstreams"],
    ["inline"],
    ["__init__"],
]
ABOVE = ("_runtime", "testing")
COMPILED = {"_shim"}  # below all of them, and in modules only

# What files import that come only with filters that use them.
OF_OPTIONAL_FILES: dict[str, tuple[str, ...]] = {
    "_plans": ("difflib", "itertools", "re"),
    "_slots": ("_blake2", "os"),
    "cache": ("collections",),
    "config": ("dataclasses", "re", "sys"),
    "inline": ("dataclasses", "gc", "itertools", "linecache", "sys", "typing"),
    "memory": ("gc", "sys"),
    "rate_limit": ("collections",),
    "rules": ("dataclasses", "re"),
    "schedule": ("os",),
    "upstreams": ("os",),
}

LIST_MODULES = """
import sys
{code}
import json
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(code: str) -> set[str]:
    """What a bare interpreter has loaded after some code."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIST_MODULES.format(code=code)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_importing_the_sdk_loads_almost_nothing() -> None:
    """Besides itself it loads no more than the allowed modules of the standard library bring, and no other package."""
    bare = modules_after("\n".join(f"import {name}" for name in ALLOWED))
    loaded = modules_after(f"sys.path.insert(0, {str(PACKAGE.parent)!r})\nimport pywasmfilter")
    foreign = {name for name in loaded - bare if name.partition(".")[0] != "pywasmfilter"}
    assert foreign == set()


def test_importing_the_sdk_does_not_load_what_is_for_modules_or_tests() -> None:
    """`_runtime` belongs into modules and `testing` into tests: neither comes with the package."""
    loaded = modules_after(f"sys.path.insert(0, {str(PACKAGE.parent)!r})\nimport pywasmfilter")
    assert not [name for name in loaded if name.startswith(tuple(f"pywasmfilter.{name}" for name in ABOVE))]


def runtime_imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    """All import statements but those for type checkers."""
    found: list[ast.Import | ast.ImportFrom] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            pending += ast.iter_child_nodes(node)
    return found


def imported_files(path: Path) -> set[str]:
    """The files of the package that a file of the package imports."""
    names: set[str] = set()
    for node in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
    return names


FILES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def test_every_file_has_a_layer() -> None:
    """A new file is given its place here."""
    assert sorted(name for layer in LAYERS for name in layer) == FILES


@pytest.mark.parametrize("name", FILES)
def test_files_import_earlier_layers_only(name: str) -> None:
    """No file imports one of its own layer or above it."""
    place = next(place for place, layer in enumerate(LAYERS) if name in layer)
    assert imported_files(PACKAGE / f"{name}.py") <= COMPILED.union(*LAYERS[:place])


@pytest.mark.parametrize("name", FILES)
def test_files_import_allowed_modules_only(name: str) -> None:
    """Imports from elsewhere are in the allow-list, in functions too."""
    for node in runtime_imports(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = {alias.name for alias in node.names}
        else:
            imported = set() if node.level else {node.module or ""}
        assert imported <= {*ALLOWED, *ALLOWED_LATER, *OF_OPTIONAL_FILES.get(name, ())}
