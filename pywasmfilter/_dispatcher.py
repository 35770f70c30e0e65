"""The host's callbacks on the Python side: which contexts there are, and what happens to exceptions.

The shim looks a context up in `contexts` and calls its method itself; it comes here for what is not plain: a new
context, the start of the VM, an exception. With coroutines it goes to `_callback_tasks`. Importing this module binds
the shim to it.
"""

from __future__ import annotations

from . import _abi, _callbacks, _errors, callouts, registry
from ._callback_tasks import public_name
from ._state import contexts
from ._tasks import Future
from ._timers import timers_of
from .contexts import Context, HttpContext, PluginContext, TcpContext, VMContext
from .types import Action, LogLevel, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

before_start: list[Callable[[], None]] = []
"""What to do when the VM's first callback comes, before any of the user's code (see `_runtime`)."""


class _VM:
    """The VM's own context, created at its start, and what its on_vm_start answered."""

    context: VMContext | None = None
    started = False
    answer = True


def on_context_create(context_id: int, parent_id: int) -> None:
    """proxy_on_context_create: a plugin (no parent) or a stream begins.

    A stream that needs nothing but an object of the plugin's class is made by the shim (`_leaves_making_to_us`).
    """
    plugin = contexts.get(parent_id)
    if plugin is None:
        _begin_plugin(context_id, parent_id)
        return
    try:
        context = plugin._abi_new_stream(context_id)  # set in _new_plugin_context
        if context is not None:
            if type(context) not in stream_classes:
                _check_stream(context, (HttpContext, TcpContext, _UndecidedStream))
            context.context_id = context_id
            context.plugin = plugin
    except BaseException as exception:  # nothing may pass: it would be a trap
        context = _stream_without_context(plugin, plugin._abi_new_stream, exception)
    contexts[context_id] = context


stream_classes: set[type] = set()
"""The classes of streams' contexts that were seen, and are what they should be."""

_MOST_CLASSES = 64


def _check_stream(context: object, kinds: tuple[type, ...]) -> None:
    cls = type(context)
    if not isinstance(context, kinds):
        raise TypeError(f"new_http_context and new_tcp_context return a context or None, not {context!r}")
    _callbacks.check_names(cls, next(kind for kind in kinds if isinstance(context, kind)))
    if _callbacks.exported and (late := _callbacks.late(cls)):
        raise TypeError(
            f"{cls.__name__} has {', '.join(sorted(late))}, which no class had when the filter was built: "
            "define it where the build imports it"
        )
    if len(stream_classes) < _MOST_CLASSES:  # classes that are made for each stream must not pile up
        stream_classes.add(cls)


def _stream_without_context(plugin: Any, factory: object, exception: BaseException) -> _RefusedStream | None:
    """What stands for a stream whose context could not be created; None lets it pass."""
    place = f"{factory.__name__}()" if isinstance(factory, type) else getattr(factory, "__name__", "new context")
    _errors.report(plugin, place, exception)
    return None if plugin.on_error == "continue" else _RefusedStream(plugin)


class _UndecidedStream:
    """A stream of a plugin that serves HTTP and TCP, until a callback tells which of them it is.

    The ABI does not say so when the stream begins. The first callback that can only be made for one of them creates
    the context, takes it in, and passes it on.
    """

    def __init__(self, plugin: PluginContext, context_id: int) -> None:
        self.plugin = plugin
        self.context_id = context_id

    def decide(self, kind: type[Context]) -> Any:
        """The context of that kind; it takes this one's place."""
        contexts.pop(self.context_id, None)  # as for every stream, there is none while it is being created
        new_context = self.plugin.new_http_context if kind is HttpContext else self.plugin.new_tcp_context
        context: Any
        try:
            context = new_context(self.context_id)
            if context is not None:
                _check_stream(context, (kind,))
                context.context_id, context.plugin = self.context_id, self.plugin
        except BaseException as exception:
            context = _stream_without_context(self.plugin, new_context, exception)
        contexts[self.context_id] = context
        return context

    def _on_log(self) -> None:
        """A request that the proxy answered before any filter saw it has no other callback than this."""
        kind = TcpContext if _abi.host.get_property(b"request\0protocol") is None else HttpContext
        context = self.decide(kind)
        if context is not None:
            context._on_log()  # what the shim would have called

    def _on_done(self) -> None: ...
    def _on_delete(self) -> None: ...
    def on_foreign_function(self, function_id: int, arguments_size: int) -> None: ...

    @property
    def _abi_paused(self) -> int:
        """What the shim asks and says of the stream after a callback is the new context's."""
        return getattr(contexts.get(self.context_id), "_abi_paused", 0)

    @_abi_paused.setter
    def _abi_paused(self, bits: int) -> None:
        if isinstance(context := contexts.get(self.context_id), Context):
            context._abi_paused = bits


def _deciding(method: str, kind: type[Context]) -> Callable[..., Any]:
    def decide(self: _UndecidedStream, *arguments: int) -> Any:
        context = self.decide(kind)
        return None if context is None else getattr(context, method)(*arguments)

    return decide


for _kind in (HttpContext, TcpContext):
    for _method in _callbacks.METHODS[_kind].values():
        if not hasattr(_UndecidedStream, _method):
            setattr(_UndecidedStream, _method, _deciding(_method, _kind))


def _begin_plugin(context_id: int, parent_id: int) -> None:
    if _VM.context is None:
        try:
            for prepare in before_start:
                prepare()
        except BaseException as exception:
            _errors.report(None, "the start of the VM", exception)
            raise
        _VM.context = _new_vm_context()
    if parent_id == 0:
        callouts.forget_deleted_plugins()
        contexts[context_id] = _new_plugin_context(context_id, _VM.context)


def _new_vm_context() -> VMContext:
    try:
        return registry.vm_context()
    except BaseException as exception:
        _errors.report(None, f"{registry.vm_context.__name__}()", exception)
        _VM.answer = False
        return VMContext()


def _new_plugin_context(context_id: int, vm: VMContext) -> object:
    name, plugin_class = _select_plugin()
    if plugin_class is None:
        return _RefusedPlugin(name)
    try:
        plugin = plugin_class.__new__(plugin_class)
        plugin.context_id = context_id
        plugin.vm = vm
        begin_plugin(plugin, name)
    except BaseException as exception:
        _errors.report(_RefusedPlugin(name), f"{plugin_class.__name__}()", exception)
        return _RefusedPlugin(name)
    return plugin


def begin_plugin(plugin: PluginContext, name: str) -> None:
    """Construct a plugin that knows its context id and its VM, under the name that reports have of it."""
    plugin._abi_name = name
    plugin._abi_reports = _errors.Reports(name, lambda delay, function: timers_of(plugin).call_later(delay, function))
    plugin.__init__()  # type: ignore[misc]  # it finds all that
    plugin._abi_new_stream = lambda stream_id: _first_stream(plugin, stream_id)


def _first_stream(plugin: PluginContext, context_id: int) -> object:
    """The context of a plugin's first stream. The plugin has been configured by now, so that it is settled how it
    creates them: where nothing else is asked for, that is their class itself.
    """
    cls = type(plugin)
    makes_http = cls.new_http_context is not PluginContext.new_http_context
    makes_tcp = cls.new_tcp_context is not PluginContext.new_tcp_context
    factory: Any
    if not makes_tcp and plugin.tcp_context is None:
        factory = plugin.new_http_context if makes_http else plugin.http_context or plugin.new_http_context
    elif not makes_http and plugin.http_context is None:
        factory = plugin.new_tcp_context if makes_tcp else plugin.tcp_context or plugin.new_tcp_context
    else:

        def factory(stream_id: int) -> object:
            return _UndecidedStream(plugin, stream_id)

    plugin._abi_new_stream = factory
    context = factory(context_id)
    if isinstance(factory, type) and _leaves_making_to_us(factory):
        _check_stream(context, (HttpContext, TcpContext))
        plugin._abi_stream_class = factory
    return context


def _leaves_making_to_us(cls: Any) -> bool:
    """Whether a class of contexts changes nothing of how they come into being."""
    return (
        cls.__init__ in (HttpContext.__init__, TcpContext.__init__)
        and cls.__new__ is object.__new__
        and cls.__setattr__ is object.__setattr__
        and type(cls).__call__ is type.__call__
    )


def _select_plugin() -> tuple[str, type[PluginContext] | None]:
    """With one plugin in the module any name is accepted; with several the host's root id, or its name, says which."""
    if len(registry.plugins) == 1:
        return next(iter(registry.plugins.items()))
    names = [_property(path) for path in (b"plugin_root_id", b"plugin_name")]
    for name in names:
        if name in registry.plugins:
            return name, registry.plugins[name]
    known = ", ".join(sorted(registry.plugins)) or "none"
    asked = " or ".join(repr(name) for name in names if name) or "without a name"
    message = f"this module has no plugin {asked}; its plugins (root_id, pluginName) are: {known}"
    _abi.host.log(LogLevel.CRITICAL, message)
    return next(filter(None, names), ""), None


def _property(path: bytes) -> str:
    return (_abi.host.get_property(path) or b"").decode("utf-8", "replace")


class _Refused(Context):
    """What needs no answer from a context that could not be created."""

    context_id = 0

    def _on_log(self) -> None: ...

    def _on_done(self) -> bool:
        return True


class _RefusedPlugin(_Refused):
    """Stands where a plugin could not be created, and makes the proxy refuse the configuration."""

    on_error = "deny"

    def __init__(self, name: str) -> None:
        self._abi_name = name
        self._abi_reports = _errors.Reports(name)

    def _abi_new_stream(self, _context_id: int) -> None:
        """Its streams come to no host that keeps to the ABI; if one does, it is refused too."""
        raise RuntimeError(f"the plugin {self._abi_name!r} was refused")

    def _on_configure(self, _size: int) -> bool:
        return False

    def _on_tick(self) -> None: ...
    def on_queue_ready(self, queue_id: int) -> None: ...


class _RefusedStream(_Refused):
    """Stands where a stream's context could not be created, and refuses it in whichever callback comes first."""

    def __init__(self, plugin: Any) -> None:
        self.plugin = plugin
        self._refused = False

    def _refuse_http(self, *_: object) -> int:
        if self._refused:
            return Action.PAUSE
        self._refused = True
        return _errors.deny_unknown(StreamType.HTTP_REQUEST, self.plugin.on_error)

    on_http_request_headers = on_http_request_body = on_http_request_trailers = on_http_request_metadata = _refuse_http

    def _refuse_response(self, *_: object) -> int:
        return Action.CONTINUE if self._refused else self._refuse_http()  # what comes then is the refusal itself

    on_http_response_headers = on_http_response_body = on_http_response_trailers = _refuse_response
    on_http_response_metadata = _refuse_response

    def _refuse_tcp(self, *_: object) -> int:
        return _errors.deny_unknown(StreamType.DOWNSTREAM)

    on_new_connection = on_downstream_data = on_upstream_data = _refuse_tcp

    def on_downstream_close(self, peer_type: int) -> None: ...
    def on_upstream_close(self, peer_type: int) -> None: ...


def on_vm_start(_context_id: int, vm_configuration_size: int) -> bool:
    """proxy_on_vm_start: the host says so for each plugin of a VM; the VM's context hears it once."""
    if _VM.context is not None and not _VM.started:
        _VM.started = True
        try:
            answer = _VM.context._on_vm_start(vm_configuration_size)
            _VM.answer = _VM.answer and answer is not False
        except BaseException as exception:
            _errors.report(None, "on_vm_start", exception)
            _VM.answer = False
    return _VM.context is not None and _VM.answer


def on_exception(context: Any, method: str, exception: BaseException) -> int:
    """Log an exception that left a callback, and give the callback's answer in its place."""
    _errors.make_room(exception)
    callout = callouts.take_delivering(method)
    if callout is not None:
        if isinstance(future := getattr(callout.handler, "__self__", None), Future):
            future.set_exception(exception)  # it is raised where the reply is awaited
            return 0
        context = callout.context
    elif isinstance(context, _UndecidedStream):
        context = contexts.get(context.context_id)
    of_stream = callout is not None and isinstance(callout.handler, callouts.GrpcStream)
    place = "a callback of a gRPC stream" if of_stream else public_name(context, method)
    _errors.report(context, place, exception)
    if isinstance(context, HttpContext | TcpContext) and (callout or method.startswith(_callbacks.WITH_ACTION)):
        # The callback may have turned to another stream before it failed.
        _abi.host.set_effective_context(context.context_id)
        is_http = isinstance(context, HttpContext) if callout else method.startswith("on_http_")
        stream_type = StreamType.DOWNSTREAM
        if is_http:
            stream_type = StreamType.HTTP_RESPONSE if "_response_" in method else StreamType.HTTP_REQUEST
        callback = callouts.handling(callout, method) if callout else getattr(type(context), method, None)
        action = _errors.answer(context, callback, exception, stream_type)
        if callout:
            return _resume_stream(context) if action == Action.CONTINUE else action
        if action == Action.PAUSE:
            context._abi_paused |= 1 << stream_type  # as the shim does for a callback that answers it
        return action
    return 1 if method == "_on_done" or method.startswith(_callbacks.WITH_ACTION) else 0


def _resume_stream(context: HttpContext | TcpContext) -> int:
    """Let a stream go on that may be waiting for the reply whose handling failed. Envoy cannot continue an upstream."""
    for stream_type in (StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE, StreamType.DOWNSTREAM):
        if context._abi_paused & 1 << stream_type:
            _abi.host.continue_stream(stream_type)
    return 0
