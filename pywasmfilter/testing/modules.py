"""The modules that tests run: each filter is built once in a process, and again when its files have changed."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from pywasmfilter_compiler import FilterError, build
from pywasmfilter_compiler.entries import find_entries
from pywasmfilter_compiler.settings import load_settings

from .plugin import Refused

_OF_OTHERS: Final = ("__pycache__", "dist-packages", "node_modules", "site-packages", "venv")
_MOST_FILES: Final = 5000


def built_module(paths: tuple[Path, ...]) -> Path:
    """The module of the filters at some paths.

    Raises Refused for a filter that cannot be built, and another CompilerError if the build fails otherwise.
    """
    try:
        return _built(paths, tuple(_versions(paths)))
    except FilterError as error:
        raise Refused(str(error)) from error


@lru_cache(maxsize=32)
def _built(paths: tuple[Path, ...], _versions: tuple[tuple[str, int], ...]) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="pywasmfilter-")
    atexit.register(folder.cleanup)
    return build(paths, **{**load_settings(paths[0]), "output": Path(folder.name) / "filter.wasm"}).path


def _versions(paths: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    """The files that a build of the filters may read, and when they were changed."""
    for root in dict.fromkeys(entry.root.path for entry in find_entries(paths)):
        for file in islice(_python_files(root), _MOST_FILES):
            yield file, os.stat(file).st_mtime_ns  # noqa: PTH116  # for each host of a test, so without Path
    projects = (folder / "pyproject.toml" for folder in _around(paths[0]))
    settings = next((project for project in projects if project.is_file()), None)
    if settings is not None:
        yield str(settings), settings.stat().st_mtime_ns


def _around(path: Path) -> list[Path]:
    return [path.resolve(), *path.resolve().parents]


def _python_files(root: Path) -> Iterator[str]:
    """The Python files in a folder and below; not those of environments and caches."""
    seen = set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _OF_OTHERS)
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))  # noqa: PTH118
