"""Which callbacks of the ABI a module exports: those that the user's classes override, and a few the SDK needs.

A callback that is not exported is one the proxy never makes, so nothing is paid for it.
"""

from __future__ import annotations

from .contexts import HttpContext, PluginContext

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


def overridden() -> list[str]:
    """The exports, sorted. Every subclass that exists now counts, as a plugin may create any of them."""
    names = set(_ALWAYS)
    for base, callbacks in ((PluginContext, _OF_PLUGIN), (HttpContext, _OF_HTTP)):
        classes = list(_subclasses(base))
        names |= {
            export
            for export, method in callbacks.items()
            if any(getattr(cls, method) is not getattr(base, method) for cls in classes)
        }
    return sorted(names)


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
