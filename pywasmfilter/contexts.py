"""The contexts of a filter and their callbacks, all doing nothing until a subclass overrides them.

    VMContext                     one per VM: each worker thread of the proxy has one, and its main thread another
     └─ PluginContext             one per plugin configuration that uses the VM; starts, ticks, ends
         └─ HttpContext           one per HTTP stream

    HttpContext, in order:  on_http_request_headers → …_body* → …_trailers → on_http_response_headers → …_body* →
                            …_trailers → on_http_stream_done

State lives on the instances. Start-up runs in every VM, so at least three times in Envoy even with one worker (a trial
VM, the main thread, the worker). Names are those of the Go SDK in snake case; docstrings give the ABI's.
"""

from __future__ import annotations

from . import _abi, hostcalls
from .headers import Request, Response
from .types import BufferType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar


class VMContext:
    """What all plugins in one VM share. Register a subclass with `@vm` to override a callback."""

    def on_vm_start(self, vm_configuration_size: int) -> bool | None:
        """The VM starts, once (`proxy_on_vm_start`). Returning False makes the proxy reject the configuration."""

    @property
    def vm_configuration(self) -> bytes:
        """The VM configuration; b"" if there is none. Allowed in every callback."""
        return _abi.host.get_buffer_bytes(BufferType.VM_CONFIGURATION, 0, _EVERYTHING)


class PluginContext:
    """One plugin configuration in one VM (the ABI's root context).

    `http_context` is the class of its streams' contexts, for plugins that need no more than that; others override
    `new_http_context`.
    """

    context_id: int
    """The id the host gives this context."""

    http_context: ClassVar[type[HttpContext] | None] = None
    on_error: ClassVar[str] = "deny"
    """What an uncaught exception in a stream's callback does: "deny" answers 500, "continue" lets the stream go on."""

    def on_plugin_start(self, plugin_configuration_size: int) -> bool | None:
        """The plugin starts (`proxy_on_configure`). Returning False, or an exception, makes the proxy refuse it."""

    def on_plugin_done(self) -> bool | None:
        """The plugin is about to go (`proxy_on_done`). Returning False delays that until `hostcalls.done()`."""

    def on_tick(self) -> None:
        """The period set with `hostcalls.set_tick_period_milliseconds` has passed (`proxy_on_tick`)."""

    def new_http_context(self, context_id: int) -> HttpContext | None:
        """The context for a new HTTP stream; None if this plugin does not look at streams."""
        return None if self.http_context is None else self.http_context(context_id)

    @property
    def plugin_configuration(self) -> bytes:
        """The plugin's configuration; b"" if there is none.

        It is read from the host in `on_plugin_start` and kept, so it is there in all later callbacks too.
        """
        return self._plugin_configuration

    _plugin_configuration = b""

    def _on_configure(self, plugin_configuration_size: int) -> bool | None:
        self._plugin_configuration = (
            _abi.host.get_buffer_bytes(BufferType.PLUGIN_CONFIGURATION, 0, _EVERYTHING)
            if plugin_configuration_size
            else b""
        )
        return self.on_plugin_start(plugin_configuration_size)

    # What the shim calls for callbacks that reach contexts of both kinds, or need something done around them.

    def _on_done(self) -> bool | None:
        return self.on_plugin_done()

    def _on_log(self) -> None:
        """A root context is logged when the plugin is an access logger."""


_REQUEST = Request()
_RESPONSE = Response()


class HttpContext:
    """One HTTP stream. `plugin` is set as soon as the constructor returns.

    A subclass with a constructor of its own calls `super().__init__(context_id)`.
    """

    plugin: PluginContext
    """The plugin that this stream belongs to."""

    def __init__(self, context_id: int) -> None:
        self.context_id = context_id
        # One object for all streams. Not of the class: the interpreter finds attributes of the instance much faster.
        self.request = _REQUEST
        self.response = _RESPONSE

    # The annotations say `int | None`: an Action is an int, and None means Action.CONTINUE.

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        """The request's headers have come (`proxy_on_request_headers`)."""

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int | None:
        """A part of the request's body has come; `body_size` bytes are buffered now (`proxy_on_request_body`)."""

    def on_http_request_trailers(self, num_trailers: int) -> int | None:
        """The request's trailers have come (`proxy_on_request_trailers`)."""

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        """The response's headers have come (`proxy_on_response_headers`)."""

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> int | None:
        """A part of the response's body has come; `body_size` bytes are buffered now (`proxy_on_response_body`)."""

    def on_http_response_trailers(self, num_trailers: int) -> int | None:
        """The response's trailers have come (`proxy_on_response_trailers`)."""

    def on_http_stream_done(self) -> None:
        """The stream is over; request and response headers can be read once more (`proxy_on_log`)."""

    def send_http_response(
        self,
        status: int,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        body: str | bytes = b"",
        grpc_status: int = -1,
        details: str = "",
    ) -> int:
        """Answer the request here instead of letting it go on (`proxy_send_local_response`).

        Allowed until the response has begun. `status` is 200 to 599, `grpc_status` 0 to 16, or -1 for none; anything
        else raises ValueError, as does a header with a line break or NUL. `details` goes to the access log. The answer
        passes this filter's own response callbacks on its way out. Returns `Action.PAUSE`, for the callback to return.
        """
        hostcalls.send_http_response(status, headers, body, grpc_status, details)
        return 1

    def _on_done(self) -> bool | None:
        """A stream cannot put off its end; the host ignores the answer."""

    def _on_log(self) -> None:
        self.on_http_stream_done()


_EVERYTHING = 0x7FFFFFFF
