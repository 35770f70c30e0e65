"""Build a filter inside the image: import it, find what it may import later, tell the compiler what was found.

The compiler calls the shim's export `pyfilter_build` with a request and gets one report, both `marshal` data. After
that it takes a copy of the memory: that copy is the module.
"""

from __future__ import annotations

import gc
import marshal
import sys
from importlib import import_module

from .. import _abi, _traceback, registry
from . import environment, importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


_image_modules: set[str] = set()


def keep_modules(names: Iterable[str]) -> None:
    """Remember what the image needs; `build` drops every other module that is imported when it begins."""
    _image_modules.update(names)


def _drop_foreign_modules() -> None:
    for name in sys.modules.keys() - _image_modules:
        del sys.modules[name]
    gc.collect()


def build(request: bytes) -> None:
    """Entry: `request` is a dict with "modules", the names to import in order, "include", further ones to keep, and
    "not_followed", top-level names that an import in the standard library itself does not bring in.

    The report is sent to the foreign function `pyfilter.report`: a dict with "plugins" and "callbacks", or "error".
    """
    _abi.building = True
    _drop_foreign_modules()
    importer.install()
    report: dict[str, Any]
    try:
        wanted = marshal.loads(request)  # noqa: S302  # it comes from the compiler
        for name in wanted["modules"]:
            import_module(name)
        for name in wanted["include"]:
            _include(name)
        _freeze_later_imports(frozenset(wanted["not_followed"]))
        report = {**registry.describe(), "modules": _modules()}
    except BaseException as exception:  # noqa: BLE001  # whatever the user's code raises is the build's result
        report = {"error": _error(exception)}
    _abi.host.call_foreign_function("pyfilter.report", marshal.dumps(report, 2))
    _finish()


def _include(name: str) -> None:
    """Keep a module that no import statement names; raises ImportError if there is none."""
    if name not in sys.modules and importer.find(name) is None:
        raise ModuleNotFoundError(f"--include {name}: no such module", name=name)


_IMPORTED_BY_C = {"datetime": ("_strptime",), "time": ("_strptime",)}
"""Modules that C code imports by name, which no import statement shows."""


def _freeze_later_imports(not_followed: frozenset[str]) -> None:
    """Keep what import statements name and nothing has imported yet: in functions, behind conditions."""
    pending = [*importer.loaded.items(), *importer.frozen.items()]
    seen: set[str] = set()
    while pending:
        name, module = pending.pop()
        package = name if module.is_package else name.rpartition(".")[0]
        skipped = not_followed if module.is_standard else frozenset[str]()
        for statement in module.imports:
            for wanted in importer.imported_names(package, statement):
                if wanted in seen or wanted.partition(".")[0] in skipped:
                    continue
                seen.add(wanted)
                for candidate in (wanted, *_IMPORTED_BY_C.get(wanted, ())):
                    if found := _find_quietly(candidate):
                        pending.append((candidate, found))


def _find_quietly(name: str) -> importer.Found | None:
    """A module, or None: an import that is never reached may name what is not there, or cannot be compiled."""
    if name in sys.modules:
        return None
    try:
        return importer.find(name)
    except (ImportError, SyntaxError, ValueError):
        return None


def _modules() -> list[tuple[str, str]]:
    """(name, origin) of every module the user's code brought in."""
    return sorted((name, found.origin) for name, found in (importer.loaded | importer.frozen).items())


def _error(exception: BaseException) -> dict[str, Any]:
    places = list(_traceback.frame_places(exception))
    if isinstance(exception, SyntaxError) and exception.filename:
        places.append((exception.filename, exception.lineno or 0, ""))
        text = f"{type(exception).__name__}: {exception.msg}"
    else:
        text = _traceback.describe(exception)
    return {"message": text, "places": places, "traceback": _traceback.format_exception(exception)}


def _finish() -> None:
    """Leave nothing of the build behind."""
    environment.stop_watching()
    importer.loaded.clear()
    for found in importer.frozen.values():
        found.imports = []
    _abi.building = False
    gc.collect()
