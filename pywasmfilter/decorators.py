"""`@http_filter`, `@tcp_filter`, `@plugin` and `@vm`: sugar over `registry`."""

from __future__ import annotations

from .contexts import HttpContext, PluginContext, TcpContext, VMContext
from .registry import register_plugin, register_vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._errors import Policy

    H = TypeVar("H", bound=type[HttpContext])
    P = TypeVar("P", bound=type[PluginContext])
    T = TypeVar("T", bound=type[TcpContext])
    V = TypeVar("V", bound=type[VMContext])


def http_filter(name: str, *, on_error: Policy = "deny", config: type | None = None) -> Callable[[H], H]:
    """Register an HttpContext as a plugin of its own, under the name that Envoy calls root_id and Istio pluginName.

    `on_error` says what an uncaught exception in a callback does to its stream: "deny" answers 500, "continue" lets it
    go on unfiltered, `Deny(503, …)` is another answer. A function is called with the stream's context and the exception
    and answers as a callback does. The exception is logged in any case.

    `config` is the dataclass that the plugin's configuration must fit; `self.config` is an object of it. Raises
    TypeError or ValueError for a wrong class, name, `on_error` or `config`.
    """
    return _stream_decorator("http_filter", name, HttpContext, "http_context", on_error, config)


def tcp_filter(name: str, *, on_error: Policy = "deny", config: type | None = None) -> Callable[[T], T]:
    """Register a TcpContext as a plugin of its own, under the name that Envoy calls root_id and Istio pluginName.

    `on_error` says what an uncaught exception in a callback does to its connection: "deny" closes it, "continue" lets
    it go on unfiltered. `config` and errors are as for `http_filter`.
    """
    return _stream_decorator("tcp_filter", name, TcpContext, "tcp_context", on_error, config)


def _stream_decorator(
    decorator: str, name: str, base: type, attribute: str, on_error: Policy, config: type | None
) -> Callable[[Any], Any]:
    """A decorator that makes a plugin of a stream's context, which is the plugin's `attribute`."""
    _check_name(decorator, name)

    def register(cls: Any) -> Any:
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise TypeError(f"@{decorator}({name!r}): {cls!r} is not a subclass of {base.__name__}")
        attributes = {
            attribute: cls,
            "on_error": _as_attribute(on_error),
            "config_type": config,
            "__module__": cls.__module__,
        }
        register_plugin(name, type(cls.__name__, (PluginContext,), attributes))
        return cls

    return register


def plugin(name: str, *, on_error: Policy | None = None, config: type | None = None) -> Callable[[P], P]:
    """Register a PluginContext under its name; the rest is as for `http_filter`, and by default what the class says."""
    _check_name("plugin", name)

    def register(cls: P) -> P:
        if on_error is not None and isinstance(cls, type):
            cls.on_error = _as_attribute(on_error)
        if config is not None and isinstance(cls, type):
            cls.config_type = config
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


def _as_attribute(policy: Policy) -> Any:
    """A function is no method of the class that it becomes an attribute of."""
    return policy if isinstance(policy, str) or not callable(policy) else staticmethod(policy)
