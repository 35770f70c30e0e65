"""Inline filters: their source is text in a plugin's configuration, and one module runs all of them.

`build_runtime` builds that module, `inline_configuration` writes such a configuration, and `check_inline` says of a
source beforehand what the module would say of it. What runs sources in the module is `pywasmfilter/inline.py`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import contents, pipeline, runtime_image, settings, snapshot
from .errors import BuildStopped, FilterError, UsageError
from .pipeline import BuildResult, StrPath
from .sources import SITE_PACKAGES, Folder, Root, Source, Sources, installed_roots
from .upstreams import Upstream

NAME: Final = "python"
"""The name of the module, unless another is given."""

MODULES: Final = tuple(
    """
    abc base64 binascii bisect cmath collections collections.abc contextlib copy dataclasses datetime enum fnmatch
    functools gc hashlib heapq hmac http http.cookies inspect io ipaddress itertools json logging math numbers operator
    os random re secrets string struct sys textwrap time traceback types typing unicodedata urllib.parse uuid warnings
    weakref zlib
    """.split()
)
"""What sources may import of the standard library, besides what comes with these."""

_OF_SDK: Final = tuple(
    f"pywasmfilter.{name}" for name in ("cache", "memory", "rate_limit", "rules", "schedule", "upstreams")
)
"""The parts of the SDK that are in other modules only if the filter uses them."""

_SERVING: Final = "pywasmfilter.inline"


def build_runtime(
    output: StrPath | None = None, *, name: str = NAME, include: Iterable[str] = (), **options: Any
) -> BuildResult:
    """Build the module for inline filters. `include` names modules that sources may import besides `MODULES`.

    The other options, and what is raised, are those of `build`.
    """
    folder = runtime_image.sdk_folder() / "inline_runtime"
    return pipeline.build(folder, output, name=name, include=[*MODULES, *_OF_SDK, *include], **options)


def inline_configuration(source: str, config: Mapping[str, Any] | str | None = None) -> str:
    """The configuration of an inline filter as JSON, the same for the same arguments.

    `config` is the filter's own configuration, if it has one: an object for JSON, or text.
    """
    document: dict[str, Any] = {"code": source}
    if config is not None:
        document["config"] = config if isinstance(config, str) else dict(config)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class InlineFilter:
    """What a source is: its plugin's name, the callbacks that it hears, and the services that it calls by name."""

    plugin: str
    callbacks: list[str]
    upstreams: list[Upstream]


def check_inline(
    source: str,
    module: StrPath | None = None,
    *,
    path: Path | str = "<inline>",
    timeout: float = settings.TIMEOUT,
    progress: Callable[[str], None] = lambda _: None,
    on_output: Callable[[str], None] = lambda _: None,
) -> InlineFilter:
    """Check the source of an inline filter, without a proxy: it is run as the module for inline filters does.

    `module` is that module, if it is to be known which Python modules are in it; otherwise sources may import all of
    the standard library. `path` stands for the source in messages. `timeout` in seconds bounds the run, `progress` is
    called when a step that takes a while begins, `on_output` with each line that the source prints.

    Raises FilterError, with the path and the line, for what the module would refuse, and for an import anywhere in the
    source of what is not in the module; UsageError for a module that is none for inline filters.
    """
    known = None if module is None else _modules_in(Path(module))
    image = runtime_image.load(progress, settings.ABI)
    sdk = Folder(runtime_image.sdk_folder().parent, SITE_PACKAGES, only="pywasmfilter")
    roots: list[Root] = [_Wrapper(source), sdk, image.standard_library, *(installed_roots() if known else ())]
    sources = _Sources(roots, left_out="pywasmfilter.testing", known=known)
    if known is not None:
        _check_imports(source, sources, path)
    request = snapshot.Request(settings.ABI, [_WRAPPER], [])
    limits = snapshot.Limits(timeout, settings.MAX_MEMORY)
    try:
        report = snapshot.take(image.engine, image.module, sources, request, limits, on_output).report
    except BuildStopped as error:
        raise FilterError(str(error), path) from error
    if "error" in report:
        raise _filter_error(report["error"], path)
    called = [Upstream(**described) for described in report["upstreams"]]
    return InlineFilter(report["plugins"][0], report["callbacks"], called)


_WRAPPER: Final = "inline_check"
_ORIGIN: Final = "<inline>"


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """A place in which there is one module, which runs a source as the module for inline filters does."""

    source: str
    prefix: str = ""

    def has_file(self, relative: str) -> bool:
        return relative == f"{_WRAPPER}.py"

    def has_folder(self, _relative: str) -> bool:
        return False

    def read(self, _relative: str) -> bytes:
        lines = [
            "from pywasmfilter import inline, registry",
            "registry.register_vm(inline.InlineVM)",
            f"inline.check({self.source!a})",
        ]
        return "\n".join(lines).encode()

    def compiled(self, _relative: str) -> None:
        return None


@dataclass(slots=True)
class _Sources(Sources):
    """Finds no other modules than those that are `known`, if that is said."""

    known: frozenset[str] | None = None

    def find(self, name: str) -> Source:
        """The source of a module; see `Sources`."""
        if self.known is None or name in self.known or name == _WRAPPER:
            return super(_Sources, self).find(name)  # a class with slots is made anew
        return Source("missing")


def _modules_in(module: Path) -> frozenset[str]:
    try:
        found = contents.of_module(module.read_bytes())
    except OSError as error:
        raise UsageError(f"{module}: {error.strerror or error}") from error
    names = frozenset(item.name for item in found.modules).union(found.always) if found else frozenset[str]()
    if _SERVING not in names:
        raise UsageError(f"{module}: no module for inline filters, which pyfilter build --runtime makes")
    return names


# Imports


def _check_imports(source: str, sources: _Sources, path: Path | str) -> None:
    """Raises FilterError for the first import of what is not there."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # this Python may be older than the module's, which says what is wrong if something is
    known = sources.known or frozenset[str]()
    for statement in _import_statements(tree):
        for name, is_module in _imported_names(statement):
            if name not in known and (is_module or sources.places(name)):
                advice = f"build that with pyfilter build --runtime --include {name}"
                raise FilterError(f"imports {name}, which is not in the module: {advice}", path, statement.lineno)


def _import_statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that run at some time, and are no attempt."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.Try) and _IMPORT_ERRORS & {_name(handler.type) for handler in node.handlers}:
            for statement in (*node.handlers, *node.orelse, *node.finalbody):
                yield from _import_statements(statement)
        elif isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            for statement in node.orelse:
                yield from _import_statements(ast.Module([statement], []))
        else:
            yield from _import_statements(node)


_IMPORT_ERRORS: Final = {"ImportError", "ModuleNotFoundError", "Exception"}


def _name(node: ast.AST | None) -> str:
    """What a node is called, behind any dots."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _imported_names(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, bool]]:
    """The modules that a statement imports, and those that it may: (name, whether it is one)."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name, True
    elif not statement.level and statement.module:
        yield statement.module, True
        for alias in statement.names:
            yield f"{statement.module}.{alias.name}", False


# Errors


def _filter_error(error: dict[str, Any], path: Path | str) -> FilterError:
    """The image's error as one of the source: the innermost line of it that is known."""
    lines = [line for origin, line, _ in error["places"] if origin == _ORIGIN]
    message: str = error["message"]
    if not lines and (place := re.search(rf" \({_ORIGIN}:(\d+)\)", message)):
        lines = [int(place[1])]
        message = message.replace(place[0], "", 1)
    return FilterError(message, path, lines[-1] if lines else None)
