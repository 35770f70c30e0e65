"""Host calls as functions, under the names of the ABI without `proxy_`, or of the Go SDK in snake case.

They act on the context whose callback is running, or on the one given to `set_effective_context`. Each raises a
`HostcallError` when the host answers a status other than OK (see `exceptions`), and MisuseError at import time.
"""

from __future__ import annotations

from . import _abi
from ._serialization import encode_pairs
from ._state import EffectiveContext, find_context
from .buffers import EVERYTHING, Buffer
from .callouts import (
    MOST_MILLISECONDS,
    dispatch_grpc_call,
    dispatch_http_call,
    get_status,
    grpc_cancel,
    grpc_close,
    grpc_send,
    open_grpc_stream,
)
from .exceptions import MisuseError
from .foreign_functions import call_foreign_function
from .headers import HeaderMap
from .metrics import Counter, Gauge, Histogram, define_metric, get_metric, increment_metric, record_metric
from .properties import get_property, get_property_map, set_property
from .shared import (
    dequeue_shared_queue,
    enqueue_shared_queue,
    get_shared_data,
    register_shared_queue,
    resolve_shared_queue,
    set_shared_data,
    update_shared_data,
)
from .types import Action, BufferType, MapType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from typing import Any

    Text = str | bytes

__all__ = [
    "add_http_request_header",
    "add_http_request_trailer",
    "add_http_response_header",
    "add_http_response_trailer",
    "append_downstream_data",
    "append_http_request_body",
    "append_http_response_body",
    "append_upstream_data",
    "call_foreign_function",
    "close_downstream",
    "close_http_request",
    "close_http_response",
    "close_stream",
    "close_upstream",
    "continue_stream",
    "define_counter_metric",
    "define_gauge_metric",
    "define_histogram_metric",
    "define_metric",
    "dequeue_shared_queue",
    "dispatch_grpc_call",
    "dispatch_http_call",
    "done",
    "effective_context",
    "enqueue_shared_queue",
    "get_current_time_nanoseconds",
    "get_downstream_data",
    "get_foreign_function_arguments",
    "get_http_call_response_body",
    "get_http_call_response_header",
    "get_http_call_response_headers",
    "get_http_call_response_trailers",
    "get_http_request_body",
    "get_http_request_header",
    "get_http_request_headers",
    "get_http_request_trailer",
    "get_http_request_trailers",
    "get_http_response_body",
    "get_http_response_header",
    "get_http_response_headers",
    "get_http_response_trailer",
    "get_http_response_trailers",
    "get_log_level",
    "get_metric",
    "get_plugin_configuration",
    "get_property",
    "get_property_map",
    "get_shared_data",
    "get_status",
    "get_upstream_data",
    "get_vm_configuration",
    "grpc_cancel",
    "grpc_close",
    "grpc_send",
    "increment_metric",
    "open_grpc_stream",
    "prepend_downstream_data",
    "prepend_http_request_body",
    "prepend_http_response_body",
    "prepend_upstream_data",
    "record_metric",
    "register_shared_queue",
    "remove_http_request_header",
    "remove_http_request_trailer",
    "remove_http_response_header",
    "remove_http_response_trailer",
    "replace_downstream_data",
    "replace_http_request_body",
    "replace_http_request_header",
    "replace_http_request_headers",
    "replace_http_request_trailer",
    "replace_http_request_trailers",
    "replace_http_response_body",
    "replace_http_response_header",
    "replace_http_response_headers",
    "replace_http_response_trailer",
    "replace_http_response_trailers",
    "replace_upstream_data",
    "resolve_shared_queue",
    "resume_downstream",
    "resume_http_request",
    "resume_http_response",
    "resume_upstream",
    "send_http_response",
    "set_effective_context",
    "set_property",
    "set_shared_data",
    "set_tick_period_milliseconds",
    "update_shared_data",
]

# Logging, clocks and timers


def get_log_level() -> int:
    """The proxy's log level, 0 (trace) to 6 (off) (`proxy_get_log_level`). Allowed in every callback."""
    return _abi.host.get_log_level()


def get_current_time_nanoseconds() -> int:
    """Nanoseconds since 1970 (`proxy_get_current_time_nanoseconds`). Allowed in every callback."""
    return _abi.host.get_current_time_nanoseconds()


def set_tick_period_milliseconds(period: int) -> None:
    """Call `on_tick` of the current plugin every `period` milliseconds; 0 ends it.

    One timer per plugin and VM, and so one per worker (`proxy_set_tick_period_milliseconds`).
    """
    if not 0 <= period <= MOST_MILLISECONDS:
        raise ValueError(f"a tick period is 0 to {MOST_MILLISECONDS} milliseconds, not {period}")
    context: Any = find_context(_abi.host.get_effective_context())
    plugin = getattr(context, "plugin", context)
    if plugin is None or plugin._abi_timers is None:  # noqa: SLF001  # see `contexts.PluginContext`
        _abi.host.set_tick_period_milliseconds(period)
    if plugin is not None:
        plugin._abi_tick_period = period  # noqa: SLF001
        if plugin._abi_timers is not None:  # noqa: SLF001
            plugin._abi_timers.follow_user_period()  # noqa: SLF001


# Contexts and streams


def set_effective_context(context_id: int) -> None:
    """Make the calls that follow in this callback act on another context (`proxy_set_effective_context`).

    Raises BadArgument if that context is gone. 0 is the context that the callback was made for.
    """
    _abi.host.set_effective_context(context_id)


def effective_context(context_id: int) -> AbstractContextManager[None]:
    """The same for a `with` block: `with hostcalls.effective_context(stream.context_id): …`."""
    return EffectiveContext(context_id)


def done() -> None:
    """End a plugin whose `on_plugin_done` returned False (`proxy_done`). Raises NotFound if none waits."""
    _abi.host.done()


def continue_stream(stream_type: StreamType) -> None:
    """Let a paused stream go on (`proxy_continue_stream`), once the running callback has returned.

    Change headers before, not after. Allowed in callbacks of a stream, and in others after `set_effective_context`;
    MisuseError elsewhere, for what no callback has paused, and in the callback itself that pauses: it answers CONTINUE
    instead. Envoy has no way to continue UPSTREAM: Unimplemented.
    """
    if type(stream_type) is not StreamType:
        stream_type = StreamType(stream_type)  # a number
    context = _check_stream("proxy_continue_stream", stream_type)
    if context is not None and stream_type is not StreamType.UPSTREAM:
        _check_paused(context, stream_type)
        context._abi_resumed |= 1 << stream_type  # noqa: SLF001
        if context._abi_waiting and (task := context._abi_waiting.get(stream_type)):  # noqa: SLF001
            task.was_let_go()
    _abi.host.continue_stream(stream_type)


def close_stream(stream_type: StreamType) -> None:
    """Reset an HTTP stream, or close a connection after what is written (`proxy_close_stream`).

    Allowed as above. MisuseError if an HTTP stream has been answered or closed in the same callback.
    """
    context = _check_stream("proxy_close_stream", stream_type)
    _check_can_end(context, stream_type)
    _abi.host.close_stream(stream_type)
    _has_ended(context, stream_type)


def _check_stream(function: str, stream_type: StreamType) -> Any:
    """The effective context. Proxies say OK and do nothing if it has no such stream."""
    context = find_context(_abi.host.get_effective_context())
    if context is not None and stream_type not in context._abi_streams:  # noqa: SLF001  # see `contexts.Context`
        raise MisuseError(
            f"{function} of a stream of type {StreamType(stream_type).name} in a callback of {type(context).__name__}, "
            "which has none; use the stream's own context, or set_effective_context to it first"
        )
    return context


# Envoy 1.40 breaks down, or sends a message twice, where the following raise MisuseError.


def _check_paused(context: Any, stream_type: StreamType) -> None:
    _check_not_over(context)
    if _abi.host.get_running_stream() == stream_type:
        raise MisuseError("a callback lets its own stream go on by returning Action.CONTINUE")
    if not context._abi_paused & 1 << stream_type:  # noqa: SLF001
        raise MisuseError(f"{stream_type.name} is not paused: no callback for it has answered PAUSE")


def _check_can_end(context: Any, stream_type: StreamType) -> None:
    """A stream is about to be answered or closed, which a callback can do once to an HTTP stream."""
    if context is None or stream_type > StreamType.HTTP_RESPONSE:
        return
    _check_not_over(context)
    if context._abi_ended == _abi.host.get_call_number():  # noqa: SLF001
        raise MisuseError("this callback has answered or closed the stream already")


def _has_ended(context: Any, stream_type: StreamType) -> None:
    """The proxy has taken the answer, or the order to close. Before that an exception would seem to come after it."""
    if context is not None and stream_type != StreamType.UPSTREAM:
        context._abi_ended = _abi.host.get_call_number()  # noqa: SLF001


def _check_not_over(context: Any) -> None:
    if context._abi_over:  # noqa: SLF001
        raise MisuseError("the stream is over: nothing can be done with it in its last callbacks")


def resume_http_request() -> None:
    """Let a paused request go on; see `continue_stream`."""
    continue_stream(StreamType.HTTP_REQUEST)


def resume_http_response() -> None:
    """Let a paused response go on; see `continue_stream`."""
    continue_stream(StreamType.HTTP_RESPONSE)


def resume_downstream() -> None:
    """Let the data of a paused client go on; see `continue_stream`. The Go SDK calls it ContinueTcpStream."""
    continue_stream(StreamType.DOWNSTREAM)


def resume_upstream() -> None:
    """Let the data of a paused upstream go on; see `continue_stream`. Envoy does not implement it."""
    continue_stream(StreamType.UPSTREAM)


def close_http_request() -> None:
    """Reset the stream; see `close_stream`."""
    close_stream(StreamType.HTTP_REQUEST)


def close_http_response() -> None:
    """Reset the stream; see `close_stream`."""
    close_stream(StreamType.HTTP_RESPONSE)


def close_downstream() -> None:
    """Close the client's connection; see `close_stream`."""
    close_stream(StreamType.DOWNSTREAM)


def close_upstream() -> None:
    """Close the upstream's connection; see `close_stream`."""
    close_stream(StreamType.UPSTREAM)


def send_http_response(
    status: int,
    headers: Iterable[tuple[Text, Text]] = (),
    body: Text = b"",
    grpc_status: int = -1,
    details: str = "",
) -> Action:
    """Answer the current request (`proxy_send_local_response`); see `HttpContext.send_http_response`."""
    if not 200 <= status <= 599:
        raise ValueError(f"the status of a response is 200 to 599, not {status}")
    if not -1 <= grpc_status <= 16:
        raise ValueError(f"a gRPC status is 0 to 16, or -1 for none, not {grpc_status}")
    context = _check_stream("proxy_send_local_response", StreamType.HTTP_REQUEST)
    pairs = encode_pairs(headers)
    _check_can_end(context, StreamType.HTTP_REQUEST)
    if MapType.HTTP_RESPONSE_HEADERS in (getattr(context, "_abi_headers", None) or ()):
        raise MisuseError(
            "the response has begun, so there is no other answer: its headers left when its body was awaited; see "
            "PluginContext.holds_headers"
        )
    _abi.host.send_local_response(status, details, body, pairs, grpc_status)
    _has_ended(context, StreamType.HTTP_REQUEST)
    if context is not None:
        context.answered = True
    return Action.PAUSE


# Configurations


def get_vm_configuration() -> bytes:
    """The VM's configuration (`proxy_get_buffer_bytes`). Allowed in every callback; in ABI 0.1.0 in `on_vm_start` only.

    `VMContext.vm_configuration` keeps it.
    """
    return _abi.host.get_buffer_bytes(BufferType.VM_CONFIGURATION, 0, EVERYTHING)


def get_plugin_configuration() -> bytes:
    """The plugin's configuration (`proxy_get_buffer_bytes`); b"" if there is none. Allowed in `on_plugin_start` only.

    `PluginContext.plugin_configuration` keeps it.
    """
    return _abi.host.get_buffer_bytes(BufferType.PLUGIN_CONFIGURATION, 0, EVERYTHING)


def get_foreign_function_arguments() -> bytes:
    """What came with `on_foreign_function` (`proxy_get_buffer_bytes`). Allowed in that callback only."""
    return _abi.host.get_buffer_bytes(BufferType.FOREIGN_FUNCTION_ARGUMENTS, 0, EVERYTHING)


# Header maps, under the Go SDK's names: the methods of `HeaderMap`

_request_headers = HeaderMap(MapType.HTTP_REQUEST_HEADERS)
get_http_request_headers = _request_headers.items
get_http_request_header = _request_headers.get
add_http_request_header = _request_headers.add
replace_http_request_header = _request_headers.__setitem__
remove_http_request_header = _request_headers.remove
replace_http_request_headers = _request_headers.replace_all

_request_trailers = HeaderMap(MapType.HTTP_REQUEST_TRAILERS)
get_http_request_trailers = _request_trailers.items
get_http_request_trailer = _request_trailers.get
add_http_request_trailer = _request_trailers.add
replace_http_request_trailer = _request_trailers.__setitem__
remove_http_request_trailer = _request_trailers.remove
replace_http_request_trailers = _request_trailers.replace_all

_response_headers = HeaderMap(MapType.HTTP_RESPONSE_HEADERS)
get_http_response_headers = _response_headers.items
get_http_response_header = _response_headers.get
add_http_response_header = _response_headers.add
replace_http_response_header = _response_headers.__setitem__
remove_http_response_header = _response_headers.remove
replace_http_response_headers = _response_headers.replace_all

_response_trailers = HeaderMap(MapType.HTTP_RESPONSE_TRAILERS)
get_http_response_trailers = _response_trailers.items
get_http_response_trailer = _response_trailers.get
add_http_response_trailer = _response_trailers.add
replace_http_response_trailer = _response_trailers.__setitem__
remove_http_response_trailer = _response_trailers.remove
replace_http_response_trailers = _response_trailers.replace_all

_call_response_headers = HeaderMap(MapType.HTTP_CALL_RESPONSE_HEADERS)
get_http_call_response_headers = _call_response_headers.items
get_http_call_response_header = _call_response_headers.get
get_http_call_response_trailers = HeaderMap(MapType.HTTP_CALL_RESPONSE_TRAILERS).items

# Buffers, likewise: the methods of `Buffer`

_request_body = Buffer(BufferType.HTTP_REQUEST_BODY)
get_http_request_body = _request_body.read
append_http_request_body = _request_body.append
prepend_http_request_body = _request_body.prepend
replace_http_request_body = _request_body.replace

_response_body = Buffer(BufferType.HTTP_RESPONSE_BODY)
get_http_response_body = _response_body.read
append_http_response_body = _response_body.append
prepend_http_response_body = _response_body.prepend
replace_http_response_body = _response_body.replace

_downstream_data = Buffer(BufferType.DOWNSTREAM_DATA)
get_downstream_data = _downstream_data.read
append_downstream_data = _downstream_data.append
prepend_downstream_data = _downstream_data.prepend
replace_downstream_data = _downstream_data.replace

_upstream_data = Buffer(BufferType.UPSTREAM_DATA)
get_upstream_data = _upstream_data.read
append_upstream_data = _upstream_data.append
prepend_upstream_data = _upstream_data.prepend
replace_upstream_data = _upstream_data.replace

get_http_call_response_body = Buffer(BufferType.HTTP_CALL_RESPONSE_BODY).read

# Metrics


def define_counter_metric(name: str) -> Counter:
    """A counter that the proxy knows from now on; `Counter(name)` tells it at the first use."""
    counter = Counter(name)
    counter.define()
    return counter


def define_gauge_metric(name: str) -> Gauge:
    """A gauge that the proxy knows from now on."""
    gauge = Gauge(name)
    gauge.define()
    return gauge


def define_histogram_metric(name: str) -> Histogram:
    """A histogram that the proxy knows from now on."""
    histogram = Histogram(name)
    histogram.define()
    return histogram
