"""Which callbacks of the ABI a module exports: those that the user's classes override, and a few the SDK needs.

A callback that is not exported is one the proxy never makes, so nothing is paid for it.
"""

from __future__ import annotations

from .callouts import GrpcStream
from .contexts import Context, HttpContext, PluginContext, TcpContext, VMContext, marked_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ALWAYS = (
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_delete",
    # Timers, those of coroutines too. A proxy ticks only if it was told to.
    "proxy_on_tick",
    # Replies to calls. A proxy makes them only if there was a call.
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
)

_OF_ALL = {"proxy_on_foreign_function": "on_foreign_function"}

_OF_PLUGIN = {
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
    names = set(ALWAYS)
    bases: tuple[type[Any], ...] = (VMContext, GrpcStream, *METHODS)
    for base in bases:
        for cls in subclasses(base):
            check_names(cls, base)
            names |= of_class(cls)
    return sorted(names)


def of_class(cls: type[Any]) -> set[str]:
    """The callbacks that a class overrides, as the ABI calls them."""
    found = {
        callback
        for base, methods in METHODS.items()
        if issubclass(cls, base)
        for callback, method in methods.items()
        if getattr(cls, method) is not getattr(base, method)
    }
    found.update(mark.callback for marks in marked_methods(cls).values() for mark in marks if mark.callback)
    waiting = [name for name in found & _HELD_BACK.keys() if is_async(getattr(cls, _OF_HTTP[name]))]
    return found.union(*(_HELD_BACK[name] for name in waiting))


_HELD_BACK = {
    f"proxy_on_{direction}_{part}": {f"proxy_on_{direction}_{after}" for after in following}
    for direction in ("request", "response")
    for part, following in (("headers", ("body", "trailers")), ("body", ("trailers",)))
}
"""What a coroutine may hold back: the callback that it is → those that follow."""


def is_async(callback: Any) -> bool:
    """Whether a callback is a coroutine function."""
    code = getattr(callback, "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE)


notifies_deletes = False
"""Whether a class overrides `on_delete`: proxy_on_delete is exported in any case, but need not enter Python."""


def late(cls: type[Any]) -> set[str]:
    """The callbacks of a class that came into being after the build, and that the proxy will not make."""
    found = of_class(cls) - exported
    if issubclass(cls, Context) and cls.on_delete is not Context.on_delete and not notifies_deletes:
        found.add("on_delete")
    return found


def some_on_delete() -> bool:
    """Whether a class overrides `on_delete`."""
    return any(cls.on_delete is not Context.on_delete for base in METHODS for cls in subclasses(base))


def check_names(cls: type[Any], base: type[Any]) -> None:
    """Raises TypeError for a misspelt callback, of the class or what it inherits: it would never be made, and the
    filter would let everything pass.
    """
    if not issubclass(cls, PluginContext) and (marked := marked_methods(cls)):
        raise TypeError(f"{cls.__qualname__}.{min(marked)}: @every and @on_queue are for methods of a PluginContext")
    for owner in cls.__mro__:
        if not owner.__module__.startswith("pywasmfilter."):
            for name, member in vars(owner).items():
                if name.startswith("on_") and callable(member):
                    _check_name(owner, name, member, base)
                _check_on_error(owner, name, member, base)


def _check_name(cls: type[Any], name: str, member: Any, base: type[Any]) -> None:
    code = getattr(member, "__code__", None)
    where = f"{cls.__qualname__}.{name}" + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")
    if not hasattr(base, name) and (base is GrpcStream or name.startswith(_PREFIXES) or name in _OTHER_NAMES):
        known = ", ".join(sorted(n for n in dir(base) if n.startswith("on_") and callable(getattr(base, n))))
        raise TypeError(f"{where} is no callback of {base.__name__}; its callbacks are: {known}")
    if hasattr(base, name) and code is not None:
        like = getattr(getattr(base, name), "__code__", None)
        if like is not None and not _takes(member, like.co_argcount):
            arguments = ", ".join(like.co_varnames[: like.co_argcount])
            raise TypeError(f"{where} is called with ({arguments}), which it does not take")
        if code.co_flags & _GENERATOR:
            raise TypeError(f"{where} is a generator, which does nothing when it is called")
        if base not in METHODS and code.co_flags & _COROUTINE:
            raise TypeError(f"{where} is async; the callbacks of {base.__name__} are plain functions")


def _check_on_error(cls: type[Any], name: str, member: Any, base: type[Any]) -> None:
    if name == "on_error" and base in (HttpContext, TcpContext):
        raise TypeError(
            f"{cls.__qualname__}.on_error: what exceptions do is said to the decorator, as in "
            '@http_filter("name", on_error=…), by a PluginContext, or by @on_error at a callback'
        )
    no_answer = base is not GrpcStream and hasattr(base, name) and not name.startswith(WITH_ACTION)
    if hasattr(member, "_on_error") and (no_answer or name in _OTHERS_WITH_ACTION or hasattr(member, "_abi_marks")):
        raise TypeError(
            f"{cls.__qualname__}.{name}: @on_error is for callbacks in which a stream waits for the answer; what "
            "others raise is logged and counted"
        )


def _takes(function: Any, given: int) -> bool:
    """Whether a function can be called with so many arguments."""
    code = function.__code__
    optional = len(function.__defaults__ or ())
    enough = code.co_argcount >= given or code.co_flags & _VARIABLE
    named = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    return bool(enough) and code.co_argcount - optional <= given and not named


_VARIABLE = 0x04  # CO_VARARGS

WITH_ACTION = ("on_http_", "on_new_connection", "on_downstream_data", "on_upstream_data")
"""How the names of callbacks begin that answer how a stream goes on."""
_OTHERS_WITH_ACTION = ("on_http_stream_done",)

_PREFIXES = (
    *("on_http_", "on_request_", "on_response_", "on_plugin_", "on_vm_", "on_tick", "on_queue_", "on_new_"),
    *("on_downstream_", "on_upstream_", "on_stream_", "on_delete", "on_log", "on_foreign_"),
)
_OTHER_NAMES = ("on_configure", "on_context_create", "on_done", "on_grpc_close", "on_grpc_receive")
"""What the ABI or other SDKs call callbacks that have another name here, or none."""
_COROUTINE = 0x80  # CO_COROUTINE
_GENERATOR = 0x20 | 0x100 | 0x200  # CO_GENERATOR, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """All classes below one that are alive, some more than once."""
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)
