"""The contexts of a filter and their callbacks, all doing nothing until a subclass overrides them.

    VMContext                     one per VM: each worker thread of the proxy has one, and its main thread another
     └─ PluginContext             one per plugin configuration that uses the VM; starts, ticks, ends
         ├─ HttpContext           one per HTTP stream
         └─ TcpContext            one per TCP connection

    HttpContext, in order:  on_http_request_headers → …_body* → …_trailers → on_http_response_headers → …_body* →
                            …_trailers → on_http_stream_done → on_delete
    TcpContext, in order:   on_new_connection → on_downstream_data and on_upstream_data → on_downstream_close and
                            on_upstream_close → on_stream_done → on_delete

State lives on the instances. Start-up runs in every VM, so at least three times in Envoy even with one worker (a trial
VM, the main thread, the worker). Names are those of the Go SDK in snake case; docstrings give the ABI's.
"""

from __future__ import annotations

from . import _bodies, _tasks, callouts, calls, hostcalls, log
from ._state import EffectiveContext
from .buffers import Buffer
from .exceptions import ConfigError
from .messages import Request, Response
from .types import Action, BufferType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Any, ClassVar, TypeVar

    from ._callback_tasks import CallbackTask
    from ._errors import Policy, Reports
    from ._tasks import Task
    from ._timers import Timers
    from .callouts import GrpcReply, GrpcStream

    Text = str | bytes
    Pairs = Iterable[tuple[Text, Text]]
    R = TypeVar("R")

    # What callbacks answer. Each may be `async def`.
    Answer = int | Coroutine[Any, Any, int | None] | None
    BooleanAnswer = bool | Coroutine[Any, Any, bool | None] | None
    Waiting = Coroutine[Any, Any, None] | None


class VMContext:
    """What all plugins in one VM share. Register a subclass with `@vm` to override a callback."""

    def on_vm_start(self, vm_configuration_size: int) -> bool | None:
        """The VM starts, once (`proxy_on_vm_start`). Returning False makes the proxy reject the configuration."""

    @property
    def vm_configuration(self) -> bytes:
        """The VM configuration; b"" if there is none. There from `on_vm_start` on."""
        return self._vm_configuration

    _vm_configuration = b""

    def _on_vm_start(self, vm_configuration_size: int) -> bool | None:
        if vm_configuration_size:
            self._vm_configuration = hostcalls.get_vm_configuration()
        return self.on_vm_start(vm_configuration_size)


class Context:
    """What plugins and streams have in common."""

    context_id: int
    """The id the host gives this context."""

    _abi_streams: ClassVar[frozenset[int]] = frozenset()
    """The stream types that the context has (`StreamType`)."""

    _abi_paused = 0
    """What the context's callbacks have paused, `1 << StreamType` for each. The shim sets it, the end of a coroutine
    that waited clears it."""

    _abi_resumed = 0
    """What was resumed, perhaps after its headers had been paused; `1 << StreamType` for each."""

    _abi_ended = -1
    """The host's call in which this stream was answered or closed; Envoy breaks down at a second time in one."""

    _abi_over = False
    """Whether the stream's last callbacks have come."""

    _abi_grpc_streams: set[GrpcStream] | None = None
    """The open gRPC streams of the context, if there are any."""

    _abi_tasks: dict[Task[Any], None] | None = None
    """The tasks of the context that have not ended, if there are any; those that began first come first."""

    _abi_waiting: dict[int, CallbackTask] | None = None
    """Stream type → the callback that is a coroutine and has not ended, if there are any."""

    _abi_headers: Mapping[int, list[tuple[bytes, bytes]]] | None = None
    """Map type → headers that had to leave before a body could be awaited."""

    def on_foreign_function(self, function_id: int, arguments_size: int) -> Waiting:
        """The proxy calls a function of its own making (`proxy_on_foreign_function`). Envoy never does.

        `hostcalls.get_foreign_function_arguments` has what comes with it.
        """

    def on_delete(self) -> Waiting:
        """The context is gone for the proxy (`proxy_on_delete`). Nothing comes after it."""

    def _on_delete(self) -> Waiting:
        self._abi_over = True
        if self._abi_tasks:
            _tasks.end_all(self)
        if self._abi_grpc_streams:
            callouts.cancel_all(self._abi_grpc_streams)
        return self.on_delete()

    def create_task(self, coroutine: Coroutine[Any, Any, R]) -> Task[R]:
        """Run a coroutine beside the callbacks; allowed in every callback. It begins at once.

        It ends with its context at the latest: a stream's task is cancelled when the stream is over, a plugin's
        (`self.plugin.create_task`) goes on. An exception in it is logged, unless the task is awaited, which raises it.
        Raises TypeError for what is no coroutine, MisuseError for a context that is over or still being created.
        """
        return _tasks.create_task(self, coroutine)

    def http_call(
        self,
        cluster: Text,
        method: str = "GET",
        path: str = "/",
        *,
        headers: Pairs | Mapping[str, Text] = (),
        body: Text = b"",
        json: object = None,
        authority: str | None = None,
        timeout: float = 5.0,
    ) -> calls.HttpCall:
        """Make an HTTP call (`proxy_http_call`): `reply = await self.http_call("auth", path="/check")`.

        `cluster` is a cluster of the proxy, `authority` the host that is asked for, by default the cluster's name;
        `json` is a body in the place of `body`. `timeout` is in seconds, more than 0. The call is made at once, so
        several can be on their way (`gather`); awaiting gives its `HttpReply`. A service that is down or too slow is a
        reply with status 503 or 504.

        Allowed in every callback of a context, not while one is being created. A stream that is over calls as its
        plugin. Raises BadArgument for an unknown cluster and ValueError for a timeout that is none; awaiting raises
        CallFailed if a response broke off, or the cluster has no host to ask.
        """
        with EffectiveContext(self._calling_id()):
            return calls.http_call(cluster, method, path, headers, body, json, authority, timeout)

    def grpc_call(
        self,
        cluster: Text,
        service: str,
        method: str,
        message: object,
        *,
        initial_metadata: Pairs = (),
        timeout: float = 5.0,
    ) -> calls.GrpcCall:
        """Make a unary gRPC call (`proxy_grpc_call`): `reply = await self.grpc_call("hello", "hello.v1.Hello", …)`.

        The arguments are those of `hostcalls.dispatch_grpc_call`; `timeout` is in seconds, more than 0. Awaiting gives
        the `GrpcReply`, which says what a failed call came to. The call is cancelled if those who await it are.

        Allowed and raises as `hostcalls.dispatch_grpc_call`.
        """
        with EffectiveContext(self._calling_id()):
            return calls.grpc_call(cluster, service, method, message, initial_metadata, timeout)

    def grpc_stream(
        self, cluster: Text, service: str, method: str, *, initial_metadata: Pairs = ()
    ) -> calls.GrpcMessages:
        """Open a gRPC stream (`proxy_grpc_stream`) whose messages are awaited.

            stream = self.grpc_stream("chat", "chat.v1.Chat", "Talk")
            stream.send(question)
            async for message in stream: …

        Allowed and raises as `hostcalls.open_grpc_stream`. It ends with its context at the latest.
        """
        stream = calls.GrpcMessages()
        with EffectiveContext(self._calling_id()):
            callouts.open_grpc_stream(cluster, service, method, stream, initial_metadata=initial_metadata)
        return stream

    def _calling_id(self) -> int:
        """The context that makes calls: of a stream that is over, or in a task of its plugin, that is the plugin."""
        plugin = getattr(self, "plugin", self)
        running = _tasks.current
        is_plugins = self._abi_over or (running is not None and running.context is plugin)
        return plugin.context_id if is_plugins else self.context_id

    def dispatch_http_call(
        self,
        cluster: Text,
        headers: Pairs,
        callback: Callable[[int, int, int], object],
        *,
        body: Text = b"",
        trailers: Pairs = (),
        timeout_milliseconds: int = 5000,
    ) -> int:
        """Send an HTTP request from this context; see `hostcalls.dispatch_http_call`."""
        with EffectiveContext(self.context_id):
            return callouts.dispatch_http_call(
                cluster, headers, callback, body=body, trailers=trailers, timeout_milliseconds=timeout_milliseconds
            )

    def dispatch_grpc_call(
        self,
        cluster: Text,
        service: str,
        method: str,
        message: object,
        callback: Callable[[GrpcReply], object],
        *,
        initial_metadata: Pairs = (),
        timeout_milliseconds: int = 5000,
    ) -> int:
        """Make a unary gRPC call from this context; see `hostcalls.dispatch_grpc_call`."""
        with EffectiveContext(self.context_id):
            return callouts.dispatch_grpc_call(
                cluster,
                service,
                method,
                message,
                callback,
                initial_metadata=initial_metadata,
                timeout_milliseconds=timeout_milliseconds,
            )

    def open_grpc_stream(
        self, cluster: Text, service: str, method: str, stream: GrpcStream, *, initial_metadata: Pairs = ()
    ) -> None:
        """Open a gRPC stream from this context; see `hostcalls.open_grpc_stream`."""
        with EffectiveContext(self.context_id):
            callouts.open_grpc_stream(cluster, service, method, stream, initial_metadata=initial_metadata)


class PluginContext(Context):
    """One plugin configuration in one VM (the ABI's root context).

    `http_context` and `tcp_context` are the classes of its streams' contexts, for plugins that need no more than that;
    others override `new_http_context` or `new_tcp_context`. A plugin may serve both.
    """

    vm: VMContext
    """The context of the VM that the plugin runs in. Plugins are created before its `on_vm_start`."""

    http_context: ClassVar[type[HttpContext] | None] = None
    tcp_context: ClassVar[type[TcpContext] | None] = None
    on_error: ClassVar[Policy | Callable[..., int | None]] = "deny"
    """What an uncaught exception in a stream's callback does: "deny" answers 500, or closes a TCP connection;
    "continue" lets the stream go on; a `Deny` is another answer. Or a method with the stream's context and the
    exception as arguments, which answers as a callback does."""

    config_type: ClassVar[type[Any] | None] = None
    """The dataclass that the plugin's configuration must fit; None if the plugin reads it itself."""

    config: Any
    """The plugin's configuration, an object of `config_type`; there from `on_plugin_start` on, if there is a type.

    It is made of the JSON in `plugin_configuration`. If that does not fit, the proxy refuses the configuration, and the
    log says why. A class that says `config: Config` tells type checkers what it is.
    """

    def on_plugin_start(self, plugin_configuration_size: int) -> BooleanAnswer:
        """The plugin starts (`proxy_on_configure`). Returning False, or an exception, makes the proxy refuse it."""

    def on_plugin_done(self) -> BooleanAnswer:
        """The plugin is about to go (`proxy_on_done`). Returning False delays that until `hostcalls.done()`."""

    def on_tick(self) -> Waiting:
        """The period set with `hostcalls.set_tick_period_milliseconds` has passed (`proxy_on_tick`)."""

    def on_queue_ready(self, queue_id: int) -> Waiting:
        """Somebody put an item into a queue that this plugin registered last (`proxy_on_queue_ready`)."""

    def on_log(self) -> Waiting:
        """The plugin is an access logger, and a request is over (`proxy_on_log`). Its headers can be read."""

    def new_http_context(self, context_id: int) -> HttpContext | None:
        """The context for a new HTTP stream; None if this plugin does not look at it."""
        return None if self.http_context is None else self.http_context(context_id)

    def new_tcp_context(self, context_id: int) -> TcpContext | None:
        """The context for a new TCP connection; None if this plugin does not look at it."""
        return None if self.tcp_context is None else self.tcp_context(context_id)

    @property
    def holds_headers(self) -> bool:
        """Whether headers can be held back until the body is there (`Message.body`).

        The proxy's configuration of the plugin has `allow_on_headers_stop_iteration: true` for that, and tells the
        module with `PYFILTER_ALLOW_ON_HEADERS_STOP_ITERATION=true` in its VM's environment. Allowed in every callback.
        """
        if self._abi_holds_headers is None:
            self._abi_holds_headers = _bodies.holds_headers()
        return self._abi_holds_headers

    @property
    def plugin_configuration(self) -> bytes:
        """The plugin's configuration; b"" if there is none.

        It is read from the host in `on_plugin_start` and kept, so it is there in all later callbacks too.
        """
        return self._plugin_configuration

    _plugin_configuration = b""

    _abi_decode_config: Callable[[bytes], Any] | None = None
    """What makes `config`; `registry` sets it if there is a `config_type`."""

    _abi_name = ""
    """The name under which the plugin is registered."""

    _abi_tick_period = 0
    """In milliseconds, what the user asked for."""

    _abi_timers: Timers | None = None
    """Set when the first one is needed."""

    _abi_ticking: Task[None] | None = None
    """What `async def on_tick` does, or did last."""

    _abi_reports: Reports
    """What is known of its exceptions (see `_errors`); set when the plugin is created."""

    _abi_shows_bodies = False
    """Whether a body was shown whose headers were held back, so that the proxy is as the environment says."""

    _abi_holds_headers: bool | None = None
    """Whether the proxy shows bodies whose headers are held back; None until somebody wants to know."""

    _abi_new_stream: Callable[[int], object]
    """Creates the context of a stream; chosen when the plugin is created (see `_dispatcher`)."""

    _abi_stream_class: type[HttpContext | TcpContext] | None = None
    """The class whose objects the shim makes for streams; None if making them takes more than that."""

    # What the shim calls for callbacks that reach contexts of all kinds, or need something done around them.

    def _on_configure(self, plugin_configuration_size: int) -> BooleanAnswer:
        self._plugin_configuration = hostcalls.get_plugin_configuration() if plugin_configuration_size else b""
        if self._abi_decode_config is not None:
            try:
                self.config = self._abi_decode_config(self._plugin_configuration)
            except ConfigError as error:
                log.error(f"{self._abi_name}: bad configuration: {error}")
                return False
        answer = self.on_plugin_start(plugin_configuration_size)
        if answer is not False:
            for method, marks in marked_methods(type(self)).items():
                for mark in marks:
                    mark.begin(self, method)
        return answer

    def _on_done(self) -> BooleanAnswer:
        return self.on_plugin_done()

    def _on_log(self) -> Waiting:
        return self.on_log()

    def _on_tick(self) -> None:
        self._run_on_tick()

    def _run_on_tick(self) -> None:
        """An `async def on_tick` is not called again before it has ended."""
        if self._abi_ticking is not None and not self._abi_ticking.done:
            return
        ticking = self.on_tick()
        if ticking is not None and hasattr(ticking, "send"):
            self._abi_ticking = _tasks.Task(self, ticking, "on_tick")
            self._abi_ticking.start()

    _on_http_call_response = staticmethod(callouts.on_http_call_response)
    _on_grpc_receive_initial_metadata = staticmethod(callouts.on_grpc_receive_initial_metadata)
    _on_grpc_receive = staticmethod(callouts.on_grpc_receive)
    _on_grpc_receive_trailing_metadata = staticmethod(callouts.on_grpc_receive_trailing_metadata)
    _on_grpc_close = staticmethod(callouts.on_grpc_close)


class _ConfigOfPlugin:
    """Gives streams the `config` of their plugin. A stream may have an attribute of that name in its place."""

    def __get__(self, stream: Any, _cls: object) -> Any:
        return self if stream is None else stream.plugin.config


def marked_methods(cls: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The methods of a class that `@every` or `@on_queue` have marked, with the marks; see `schedule`."""
    members = {name: member for base in reversed(cls.__mro__) for name, member in vars(base).items()}
    return {name: member._abi_marks for name, member in members.items() if hasattr(member, "_abi_marks")}  # noqa: SLF001


class HttpContext(Context):
    """One HTTP stream. `plugin` is set as soon as the constructor returns.

    A subclass with a constructor of its own calls `super().__init__(context_id)`.
    """

    plugin: PluginContext
    """The plugin that this stream belongs to."""

    config: Any = _ConfigOfPlugin()
    """The plugin's `config`. A class that says `config: Config` tells type checkers what it is."""

    answered = False
    """Whether this filter answered the request itself, be it with the 500 for an exception.

    Such an answer passes the filter's own response callbacks too.
    """

    request: Request = Request()
    """The request's headers, trailers and body. One object for all streams."""

    response: Response = Response()
    """The response's headers, trailers and body. One object for all streams."""

    _abi_streams = frozenset((StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE))

    def __init__(self, context_id: int) -> None:
        self.context_id = context_id

    # An Action is an int, and None means Action.CONTINUE.

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Answer:
        """The request's headers have come (`proxy_on_request_headers`). PAUSE holds back all that follows."""

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Answer:
        """A part of the request's body has come; `body_size` bytes are buffered now (`proxy_on_request_body`).

        PAUSE keeps them for the next part's callback, which then sees both.
        """

    def on_http_request_trailers(self, num_trailers: int) -> Answer:
        """The request's trailers have come (`proxy_on_request_trailers`)."""

    def on_http_request_metadata(self, num_elements: int) -> Answer:
        """An HTTP/2 METADATA frame has come (`proxy_on_request_metadata`); what it holds cannot be read."""

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> Answer:
        """The response's headers have come (`proxy_on_response_headers`)."""

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> Answer:
        """A part of the response's body has come; `body_size` bytes are buffered now (`proxy_on_response_body`)."""

    def on_http_response_trailers(self, num_trailers: int) -> Answer:
        """The response's trailers have come (`proxy_on_response_trailers`)."""

    def on_http_response_metadata(self, num_elements: int) -> Answer:
        """An HTTP/2 METADATA frame has come (`proxy_on_response_metadata`); what it holds cannot be read."""

    def on_http_stream_done(self) -> Waiting:
        """The stream is over; request and response headers can be read once more (`proxy_on_log`)."""

    def send_http_response(
        self,
        status: int,
        headers: Pairs = (),
        body: Text = b"",
        grpc_status: int = -1,
        details: str = "",
    ) -> Action:
        """Answer the request here instead of letting it go on (`proxy_send_local_response`).

        Allowed until the response has begun, also from another context's callback. `status` is 200 to 599,
        `grpc_status` 0 to 16, or -1 for none; anything else raises ValueError, as does a header with a line break or
        NUL. `details` goes to the access log. The answer passes this filter's own response callbacks on its way out,
        with `answered` True. Returns `Action.PAUSE`, for the callback to return.
        """
        with EffectiveContext(self.context_id):
            return hostcalls.send_http_response(status, headers, body, grpc_status, details)

    def resume_http_request(self) -> None:
        """Let the paused request go on, also from another context's callback (`proxy_continue_stream`).

        Raises BadArgument if the stream is gone.
        """
        with EffectiveContext(self.context_id):
            hostcalls.continue_stream(StreamType.HTTP_REQUEST)

    def resume_http_response(self) -> None:
        """Let the paused response go on (`proxy_continue_stream`). Raises BadArgument if the stream is gone."""
        with EffectiveContext(self.context_id):
            hostcalls.continue_stream(StreamType.HTTP_RESPONSE)

    def close_http_request(self) -> None:
        """Reset the stream (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with EffectiveContext(self.context_id):
            hostcalls.close_http_request()

    def close_http_response(self) -> None:
        """Reset the stream (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with EffectiveContext(self.context_id):
            hostcalls.close_http_response()

    def _on_done(self) -> bool | None:
        """A stream cannot put off its end; the host ignores the answer."""

    def _on_log(self) -> Waiting:
        self._abi_over = True
        return self.on_http_stream_done()


_DOWNSTREAM_DATA = Buffer(BufferType.DOWNSTREAM_DATA)
_UPSTREAM_DATA = Buffer(BufferType.UPSTREAM_DATA)


class TcpContext(Context):
    """One TCP connection through the proxy. `plugin` is set as soon as the constructor returns.

    A subclass with a constructor of its own calls `super().__init__(context_id)`.
    """

    plugin: PluginContext
    """The plugin that this connection belongs to."""

    config: Any = _ConfigOfPlugin()
    """The plugin's `config`. A class that says `config: Config` tells type checkers what it is."""

    @property
    def downstream_data(self) -> Buffer:
        """What the proxy holds of the client's data."""
        return _DOWNSTREAM_DATA

    @property
    def upstream_data(self) -> Buffer:
        """What the proxy holds of the upstream's data."""
        return _UPSTREAM_DATA

    _abi_streams = frozenset((StreamType.DOWNSTREAM, StreamType.UPSTREAM))

    def __init__(self, context_id: int) -> None:
        self.context_id = context_id

    def on_new_connection(self) -> Answer:
        """A client has connected (`proxy_on_new_connection`)."""

    def on_downstream_data(self, data_size: int, end_of_stream: bool) -> Answer:
        """Data of the client has come; `data_size` bytes are buffered now (`proxy_on_downstream_data`).

        PAUSE keeps them for the next callback, which then sees both.
        """

    def on_downstream_close(self, peer_type: int) -> Waiting:
        """The client's connection is closed, by whom `PeerType` says (`proxy_on_downstream_connection_close`)."""

    def on_upstream_data(self, data_size: int, end_of_stream: bool) -> Answer:
        """Data of the upstream has come; `data_size` bytes are buffered now (`proxy_on_upstream_data`)."""

    def on_upstream_close(self, peer_type: int) -> Waiting:
        """The upstream's connection is closed (`proxy_on_upstream_connection_close`). Envoy does not say by whom."""

    def on_stream_done(self) -> Waiting:
        """The connection is over (`proxy_on_log`)."""

    def resume_downstream(self) -> None:
        """Let the client's paused data go on (`proxy_continue_stream`).

        Raises BadArgument if the connection is gone.
        """
        with EffectiveContext(self.context_id):
            hostcalls.resume_downstream()

    def resume_upstream(self) -> None:
        """Let the upstream's paused data go on (`proxy_continue_stream`). Envoy has no way to: Unimplemented."""
        with EffectiveContext(self.context_id):
            hostcalls.resume_upstream()

    def close_downstream(self) -> None:
        """Close the client's connection (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with EffectiveContext(self.context_id):
            hostcalls.close_downstream()

    def close_upstream(self) -> None:
        """Close the upstream's connection (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with EffectiveContext(self.context_id):
            hostcalls.close_upstream()

    def _on_done(self) -> bool | None:
        """A connection cannot put off its end; the host ignores the answer."""

    def _on_log(self) -> Waiting:
        self._abi_over = True
        return self.on_stream_done()
