"""The compiler: Python filters in, Proxy-Wasm modules out. What the `pyfilter` command calls, as a library.

    from pywasmfilter_compiler import build, inspect

    result = build("filter.py")
    print(inspect(result.path).abi)

Functions raise a subclass of `CompilerError`; none of them prints or exits.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import CompilerError, FilterError, MissingDependency, ToolError, UsageError

if TYPE_CHECKING:
    from .inline import InlineFilter, build_runtime, check_inline, inline_configuration
    from .module_report import ModuleReport, inspect
    from .pipeline import BuildResult, build

__all__ = [
    "BuildResult",
    "CompilerError",
    "FilterError",
    "InlineFilter",
    "MissingDependency",
    "ModuleReport",
    "ToolError",
    "UsageError",
    "build",
    "build_runtime",
    "check_inline",
    "inline_configuration",
    "inspect",
]

# Loaded when first asked for: `build` brings wasmtime with it, which `pyfilter --help` must not wait for.
_HOMES = {
    **dict.fromkeys(("BuildResult", "build"), "pipeline"),
    **dict.fromkeys(("InlineFilter", "build_runtime", "check_inline", "inline_configuration"), "inline"),
    **dict.fromkeys(("ModuleReport", "inspect"), "module_report"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
