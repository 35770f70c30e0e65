"""The modules that tests run: each filter is built once in a process, into a folder that goes with it."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=32)
def built_module(paths: tuple[Path, ...]) -> Path:
    """The module of the filters at some paths. Raises what the build raises; see `pywasmfilter_compiler.build`."""
    from pywasmfilter_compiler import build  # noqa: PLC0415  # brings wasmtime

    folder = tempfile.TemporaryDirectory(prefix="pywasmfilter-")
    _folders.append(folder)
    return build(paths, Path(folder.name) / "filter.wasm").path


_folders: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until the process ends, which removes them."""
