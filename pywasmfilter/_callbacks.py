"""Which callbacks of the ABI a module exports: those that the user's classes override, and a few the SDK needs.

A callback that is not exported is one the proxy never makes, so nothing is paid for it.
"""

from __future__ import annotations

from .contexts import HttpContext, PluginContext, VMContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ALWAYS = ("proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure", "proxy_on_delete")

_OF_PLUGIN = {"proxy_on_tick": "on_tick", "proxy_on_done": "on_plugin_done"}

_OF_HTTP = {
    "proxy_on_request_headers": "on_http_request_headers",
    "proxy_on_request_body": "on_http_request_body",
    "proxy_on_request_trailers": "on_http_request_trailers",
    "proxy_on_response_headers": "on_http_response_headers",
    "proxy_on_response_body": "on_http_response_body",
    "proxy_on_response_trailers": "on_http_response_trailers",
    "proxy_on_log": "on_http_stream_done",
}


exported: frozenset[str] = frozenset()
"""What the module exports; empty under a plain Python, where every callback is made."""


def overridden() -> list[str]:
    """The exports, sorted. Every subclass that exists now counts, as a plugin may create any of them.

    Raises TypeError for a class whose callbacks can never be made as they are written.
    """
    names = set(_ALWAYS)
    for base in (VMContext, PluginContext, HttpContext):
        for cls in _subclasses(base):
            _check_names(cls, base)
            names |= of_class(cls)
    return sorted(names)


def of_class(cls: type[Any]) -> set[str]:
    """The callbacks that a class overrides, as the ABI calls them."""
    base, callbacks = (PluginContext, _OF_PLUGIN) if issubclass(cls, PluginContext) else (HttpContext, _OF_HTTP)
    found: set[str] = set()
    if issubclass(cls, base):
        found.update(e for e, method in callbacks.items() if getattr(cls, method) is not getattr(base, method))
    return found


def _check_names(cls: type[Any], base: type[Any]) -> None:
    """A misspelt callback would never be made, and the filter would let everything pass."""
    for name, member in vars(cls).items():
        if not name.startswith("on_") or not callable(member):
            continue
        code = getattr(member, "__code__", None)
        where = f"{cls.__qualname__}.{name}" + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")
        if not hasattr(base, name) and name.startswith(_PREFIXES):
            known = ", ".join(sorted(n for n in vars(base) if n.startswith("on_") and callable(getattr(base, n))))
            raise TypeError(f"{where} is no callback of {base.__name__}; its callbacks are: {known}")
        if hasattr(base, name) and code is not None and code.co_flags & _COROUTINE:
            raise TypeError(f"{where} is async; callbacks are plain functions")


_PREFIXES = ("on_http_", "on_request_", "on_response_", "on_plugin_", "on_vm_", "on_tick")
_COROUTINE = 0x80 | 0x100 | 0x200  # CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
