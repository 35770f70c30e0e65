"""What the megabytes of a module are, which Python modules are in it, and which import brought in each of them.

The latter stands in a custom section, which hosts ignore. Its content is JSON:

    {"always": [name, …], "modules": {name: [origin, size, importer, line], …}, "plugins": [name, …]}

`always` are the modules that are in every module. `size` is in bytes, `importer` the name of the module with the import
statement and `line` its line; 0 if no statement names the module, and "" for what the build itself was asked for.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, Literal

from .sources import SITE_PACKAGES, STANDARD_LIBRARY
from .wasm.binary import custom_section, section_sizes

SECTION: Final = "pywasmfilter.modules"
_BUILT_IN: Final = "built-in"
_SDK: Final = "pywasmfilter"

Kind = Literal["code", "interpreter", "sdk", "standard library", "package", "filter"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a module and its size in bytes; `name` is that of an installed package, or that of the kind."""

    kind: Kind
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class PythonModule:
    """A Python module in a module: see this file's description of the section."""

    name: str
    origin: str
    size: int
    importer: str
    line: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The Python modules: those that this module has, and the names of those that every one has; and the plugins."""

    modules: tuple[PythonModule, ...]
    always: tuple[str, ...]
    plugins: tuple[str, ...] = ()

    def chain(self, name: str) -> list[PythonModule]:
        """The modules that brought one in, the module itself last; empty if it is not there."""
        known = {module.name: module for module in self.modules}
        chain: list[PythonModule] = []
        while (module := known.get(name)) and module not in chain:
            chain.insert(0, module)
            name = module.importer
        return chain

    def similar(self, name: str) -> list[str]:
        """Names of modules that may have been meant: of the same last part, or spelled like it."""
        names = [*(module.name for module in self.modules), *self.always]
        same = [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
        return [*same, *(known for known in difflib.get_close_matches(name, names) if known not in same)]


class Use:
    """What the bytes of a module are used for, as the report of its build tells.

    The build measures how much memory was taken while each module was imported. The `heap` bytes of data that the
    module has are somewhat less, since there are no long zeros in them: each has the same share less. Code that is kept
    for later imports is measured as a whole, and divided in proportion to the size of what it was compiled from.
    """

    def __init__(self, report: dict[str, Any], heap: int) -> None:
        self._report = report
        self._origins: dict[str, str] = dict(report["modules"])
        self._sizes: dict[str, int] = {name: max(size, 0) for name, size in report["sizes"].items()}
        self._share = heap / (report["begun"] + sum(self._sizes.values()))

    def contents(self) -> Contents:
        """The Python modules."""
        always = frozenset(self._report["always"])
        built_in = frozenset(self._report["builtins"]) - always
        names = sorted(name for name in self._origins.keys() | built_in if name not in always or self._size(name))
        causes = self._report["causes"]
        return Contents(
            tuple(
                PythonModule(name, self._origins.get(name, _BUILT_IN), self._size(name), *causes.get(name, ("", 0)))
                for name in names
            ),
            tuple(self._report["always"]),
            tuple(self._report["plugins"]),
        )

    def parts(self, module: bytes) -> list[Part]:
        """What a finished module consists of; the sizes add up to its own. Largest first, and the filter last."""
        data = sum(size for name, size in section_sizes(module) if name == "data")
        sizes: dict[tuple[Kind, str], int] = defaultdict(int)
        sizes["sdk", "SDK"] = int(self._report["sdk"] * self._share)
        for name, origin in self._origins.items():
            sizes[_part_of(origin)] += self._size(name)
        own = sizes.pop(_FILTER, 0)
        sizes["interpreter", "interpreter"] = data - own - sum(sizes.values())
        sizes["code", "code"] = len(module) - data
        by_size = sorted(sizes.items(), key=lambda item: -item[1])
        return [Part(*key, size) for key, size in [*by_size, (_FILTER, own)]]

    def _size(self, name: str) -> int:
        return int(self._sizes.get(name, 0) * self._share)


_FILTER: Final[tuple[Kind, str]] = ("filter", "filter")


def _part_of(origin: str) -> tuple[Kind, str]:
    if origin.startswith(STANDARD_LIBRARY):
        return "standard library", "standard library"
    if not origin.startswith(SITE_PACKAGES):
        return _FILTER
    package = origin.removeprefix(SITE_PACKAGES).partition("/")[0].removesuffix(".py")
    return ("sdk", "SDK") if package == _SDK else ("package", package)


def encode(contents: Contents) -> bytes:
    """The section's content; the same for the same modules."""
    modules = {item.name: [item.origin, item.size, item.importer, item.line] for item in contents.modules}
    values = {"always": contents.always, "modules": modules, "plugins": contents.plugins}
    return json.dumps(values, separators=(",", ":")).encode()


def decode(content: bytes) -> Contents | None:
    """What a section says; None if it cannot be read, since a custom section may hold anything."""
    try:
        values = json.loads(content)
        modules = tuple(_module(name, *fields) for name, fields in values["modules"].items())
        return Contents(modules, tuple(map(_text, values["always"])), tuple(map(_text, values.get("plugins", ()))))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _module(name: str, origin: Any, size: Any, importer: Any, line: Any, *_later: Any) -> PythonModule:
    if type(size) is not int or type(line) is not int:
        raise TypeError(f"no numbers: {size!r}, {line!r}")
    return PythonModule(name, _text(origin), size, _text(importer), line)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def of_module(module: bytes) -> Contents | None:
    """The Python modules of a module, if it says. Raises MalformedWasm for what is no module."""
    content = custom_section(module, SECTION)
    return None if content is None else decode(content)
