"""Which callbacks of the ABI a module exports: those that the user's classes override, and a few the SDK needs.

A callback that is not exported is one the proxy never makes, so nothing is paid for it.
"""

from __future__ import annotations

from .callouts import GrpcStream
from .contexts import Context, HttpContext, PluginContext, TcpContext, VMContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ALWAYS = (
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_delete",
    # Replies to calls. A proxy makes them only if there was a call.
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
)

_OF_ALL = {"proxy_on_foreign_function": "on_foreign_function"}

_OF_PLUGIN = {
    "proxy_on_tick": "on_tick",
    "proxy_on_queue_ready": "on_queue_ready",
    "proxy_on_done": "on_plugin_done",
    "proxy_on_log": "on_log",
}

_OF_HTTP = {
    "proxy_on_request_headers": "on_http_request_headers",
    "proxy_on_request_body": "on_http_request_body",
    "proxy_on_request_trailers": "on_http_request_trailers",
    "proxy_on_request_metadata": "on_http_request_metadata",
    "proxy_on_response_headers": "on_http_response_headers",
    "proxy_on_response_body": "on_http_response_body",
    "proxy_on_response_trailers": "on_http_response_trailers",
    "proxy_on_response_metadata": "on_http_response_metadata",
    "proxy_on_log": "on_http_stream_done",
}

_OF_TCP = {
    "proxy_on_new_connection": "on_new_connection",
    "proxy_on_downstream_data": "on_downstream_data",
    "proxy_on_downstream_connection_close": "on_downstream_close",
    "proxy_on_upstream_data": "on_upstream_data",
    "proxy_on_upstream_connection_close": "on_upstream_close",
    "proxy_on_log": "on_stream_done",
}

METHODS: dict[type[Context], dict[str, str]] = {
    PluginContext: _OF_ALL | _OF_PLUGIN,
    HttpContext: _OF_ALL | _OF_HTTP,
    TcpContext: _OF_ALL | _OF_TCP,
}
"""For each kind of context: the ABI's callback → the method that hears of it."""

exported: frozenset[str] = frozenset()
"""What the module exports; empty under a plain Python, where every callback is made."""


def overridden() -> list[str]:
    """The exports, sorted. Every subclass that exists now counts, as a plugin may create any of them.

    Raises TypeError for a class whose callbacks can never be made as they are written.
    """
    names = set(_ALWAYS)
    bases: tuple[type[Any], ...] = (VMContext, GrpcStream, *METHODS)
    for base in bases:
        for cls in _subclasses(base):
            _check_names(cls, base)
            names |= of_class(cls)
    return sorted(names)


def of_class(cls: type[Any]) -> set[str]:
    """The callbacks that a class overrides, as the ABI calls them."""
    return {
        callback
        for base, methods in METHODS.items()
        if issubclass(cls, base)
        for callback, method in methods.items()
        if getattr(cls, method) is not getattr(base, method)
    }


def some_on_delete() -> bool:
    """Whether a class overrides `on_delete`: proxy_on_delete is exported in any case, but need not enter Python."""
    return any(cls.on_delete is not Context.on_delete for base in METHODS for cls in _subclasses(base))


def _check_names(cls: type[Any], base: type[Any]) -> None:
    """A misspelt callback would never be made, and the filter would let everything pass."""
    for name, member in vars(cls).items():
        if not name.startswith("on_") or not callable(member):
            continue
        code = getattr(member, "__code__", None)
        where = f"{cls.__qualname__}.{name}" + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")
        if not hasattr(base, name) and name.startswith(_PREFIXES):
            known = ", ".join(sorted(n for n in dir(base) if n.startswith("on_") and callable(getattr(base, n))))
            raise TypeError(f"{where} is no callback of {base.__name__}; its callbacks are: {known}")
        if hasattr(base, name) and code is not None and code.co_flags & _COROUTINE:
            raise TypeError(f"{where} is async; callbacks are plain functions")


_PREFIXES = (
    *("on_http_", "on_request_", "on_response_", "on_plugin_", "on_vm_", "on_tick", "on_queue_", "on_new_"),
    *("on_initial_", "on_message", "on_trailing_", "on_close", "on_grpc_"),
    *("on_downstream_", "on_upstream_", "on_stream_", "on_delete", "on_log", "on_foreign_"),
)
_COROUTINE = 0x80 | 0x100 | 0x200  # CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
