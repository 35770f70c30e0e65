"""The modules of a filter under a plain Python: each VM has its own copy of those that are in the filter's folder."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pywasmfilter_compiler import FilterError
from pywasmfilter_compiler.entries import Entry, find_entries

from .plugin import Refused

_SHARED: Final = ("pywasmfilter", "pywasmfilter_compiler")
_INSTALLED: Final = ("site-packages", "dist-packages")


class FilterModules(MetaPathFinder):
    """The filters at some paths, and what they import of their folders. Raises Refused where there is no filter."""

    def __init__(self, paths: Sequence[Path]) -> None:
        try:
            self._entries = find_entries(paths)
        except FilterError as error:
            raise Refused(str(error)) from error
        self._roots = list(dict.fromkeys(str(entry.root.path) for entry in self._entries))
        self._modules: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._found: list[str] = []
        self._of_the_test: list[str] = []
        self._scanned = 0
        self._depth = 0

    @property
    def name(self) -> str:
        """The paths, for messages."""
        return ", ".join(str(entry.path) for entry in self._entries)

    def load(self) -> None:
        """Import the filters; raises what they raise. What the test has imported of their folders is out of sight."""
        for number, entry in enumerate(self._entries):
            name = _module_name(entry)
            if name in self._modules or name in sys.stdlib_module_names:
                name = f"filter_{number}_{name}"
            spec = importlib.util.spec_from_file_location(name, entry.file)
            if spec is None or spec.loader is None:
                raise ImportError(f"{entry.file} is no module")
            self._hide([name] if name in sys.modules else [])
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            self._modules[name] = module
            spec.loader.exec_module(module)

    def place_of(self, error: BaseException) -> str:
        """The filter's file and line that an exception came from; the filter itself if none did."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{error.filename}:{error.lineno}"
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if any(_is_below(frame.filename, root) for root in self._roots)
        ]
        return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else self.name

    def owns(self, name: str) -> bool:
        """Whether a module is one of this copy."""
        return name in self._modules

    def uses(self, name: str) -> bool:
        """Whether a module of another place was imported by one of these."""
        module = sys.modules.get(name)
        return any(value is module for own in self._modules.values() for value in vars(own).values())

    def enter(self) -> None:
        """Imports give the modules of this copy from now on."""
        self._depth += 1
        if self._depth == 1:
            self._hide(name for name in {*self._modules, *self._in_the_test()} if name in sys.modules)
            sys.modules.update(self._modules)
            sys.meta_path.insert(0, self)

    def leave(self) -> None:
        """Imports give what they did before."""
        self._depth -= 1
        if self._depth == 0:
            if self in sys.meta_path:  # a filter can do anything
                sys.meta_path.remove(self)
            self._modules = {
                name: sys.modules.pop(name) for name in [*self._modules, *self._found] if name in sys.modules
            }
            self._found.clear()
            sys.modules.update(self._hidden)
            self._hidden.clear()

    def _hide(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._hidden[name] = sys.modules.pop(name)

    def _in_the_test(self) -> list[str]:
        """Modules of the filter's folder that the test has imported. Looked for when there are others than before."""
        if len(sys.modules) != self._scanned:
            self._of_the_test = [name for name, module in list(sys.modules.items()) if self._is_here(name, module)]
            self._scanned = len(sys.modules)
        return self._of_the_test

    def _is_here(self, name: str, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and self._is_own(name, file)

    def _is_own(self, name: str, file: str) -> bool:
        return name.partition(".")[0] not in _SHARED and any(_is_below(file, root) for root in self._roots)

    def find_spec(self, name: str, path: Any = None, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        """A module of the filter's folder, in front of all others."""
        spec = importlib.machinery.PathFinder.find_spec(name, path or self._roots)
        if spec is None:
            return None
        places = [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ())
        if not any(place is not None and self._is_own(name, place) for place in places):
            return None
        if spec.origin is None:
            spec.submodule_search_locations = places  # Python itself would look along sys.path again
        self._found.append(name)
        return spec


def _module_name(entry: Entry) -> str:
    return entry.relative.removesuffix(".py").removesuffix("/__init__")


def _is_below(file: str, root: str) -> bool:
    prefix = root.rstrip("/") + "/"
    if not file.startswith(prefix) or any(part in file[len(prefix) :] for part in _INSTALLED):
        return False
    # The filter's folder may be one that Python itself, or an environment, is somewhere in.
    return not any(place.startswith(prefix) and file.startswith(place) for place in _ELSEWHERE)


_ELSEWHERE: Final = tuple(
    f"{path.rstrip('/')}/"
    for path in {sys.prefix, sys.base_prefix, *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))}
)
