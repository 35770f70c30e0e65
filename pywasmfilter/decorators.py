"""`@http_filter`, `@tcp_filter`, `@plugin` and `@vm`: sugar over `registry`."""

from __future__ import annotations

from .contexts import HttpContext, PluginContext, TcpContext, VMContext
from .registry import register_plugin, register_vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    H = TypeVar("H", bound=type[HttpContext])
    P = TypeVar("P", bound=type[PluginContext])
    T = TypeVar("T", bound=type[TcpContext])
    V = TypeVar("V", bound=type[VMContext])


def http_filter(name: str, *, on_error: str = "deny") -> Callable[[H], H]:
    """Register an HttpContext as a plugin of its own, under the name that Envoy calls root_id and Istio pluginName.

    `on_error` says what an uncaught exception in a callback does to its stream: "deny" answers 500, "continue" lets it
    go on unfiltered. The exception is logged either way. Raises TypeError or ValueError for a wrong class, name or
    `on_error`.
    """
    return _stream_decorator("http_filter", name, HttpContext, "http_context", on_error)


def tcp_filter(name: str, *, on_error: str = "deny") -> Callable[[T], T]:
    """Register a TcpContext as a plugin of its own, under the name that Envoy calls root_id and Istio pluginName.

    `on_error` says what an uncaught exception in a callback does to its connection: "deny" closes it, "continue" lets
    it go on unfiltered. Raises as `http_filter` does.
    """
    return _stream_decorator("tcp_filter", name, TcpContext, "tcp_context", on_error)


def _stream_decorator(decorator: str, name: str, base: type, attribute: str, on_error: str) -> Callable[[Any], Any]:
    """A decorator that makes a plugin of a stream's context, which is the plugin's `attribute`."""
    _check_name(decorator, name)

    def register(cls: Any) -> Any:
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise TypeError(f"@{decorator}({name!r}): {cls!r} is not a subclass of {base.__name__}")
        attributes = {attribute: cls, "on_error": on_error, "__module__": cls.__module__}
        register_plugin(name, type(cls.__name__, (PluginContext,), attributes))
        return cls

    return register


def plugin(name: str, *, on_error: str | None = None) -> Callable[[P], P]:
    """Register a PluginContext under its name; `on_error` as for `http_filter`, by default what the class says."""
    _check_name("plugin", name)

    def register(cls: P) -> P:
        if on_error is not None and isinstance(cls, type):
            cls.on_error = on_error
        register_plugin(name, cls)
        return cls

    return register


def vm(cls: V) -> V:
    """Register the VMContext of the module."""
    register_vm(cls)
    return cls


def _check_name(decorator: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f'@{decorator} needs the name of the plugin: @{decorator}("my-filter")')
