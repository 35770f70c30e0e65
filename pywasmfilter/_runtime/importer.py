"""The one finder and loader of a module's interpreter.

While a module is built, it asks the compiler for sources, through a foreign function of the build's host. What is then
imported is frozen into the module as live objects. What is not imported yet, but named by an import statement anywhere
in the code, is compiled and kept in `frozen`, from where the finished module imports it when it comes to it.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec

from .. import _LAZY, _abi, registry
from . import codecs, ledger, slimming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, ModuleType
    from typing import Any


class Found:
    """A module that can be imported: where it came from and, unless it is a namespace package, its code.

    `imports` and `codecs` say what it may need later; they are there while building only. So are `plugins`, the names
    that were registered while the module was imported, by itself or by what it imported, and `weight`, how large it is
    beside others.
    """

    def __init__(self, origin: str, is_package: bool, code: CodeType | None, imports: list[Import]) -> None:
        self.origin = origin
        self.is_package = is_package
        self.code = code
        self.imports = imports
        self.codecs: frozenset[str] = frozenset()
        self.plugins: list[str] = []
        self.weight = 0

    @property
    def is_standard(self) -> bool:
        """Whether it belongs to the standard library."""
        return self.origin.startswith("lib/python3.")


Import = tuple[int, str, tuple[str, ...], bool, int]
"""An import statement: level (0 for absolute), module, the names taken from it (empty for `import module`), whether it
stands in a function, and so does not run when its module is imported, and its line."""

frozen: dict[str, Found] = {}
"""Modules that the finished module can still import."""

loaded: dict[str, Found] = {}
"""Modules imported while building, for the search for further imports; empty in a finished module."""

record: dict[str, bytes] | None = None
"""Where to put what is compiled, if the compiler asks for it: it keeps the standard library's with the image."""

keep_docs = False
"""Whether what is compiled keeps its docstrings and its columns."""

unusable: dict[str, str] = {}
"""Modules that an import statement names and that cannot run here, with the reason."""

left_out: frozenset[str] = frozenset()
"""Built-in modules that the filter has no use for: the compiler may leave their code behind."""

advice = "Name it in an import statement, or build with --include"
"""What to do about a module that is not there; its name follows."""

after_import: dict[str, Callable[[ModuleType], None]] = {}
"""What to do right after a module of this name was imported."""


class BuiltinGuard:
    """A meta path finder before the interpreter's own for built-in modules, which would find what is left out too."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Nothing, so that the next finder is asked. Raises ModuleNotFoundError for what is left out."""
        if name in left_out:
            raise _not_in_filter(name)
        if _abi.building:
            ledger.imported(name)


class Importer:
    """A meta path finder, and the loader of what it finds."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The spec of a module; None if the build finds none. A finished module raises an error that says more."""
        if _abi.building:
            ledger.begin(name)
        found = find(name)
        if found is None:
            if _abi.building:
                return None
            raise _not_in_filter(name)
        spec = ModuleSpec(name, Importer, origin=found.origin, is_package=found.is_package)  # type: ignore[arg-type]
        spec.has_location = found.code is not None
        if found.is_package:
            spec.submodule_search_locations = [found.origin.removesuffix("/__init__.py")]
        return spec

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """The default module object."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run the module's code in it."""
        name = module.__name__
        found = frozen[name]
        before = len(registry.plugins)
        if found.code is not None:
            exec(found.code, module.__dict__)  # noqa: S102  # this is what a loader does
        del frozen[name]
        if _abi.building:
            found.code = None
            found.plugins = list(registry.plugins)[before:]
            loaded[name] = found
            ledger.end(name)
        if name in after_import:
            after_import[name](module)

    @staticmethod
    def is_package(name: str) -> bool:
        """Part of the loader protocol."""
        return frozen[name].is_package


def _not_in_filter(name: str) -> ImportError:
    if name in unusable:
        return ImportError(unusable[name], name=name)
    return ModuleNotFoundError(
        f"No module named {name!r} in this filter: when it was built there was no such module, or nothing that imports "
        f"it. {advice} {name}",
        name=name,
    )


def find(name: str) -> Found | None:
    """A module among the frozen ones or, while building, from the compiler. Raises ImportError for native code."""
    if name in frozen or not _abi.building:
        return frozen.get(name)
    answer = _abi.host.call_foreign_function("pyfilter.find_module", name)
    kind, origin, source, compiled = marshal.loads(answer)  # noqa: S302  # it comes from the compiler
    if kind == "missing":
        return None
    if kind == "native":
        raise ImportError(f"{name} is native code ({origin}), which cannot run inside a proxy", name=name)
    found = Found(origin, kind == "package", None, [])
    found.weight = len(compiled or source or b"")
    if compiled is not None and not keep_docs:
        found.code, found.imports = marshal.loads(compiled)  # noqa: S302  # this interpreter made it, for the image
    elif source is not None:
        tree = _compile(source, origin, _ONLY_AST)
        found.code = _code(tree, origin, found.is_standard)
        found.imports = list(_import_statements(tree, found.is_standard))
        if record is not None:
            record[name] = marshal.dumps((found.code, found.imports))
        if not found.is_standard:
            _note_evaluation(tree)
            found.codecs = frozenset(codecs.named_in(found.code))
            found.imports += [
                (0, used, (), True, 0) for name, used in _USED_BY_NAME.items() if mentions(found.code, name)
            ]
    frozen[name] = found
    return found


evaluates = False
"""Whether source text may be compiled at run time: by a filter's own code, that of an installed package, or that of a
module which is only imported then.
"""


def _note_evaluation(tree: Any) -> None:
    global evaluates  # noqa: PLW0603  # the build reports it
    pending = [tree]
    while pending and not evaluates:
        node = pending.pop()
        evaluates = not _EVALUATING.isdisjoint(_names(node))
        for field in node._fields:
            child = getattr(node, field)
            pending += [part for part in (child if isinstance(child, list) else [child]) if hasattr(part, "_fields")]


def _names(node: Any) -> tuple[str, ...]:
    """The name that a node of a syntax tree is, or what it imports."""
    match type(node).__name__:
        case "Name":
            return (node.id,)
        case "Import":
            return tuple(f"import {alias.name}" for alias in node.names)
        case "ImportFrom":
            return (f"import {node.module}",)
    return ()


_EVALUATING = frozenset(("eval", "exec", "compile", "import ast", "import code", "import codeop", "import symtable"))


_USED_BY_NAME = {
    "UserDict": "copy",
    "expandvars": "re",
    "filterwarnings": "re",
    "json": "json",
    "singledispatch": "weakref",
    "singledispatchmethod": "weakref",
    "strptime": "_strptime",
    **dict.fromkeys(("urldefrag", "urljoin", "urlparse", "urlsplit"), "unicodedata"),
}
"""What is imported at run time for a module that has such a name, as in `reply.json()` or `json=…`, and what no search
finds: by the SDK, by C code, by a module of the image, into whose functions nothing looks, or by a function of the
standard library that alone wants what is not followed elsewhere, such as a URL's for any host that is not ASCII.
"""


def mentions(code: CodeType, name: str) -> bool:
    """Whether a module has a name, or a text that is one."""
    pending: list[Any] = [code]
    while pending:
        part = pending.pop()
        if isinstance(part, tuple):
            pending += part
        elif hasattr(part, "co_names"):
            if name in part.co_names:
                return True
            pending += part.co_consts
        elif part == name:
            return True
    return False


_ONLY_AST = 0x400


def _code(tree: Any, origin: str, is_standard: bool) -> CodeType:
    if keep_docs:
        return _compile(tree, origin)  # type: ignore[no-any-return]
    slimming.remove_docstrings(tree, also_mentioned=is_standard)
    return slimming.without_columns(_compile(tree, origin))


def _compile(source: Any, origin: str, flags: int = 0) -> Any:
    """Compile a module. Raises SyntaxError that names the file, whatever is wrong with the source."""
    try:
        return compile(source, origin, "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        error.filename = error.filename or origin
        raise
    except (MemoryError, RecursionError, ValueError) as error:
        raise SyntaxError(str(error) or "too complex to compile", (origin, None, None, None)) from None


def _import_statements(tree: Any, is_standard: bool) -> Iterator[Import]:
    """All import statements of a module, those inside functions too.

    Not those for type checkers, and in the standard library not those of its command-line uses, and not those in place
    of what is there in C.
    """
    pending = [(node, False) for node in tree.body]
    while pending:
        node, deferred = pending.pop()
        kind = type(node).__name__
        if kind == "Import":
            for alias in node.names:
                yield 0, alias.name, (), deferred, node.lineno
        elif kind == "ImportFrom":
            yield node.level, node.module or "", tuple(alias.name for alias in node.names), deferred, node.lineno
        elif kind == "FunctionDef" and is_standard and node.name in _COMMAND_LINE_FUNCTIONS:
            continue
        elif not (kind == "If" and (_is_type_checking(node.test) or _is_main(node.test))):
            inside = deferred or kind in _LATER or (kind == "ExceptHandler" and is_standard)
            handled = kind == "Try" and is_standard and _is_native(node.body)
            for field in ("body", "orelse", *(() if handled else ("handlers",)), "finalbody", "cases"):
                pending += [(child, inside) for child in getattr(node, field, ())]


def _is_native(body: list[Any]) -> bool:
    """Whether statements import only modules that are written in C."""
    names = [getattr(statement, "module", None) for statement in body]
    names += [alias.name for statement in body if type(statement).__name__ == "Import" for alias in statement.names]
    return {name for name in names if name} <= set(sys.builtin_module_names) and any(names)


_LATER = ("FunctionDef", "AsyncFunctionDef")
_COMMAND_LINE_FUNCTIONS = ("main", "_main", "test", "_test", "_test_generator")


def _is_main(test: Any) -> bool:
    return getattr(getattr(test, "left", None), "id", None) == "__name__"


def _is_type_checking(test: Any) -> bool:
    return getattr(test, "id", None) == "TYPE_CHECKING" or getattr(test, "attr", None) == "TYPE_CHECKING"


def imported_names(package: str, statement: Import) -> Iterator[str]:
    """The modules that an import statement may import, parents first. `package` is the importing module's package."""
    level, module, names, *_ = statement
    if level:
        parents = package.split(".")
        base = parents[: len(parents) - level + 1]
        module = ".".join([*base, module] if module else base)
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])
    lazy = _LAZY if module == "pywasmfilter" else {}
    for name in names:
        if name != "*":
            yield f"{module}.{lazy.get(name, name)}"


def install() -> None:
    """Make this the only source of modules besides the interpreter's built-in and frozen ones."""
    sys.meta_path[:] = [BuiltinGuard, *(finder for finder in sys.meta_path if _is_builtin(finder)), Importer]
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.path.clear()


def _is_builtin(finder: object) -> bool:
    return getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")
