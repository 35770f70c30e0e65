"""The modules that tests run: each filter is built once in a process, and again when its files have changed."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pywasmfilter_compiler import FilterError, build
from pywasmfilter_compiler.settings import load_settings

from .plugin import Refused


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
    """The Python files beside the filters and one level below, and when they were changed."""
    for path in paths:
        folder = path if path.is_dir() else path.parent
        for file in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")]):
            yield str(file), file.stat().st_mtime_ns
