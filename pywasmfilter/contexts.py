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

from . import callouts, hostcalls
from .buffers import Buffer
from .headers import Request, Response
from .types import Action, BufferType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import ClassVar

    from .callouts import GrpcReply, GrpcStream

    Text = str | bytes
    Pairs = Iterable[tuple[Text, Text]]


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
    """What the context's callbacks have paused, `1 << StreamType` for each; the shim sets it."""

    _abi_ended = -1
    """The host's call in which this HTTP stream was answered or closed; Envoy breaks down at a second time in one."""

    _abi_over = False
    """Whether the stream's last callbacks have come."""

    _abi_grpc_streams: set[GrpcStream] | None = None
    """The open gRPC streams of the context, if there are any."""

    def on_foreign_function(self, function_id: int, arguments_size: int) -> None:
        """The proxy calls a function of its own making (`proxy_on_foreign_function`). Envoy never does.

        `hostcalls.get_foreign_function_arguments` has what comes with it.
        """

    def on_delete(self) -> None:
        """The context is gone for the proxy (`proxy_on_delete`). Nothing comes after it."""

    def _on_delete(self) -> None:
        self._abi_over = True
        if self._abi_grpc_streams:
            callouts.cancel_all(self._abi_grpc_streams)
        self.on_delete()

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
        with hostcalls.effective_context(self.context_id):
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
        with hostcalls.effective_context(self.context_id):
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
        with hostcalls.effective_context(self.context_id):
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
    on_error: ClassVar[str] = "deny"
    """What an uncaught exception in a stream's callback does: "deny" answers 500, or closes a TCP connection;
    "continue" lets the stream go on."""

    def on_plugin_start(self, plugin_configuration_size: int) -> bool | None:
        """The plugin starts (`proxy_on_configure`). Returning False, or an exception, makes the proxy refuse it."""

    def on_plugin_done(self) -> bool | None:
        """The plugin is about to go (`proxy_on_done`). Returning False delays that until `hostcalls.done()`."""

    def on_tick(self) -> None:
        """The period set with `hostcalls.set_tick_period_milliseconds` has passed (`proxy_on_tick`)."""

    def on_queue_ready(self, queue_id: int) -> None:
        """Somebody put an item into a queue that this plugin registered last (`proxy_on_queue_ready`)."""

    def on_log(self) -> None:
        """The plugin is an access logger, and a request is over (`proxy_on_log`). Its headers can be read."""

    def new_http_context(self, context_id: int) -> HttpContext | None:
        """The context for a new HTTP stream; None if this plugin does not look at it."""
        return None if self.http_context is None else self.http_context(context_id)

    def new_tcp_context(self, context_id: int) -> TcpContext | None:
        """The context for a new TCP connection; None if this plugin does not look at it."""
        return None if self.tcp_context is None else self.tcp_context(context_id)

    @property
    def plugin_configuration(self) -> bytes:
        """The plugin's configuration; b"" if there is none.

        It is read from the host in `on_plugin_start` and kept, so it is there in all later callbacks too.
        """
        return self._plugin_configuration

    _plugin_configuration = b""

    _abi_new_stream: Callable[[int], object]
    """Creates the context of a stream; chosen when the plugin is created (see `_dispatcher`)."""

    # What the shim calls for callbacks that reach contexts of all kinds, or need something done around them.

    def _on_configure(self, plugin_configuration_size: int) -> bool | None:
        self._plugin_configuration = hostcalls.get_plugin_configuration() if plugin_configuration_size else b""
        return self.on_plugin_start(plugin_configuration_size)

    def _on_done(self) -> bool | None:
        return self.on_plugin_done()

    def _on_log(self) -> None:
        self.on_log()

    _on_http_call_response = staticmethod(callouts.on_http_call_response)
    _on_grpc_receive_initial_metadata = staticmethod(callouts.on_grpc_receive_initial_metadata)
    _on_grpc_receive = staticmethod(callouts.on_grpc_receive)
    _on_grpc_receive_trailing_metadata = staticmethod(callouts.on_grpc_receive_trailing_metadata)
    _on_grpc_close = staticmethod(callouts.on_grpc_close)


_REQUEST = Request()
_RESPONSE = Response()


class HttpContext(Context):
    """One HTTP stream. `plugin` is set as soon as the constructor returns.

    A subclass with a constructor of its own calls `super().__init__(context_id)`.
    """

    plugin: PluginContext
    """The plugin that this stream belongs to."""

    answered = False
    """Whether this filter answered the request itself, be it with the 500 for an exception.

    Such an answer passes the filter's own response callbacks too.
    """

    request: Request
    """The request's headers, trailers and body."""

    response: Response
    """The response's headers, trailers and body."""

    _abi_streams = frozenset((StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE))

    def __init__(self, context_id: int) -> None:
        self.context_id = context_id
        # One object for all streams. Not of the class: the interpreter finds attributes of the instance much faster.
        self.request = _REQUEST
        self.response = _RESPONSE

    # The annotations say `int | None`: an Action is an int, and None means Action.CONTINUE.

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        """The request's headers have come (`proxy_on_request_headers`). PAUSE holds back all that follows."""

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int | None:
        """A part of the request's body has come; `body_size` bytes are buffered now (`proxy_on_request_body`).

        PAUSE keeps them for the next part's callback, which then sees both.
        """

    def on_http_request_trailers(self, num_trailers: int) -> int | None:
        """The request's trailers have come (`proxy_on_request_trailers`)."""

    def on_http_request_metadata(self, num_elements: int) -> int | None:
        """An HTTP/2 METADATA frame has come (`proxy_on_request_metadata`); what it holds cannot be read."""

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        """The response's headers have come (`proxy_on_response_headers`)."""

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> int | None:
        """A part of the response's body has come; `body_size` bytes are buffered now (`proxy_on_response_body`)."""

    def on_http_response_trailers(self, num_trailers: int) -> int | None:
        """The response's trailers have come (`proxy_on_response_trailers`)."""

    def on_http_response_metadata(self, num_elements: int) -> int | None:
        """An HTTP/2 METADATA frame has come (`proxy_on_response_metadata`); what it holds cannot be read."""

    def on_http_stream_done(self) -> None:
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
        with hostcalls.effective_context(self.context_id):
            return hostcalls.send_http_response(status, headers, body, grpc_status, details)

    def resume_http_request(self) -> None:
        """Let the paused request go on, also from another context's callback (`proxy_continue_stream`).

        Raises BadArgument if the stream is gone.
        """
        with hostcalls.effective_context(self.context_id):
            hostcalls.resume_http_request()

    def resume_http_response(self) -> None:
        """Let the paused response go on (`proxy_continue_stream`). Raises BadArgument if the stream is gone."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.resume_http_response()

    def close_http_request(self) -> None:
        """Reset the stream (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.close_http_request()

    def close_http_response(self) -> None:
        """Reset the stream (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.close_http_response()

    def _on_done(self) -> bool | None:
        """A stream cannot put off its end; the host ignores the answer."""

    def _on_log(self) -> None:
        self._abi_over = True
        self.on_http_stream_done()


_DOWNSTREAM_DATA = Buffer(BufferType.DOWNSTREAM_DATA)
_UPSTREAM_DATA = Buffer(BufferType.UPSTREAM_DATA)


class TcpContext(Context):
    """One TCP connection through the proxy. `plugin` is set as soon as the constructor returns.

    A subclass with a constructor of its own calls `super().__init__(context_id)`.
    """

    plugin: PluginContext
    """The plugin that this connection belongs to."""

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

    def on_new_connection(self) -> int | None:
        """A client has connected (`proxy_on_new_connection`)."""

    def on_downstream_data(self, data_size: int, end_of_stream: bool) -> int | None:
        """Data of the client has come; `data_size` bytes are buffered now (`proxy_on_downstream_data`).

        PAUSE keeps them for the next callback, which then sees both.
        """

    def on_downstream_close(self, peer_type: int) -> None:
        """The client's connection is closed, by whom `PeerType` says (`proxy_on_downstream_connection_close`)."""

    def on_upstream_data(self, data_size: int, end_of_stream: bool) -> int | None:
        """Data of the upstream has come; `data_size` bytes are buffered now (`proxy_on_upstream_data`)."""

    def on_upstream_close(self, peer_type: int) -> None:
        """The upstream's connection is closed (`proxy_on_upstream_connection_close`). Envoy does not say by whom."""

    def on_stream_done(self) -> None:
        """The connection is over (`proxy_on_log`)."""

    def resume_downstream(self) -> None:
        """Let the client's paused data go on (`proxy_continue_stream`).

        Raises BadArgument if the connection is gone.
        """
        with hostcalls.effective_context(self.context_id):
            hostcalls.resume_downstream()

    def resume_upstream(self) -> None:
        """Let the upstream's paused data go on (`proxy_continue_stream`). Envoy has no way to: Unimplemented."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.resume_upstream()

    def close_downstream(self) -> None:
        """Close the client's connection (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.close_downstream()

    def close_upstream(self) -> None:
        """Close the upstream's connection (`proxy_close_stream`). Raises BadArgument if it is gone."""
        with hostcalls.effective_context(self.context_id):
            hostcalls.close_upstream()

    def _on_done(self) -> bool | None:
        """A connection cannot put off its end; the host ignores the answer."""

    def _on_log(self) -> None:
        self.on_stream_done()
