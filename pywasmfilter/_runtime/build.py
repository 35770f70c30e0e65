"""Build a filter inside the image: import it, find what it may import later, tell the compiler what was found.

The compiler calls the shim's export `pyfilter_build` with a request and gets one report, both `marshal` data. After
that it takes a copy of the memory: that copy is the module.
"""

from __future__ import annotations

import _imp
import gc
import marshal
import sys
from importlib import import_module

from .. import _abi, _traceback, registry
from . import codecs, environment, importer, ledger

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


sdk_bytes = 0
"""What the SDK takes of the image's memory, more or less."""


def _drop_foreign_modules() -> None:
    _initialized.update(sys.modules.keys() & set(sys.builtin_module_names))
    for name in sys.modules.keys() - _image_modules:
        del sys.modules[name]
    gc.collect()


def build(request: bytes) -> None:
    """Entry: `request` is a dict with "modules", the names to import in order, "include", further ones to keep,
    "not_followed", top-level names that an import in the standard library itself does not bring in, "keep_docs",
    whether to keep docstrings and columns, and "record", whether to report what was compiled. "abi" is the version of
    the ABI that the image was linked for, "max_memory" what the memory of a VM can grow to, in bytes.

    The report is sent to the foreign function `pyfilter.report`: a dict with "plugins", "registered" (by each module
    that was to be imported), "callbacks", "upstreams", "left_out" (the built-in modules that the filter has no use
    for), "compiler" (whether it may compile source text), "frozen" (what the interpreter's own modules were made of),
    "python" (its version), "modules", what `_account` has, and "compiled", or "error".
    """
    _abi.building = True
    _drop_foreign_modules()
    importer.install()
    begun = ledger.start()
    report: dict[str, Any]
    try:
        wanted = marshal.loads(request)  # noqa: S302  # it comes from the compiler
        importer.keep_docs = wanted["keep_docs"]
        importer.record = {} if wanted["record"] else None
        for name in wanted["modules"]:
            import_module(name)
        for name in wanted["include"]:
            _include(name)
        importer.evaluates |= "ast" in wanted["include"]
        named = _freeze_later_imports(frozenset(wanted["not_followed"]))
        importer.evaluates |= not _EVALUATING_BUILTINS.isdisjoint(named.difference(sys.modules))
        importer.evaluates |= any(_evaluates_at_import(found.code) for found in importer.frozen.values())
        _abi.host.settle(wanted["abi"] == "0.1.0", wanted["max_memory"])  # type: ignore[attr-defined]  # the shim's
        registered = {name: importer.loaded[name].plugins for name in wanted["modules"]}
        report = {
            **registry.describe(),
            "registered": registered,
            "left_out": _left_out(named.union(wanted["include"])),
            "compiler": importer.evaluates,
            "frozen": list(_frozen()),
            "python": sys.version.partition(" ")[0],
            "modules": _modules(),
            **_account(begun),
            "compiled": importer.record,
        }
    except BaseException as exception:  # noqa: BLE001  # whatever the user's code raises is the build's result
        report = {"error": _error(exception)}
    _abi.host.call_foreign_function("pyfilter.report", marshal.dumps(report, 2))
    _finish()


def _include(name: str) -> None:
    """Keep a module that no import statement names, and its packages; raises ImportError if there is none."""
    for part in importer.imported_names("", (0, name, (), True, 0)):
        ledger.causes.setdefault(part, ("", 0))
        if part not in sys.modules and part not in sys.builtin_module_names and importer.find(part) is None:
            raise ModuleNotFoundError(f"--include {name}: no module named {part!r}", name=part)


_IMPORTED_UNSEEN = {
    "_elementtree": ("pyexpat",),
    "sysconfig": (f"_sysconfigdata_{sys.abiflags}_{sys.platform}_{getattr(sys.implementation, '_multiarch', '')}",),
    "encodings.idna": ("encodings.punycode",),
    "socket": ("encodings.idna",),
    "_decimal": ("collections", "numbers"),
    "_codecs_hk": ("_codecs_tw",),
    "_codecs_iso2022": ("_codecs_cn", "_codecs_jp", "_codecs_kr"),
}
"""Modules that C code, or the search for a codec, imports by name, which no import statement shows."""

_IMPORTED_BY_C = ("copyreg",)
"""What the interpreter itself imports by name: to copy any object. Not what it needs for the names of characters, which
hardly any filter has in a text that it decodes.
"""


def _freeze_later_imports(not_followed: frozenset[str]) -> set[str]:
    """Keep what import statements name and may still import. And codecs.

    Of a module that has been imported those are the statements in functions; the others have run, or never will.
    Returns all names that such statements have.
    """
    pending = [*importer.loaded.items(), *importer.frozen.items()]
    pending += _freeze(f"encodings.{codec}" for codec in codecs.COMMON)
    list(_freeze(_IMPORTED_BY_C))  # not what they import in turn, in functions for rare objects
    seen: set[str] = set()
    while pending:
        name, module = pending.pop()
        wanted = dict(_wanted(name, module, not_followed))
        for imported, line in wanted.items():
            ledger.causes.setdefault(imported, (name, line))
        pending += _freeze(sorted(wanted.keys() - seen))
        seen.update(wanted)
    ledger.share(importer.frozen, [found.weight for found in importer.frozen.values()])
    return seen


def _wanted(name: str, module: importer.Found, not_followed: frozenset[str]) -> Iterator[tuple[str, int]]:
    """What a module may import later, each with the line of a statement; 0 if there is none."""
    for codec in module.codecs:
        yield f"encodings.{codec}", 0
    for imported in _IMPORTED_UNSEEN.get(name, ()):
        yield imported, 0
    package = name if module.is_package else name.rpartition(".")[0]
    unseen = {} if package == "pywasmfilter" else _IMPORTED_UNSEEN  # the SDK itself reads no dates
    for statement in module.imports:
        *_, deferred, line = statement
        has_run = name in importer.loaded and not deferred
        skipped = not_followed if module.is_standard and deferred else frozenset[str]()
        for imported in importer.imported_names(package, statement):
            if imported.partition(".")[0] not in skipped:
                if not has_run:
                    yield imported, line
                for more in unseen.get(imported, ()):
                    yield more, line


def _evaluates_at_import(code: Any) -> bool:
    """Whether the code of a module, or of a class in it, names what compiles source text when it runs."""
    if code is None or code.co_flags & _OF_FUNCTION:
        return False
    return not _EVALUATING.isdisjoint(code.co_names) or any(
        _evaluates_at_import(part) for part in code.co_consts if hasattr(part, "co_names")
    )


_EVALUATING = frozenset(("NamedTuple", "dataclass", "eval", "exec", "namedtuple"))
_EVALUATING_BUILTINS = frozenset(("_decimal",))  # it makes a namedtuple
_OF_FUNCTION = 0x1  # CO_OPTIMIZED


def _left_out(named: Iterable[str]) -> list[str]:
    """The built-in modules that the filter has no use for. Its imports of those that nothing has initialized fail.

    A module that is alive is of use, also if it was taken out of `sys.modules`.
    """
    alive = {module.__name__ for module in gc.get_objects() if type(module) is type(sys)}
    names = frozenset(sys.builtin_module_names)
    of_compiler = ("unicodedata",) if importer.evaluates else ()
    unused = names.difference(_IMPORTED_BY_C, of_compiler, alive, sys.modules, named)
    importer.left_out = unused - _initialized
    return sorted(unused)


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


def _frozen() -> Iterator[tuple[bytes, bytes, int]]:
    """The code that the interpreter carries of modules which are there now: its begin, its end, its size in bytes."""
    for name in sys.modules:
        found = _imp.find_frozen(name, withdata=True)
        if found and found[0] is not None:
            yield bytes(found[0][:_ENOUGH]), bytes(found[0][-_ENOUGH:]), len(found[0])


_ENOUGH = 128
"""Bytes by which code is known."""


def _modules() -> list[tuple[str, str]]:
    """(name, origin) of every module the user's code brought in."""
    return sorted((name, found.origin) for name, found in (importer.loaded | importer.frozen).items())


def _account(begun: int) -> dict[str, Any]:
    """What memory is used for: "begun", the bytes in use when the build began, "sdk", those of the SDK among them, and
    "sizes" of modules; and why modules are there: "causes", "always", the names of those that are in any module, and
    "builtins", of those among them that are built in.
    """
    builtins = frozenset(sys.builtin_module_names) - importer.left_out
    common = (f"encodings.{codec}" for codec in codecs.COMMON)
    return {
        "begun": begun,
        "sdk": sdk_bytes,
        "sizes": ledger.sizes,
        "causes": ledger.causes,
        "builtins": [name for name in ledger.causes if name in builtins],
        "always": sorted(_image_modules.union(common, _IMPORTED_BY_C)),
    }


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
    ledger.forget()
    for found in importer.frozen.values():
        found.imports, found.codecs = [], frozenset()
    _abi.building = False
    gc.collect()
    gc.freeze()  # what is in the module stays: collections in a proxy need not look at it
    _abi.collections_of_build = sum(generation["collections"] for generation in gc.get_stats())
