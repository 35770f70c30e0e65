"""`@http_filter`, `@plugin` and `@vm`: sugar over `registry`."""

from __future__ import annotations

from .contexts import HttpContext, PluginContext, VMContext
from .registry import register_plugin, register_vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    H = TypeVar("H", bound=type[HttpContext])
    P = TypeVar("P", bound=type[PluginContext])
    V = TypeVar("V", bound=type[VMContext])


def http_filter(name: str, *, on_error: str = "deny") -> Callable[[H], H]:
    """Register an HttpContext as a plugin of its own, under the name that Envoy calls root_id and Istio pluginName.

    `on_error` says what an uncaught exception in a callback does to its stream: "deny" answers 500, "continue" lets it
    go on unfiltered. The exception is logged either way. Raises TypeError or ValueError for a wrong class, name or
    `on_error`.
    """
    _check_name("http_filter", name)

    def register(cls: H) -> H:
        if not (isinstance(cls, type) and issubclass(cls, HttpContext)):
            raise TypeError(f"@http_filter({name!r}): {cls!r} is not a subclass of HttpContext")
        attributes = {"http_context": cls, "on_error": on_error, "__module__": cls.__module__}
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
