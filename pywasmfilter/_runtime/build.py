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
from . import codecs, environment, importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


_image_modules: set[str] = set()


def keep_modules(names: Iterable[str]) -> None:
    """Remember what the image needs; `build` drops every other module that is imported when it begins."""
    _image_modules.update(names)


_initialized: set[str] = set()
"""Built-in modules that came to life while the image was made."""


def _drop_foreign_modules() -> None:
    _initialized.update(sys.modules.keys() & set(sys.builtin_module_names))
    for name in sys.modules.keys() - _image_modules:
        del sys.modules[name]
    gc.collect()


def build(request: bytes) -> None:
    """Entry: `request` is a dict with "modules", the names to import in order, "include", further ones to keep,
    "not_followed", top-level names that an import in the standard library itself does not bring in, and "record",
    whether to report what was compiled. "abi" is the version of the ABI that the image was linked for,
    "max_memory" what the memory of a VM can grow to, in bytes.

    The report is sent to the foreign function `pyfilter.report`: a dict with "plugins", "registered" (by each module
    that was to be imported), "callbacks", "upstreams", "builtins" (the built-in modules that the filter may import),
    "modules" and "compiled", or "error".
    """
    _abi.building = True
    _drop_foreign_modules()
    importer.install()
    report: dict[str, Any]
    try:
        wanted = marshal.loads(request)  # noqa: S302  # it comes from the compiler
        importer.record = {} if wanted["record"] else None
        for name in wanted["modules"]:
            import_module(name)
        for name in wanted["include"]:
            _include(name)
        named = _freeze_later_imports(frozenset(wanted["not_followed"]))
        _abi.host.settle(wanted["abi"] == "0.1.0", wanted["max_memory"])  # type: ignore[attr-defined]  # the shim's
        registered = {name: importer.loaded[name].plugins for name in wanted["modules"]}
        report = {
            **registry.describe(),
            "registered": registered,
            "builtins": _leave_out_builtins(named.union(wanted["include"])),
            "modules": _modules(),
            "compiled": importer.record,
        }
    except BaseException as exception:  # noqa: BLE001  # whatever the user's code raises is the build's result
        report = {"error": _error(exception)}
    _abi.host.call_foreign_function("pyfilter.report", marshal.dumps(report, 2))
    _finish()


def _include(name: str) -> None:
    """Keep a module that no import statement names, and its packages; raises ImportError if there is none."""
    for part in importer.imported_names("", (0, name, (), True)):
        if part not in sys.modules and part not in sys.builtin_module_names and importer.find(part) is None:
            raise ModuleNotFoundError(f"--include {name}: no module named {part!r}", name=part)


_IMPORTED_UNSEEN = {
    "_elementtree": ("pyexpat",),
    "sysconfig": (f"_sysconfigdata_{sys.abiflags}_{sys.platform}_{getattr(sys.implementation, '_multiarch', '')}",),
    "datetime": ("_strptime",),
    "time": ("_strptime",),
    "encodings.idna": ("encodings.punycode",),
    "socket": ("encodings.idna",),
}
"""Modules that C code, or the search for a codec, imports by name, which no import statement shows."""

_IMPORTED_BY_C = ("copyreg", "unicodedata")
"""What the interpreter itself imports by name: to copy any object, and for the names of characters."""


def _freeze_later_imports(not_followed: frozenset[str]) -> set[str]:
    """Keep what import statements name and nothing has imported yet: in functions, behind conditions. And codecs.

    Returns all names that import statements have.
    """
    pending = [*importer.loaded.items(), *importer.frozen.items()]
    pending += _freeze(f"encodings.{codec}" for codec in codecs.COMMON)
    list(_freeze(_IMPORTED_BY_C))  # not what they import in turn, in functions for rare objects
    seen: set[str] = set()
    while pending:
        name, module = pending.pop()
        wanted = {f"encodings.{codec}" for codec in module.codecs}
        wanted.update(_IMPORTED_UNSEEN.get(name, ()))
        package = name if module.is_package else name.rpartition(".")[0]
        unseen = {} if package == "pywasmfilter" else _IMPORTED_UNSEEN  # the SDK itself reads no dates
        for statement in module.imports:
            skipped = not_followed if module.is_standard and statement[-1] else frozenset[str]()
            for imported in importer.imported_names(package, statement):
                if imported.partition(".")[0] not in skipped:
                    wanted.update((imported, *unseen.get(imported, ())))
        pending += _freeze(sorted(wanted - seen))
        seen |= wanted
    return seen


def _leave_out_builtins(named: Iterable[str]) -> list[str]:
    """Let the filter's imports of built-in modules that it has no use for fail. Returns the names of the others.

    A module that is alive is of use, also if it was taken out of `sys.modules`.
    """
    alive = {module.__name__ for module in gc.get_objects() if type(module) is type(sys)}
    used = _initialized.union(_IMPORTED_BY_C, alive, sys.modules, named).intersection(sys.builtin_module_names)
    importer.left_out = frozenset(sys.builtin_module_names) - used
    return sorted(used)


def _freeze(names: Iterable[str]) -> Iterator[tuple[str, importer.Found]]:
    for name in names:
        if found := _find_quietly(name):
            yield name, found


def _find_quietly(name: str) -> importer.Found | None:
    """A module, or None: an import that is never reached may name what is not there, or cannot be compiled."""
    if name in sys.modules:
        return None
    try:
        return importer.find(name)
    except ImportError as error:
        importer.unusable[name] = str(error)
    except SyntaxError as error:
        importer.unusable[name] = f"{name} cannot be compiled: {error}"
    return None


def _modules() -> list[tuple[str, str]]:
    """(name, origin) of every module the user's code brought in."""
    return sorted((name, found.origin) for name, found in (importer.loaded | importer.frozen).items())


def _error(exception: BaseException) -> dict[str, Any]:
    places = list(_traceback.frame_places(exception))
    if isinstance(exception, SyntaxError) and isinstance(exception.filename, str):
        places.append((exception.filename, exception.lineno or 0, ""))
        text = f"{type(exception).__name__}: {exception.msg}"
    else:
        text = _traceback.describe(exception)
    return {"message": text, "places": places, "traceback": _traceback.format_exception(exception)}


def _finish() -> None:
    """Leave nothing of the build behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment.stop_watching()
    importer.loaded.clear()
    importer.record = None
    for found in importer.frozen.values():
        found.imports, found.codecs = [], frozenset()
    _abi.building = False
    gc.collect()
    gc.freeze()  # what is in the module stays: collections in a proxy need not look at it
    _abi.collections_of_build = sum(generation["collections"] for generation in gc.get_stats())
