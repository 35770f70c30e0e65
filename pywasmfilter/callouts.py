"""Calls from a filter to other services: HTTP calls, gRPC calls and gRPC streams through the proxy's own clusters.

The proxy answers later, and always to the plugin's context. What is kept here finds the way back: a reply reaches the
context that made the call, with that context as the effective one, so that what the reply does to "the request" is done
to the right one. If that context is gone meanwhile, the reply is dropped.
"""

from __future__ import annotations

from . import _abi
from ._errors import is_plain
from ._protobuf import field, fields
from ._serialization import decode_texts, encode_pairs
from ._state import EffectiveContext, find_context
from .exceptions import HostcallError, MisuseError
from .types import BufferType, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    Text = str | bytes
    Pairs = Iterable[tuple[Text, Text]]
    M = TypeVar("M")


class Callout:
    """A call that is on its way, or a stream that is open: who made it, and who hears what comes back."""

    __slots__ = ("context", "handler", "late", "outer")

    def __init__(self, context: Any, handler: Any) -> None:
        self.context: Any = context
        self.handler: Any = handler
        self.late: list[tuple[str, list[tuple[str, str]]]] | None = None
        """While a host call on the stream runs: callbacks with metadata that wait until it has returned."""
        self.outer: Callout | None = None
        """The call in whose handler this one's reply came; the proxy may deliver one inside another."""


pending: dict[int, Callout] = {}
"""Token → call. Tokens are unique in a VM."""

delivering: Callout | None = None
"""The call whose reply is being handled, or was when an exception left its handler."""


def dispatch_http_call(
    cluster: Text,
    headers: Pairs,
    callback: Callable[[int, int, int], object],
    *,
    body: Text = b"",
    trailers: Pairs = (),
    timeout_milliseconds: int = 5000,
) -> int:
    """Send an HTTP request to a cluster of the proxy (`proxy_http_call`). Returns the call's token.

    `cluster` is the cluster's name; `headers` hold `:method`, `:path` and `:authority`. Envoy sends no trailers.
    `timeout_milliseconds` 0 means no limit.

    `callback(num_headers, body_size, num_trailers)` is called once when the response has come; in it
    `get_http_call_response_headers`, `…_body` and `…_trailers` read it. `num_headers` 0 means that the call failed;
    what times out or finds no server usually arrives as a response of the proxy's own, with status 503 or 504.

    Allowed in every callback of a context, not while one is being created. Raises BadArgument for an unknown cluster
    or a missing header, InternalFailure if the call failed at once (no callback comes then).
    """
    callout = _callout("proxy_http_call", callback)
    milliseconds = _timeout(timeout_milliseconds)
    return send_http_call(callout, cluster, encode_pairs(headers), body, encode_pairs(trailers), milliseconds)


def send_http_call(
    callout: Callout, cluster: Text, headers: bytes, body: Text, trailers: bytes, milliseconds: int
) -> int:
    """The same, of pairs that are serialized, for a reply that is waited for already."""
    token = _abi.host.http_call(cluster, headers, body, trailers, milliseconds)
    pending[token] = callout
    return token


def on_http_call_response(token: int, num_headers: int, body_size: int, num_trailers: int) -> None:
    """proxy_on_http_call_response"""
    callout = _arrived(pending.pop(token, None))
    if callout is not None:
        callout.handler(num_headers, body_size, num_trailers)
        _delivered()


# gRPC


class GrpcReply:
    """What a unary gRPC call came to."""

    __slots__ = ("details", "message", "status")

    def __init__(self, status: int, details: str, message: bytes) -> None:
        self.status = status
        """The status code, 0 for success (`GrpcStatus`)."""
        self.details = details
        """What the server, or the proxy, says about a failure; in Envoy percent-encoded."""
        self.message = message
        """The serialized reply; b"" for a failure."""

    def parse(self, message_class: type[M]) -> M:
        """The reply as a message of a class that protoc generated; raises what its FromString raises."""
        parsed: M = message_class.FromString(self.message)  # type: ignore[attr-defined]  # protobuf's, seen by no one
        return parsed


def dispatch_grpc_call(
    cluster: Text,
    service: str,
    method: str,
    message: object,
    callback: Callable[[GrpcReply], object],
    *,
    initial_metadata: Pairs = (),
    timeout_milliseconds: int = 5000,
) -> int:
    """Make a unary gRPC call (`proxy_grpc_call`). Returns the call's token, for `grpc_cancel`.

    `cluster` is a cluster's name, or the bytes of a serialized `envoy.config.core.v3.GrpcService`. `service` is the
    full name, such as "grpc.health.v1.Health", `method` the short one. `message` is serialized bytes, or a message
    with `SerializeToString`. `timeout_milliseconds` 0 means no limit. `callback(reply)` is called once.

    Allowed in every callback of a context, not while one is being created. Raises InternalFailure for an unknown
    cluster, and if the call failed at once (no callback comes then); ValueError for no cluster at all.
    """
    callout = _callout("proxy_grpc_call", callback)
    token = _abi.host.grpc_call(
        _grpc_service(cluster),
        service,
        method,
        encode_pairs(initial_metadata),
        _serialized(message),
        _timeout(timeout_milliseconds),
    )
    pending[token] = callout
    return token


class GrpcStream:
    """A bidirectional gRPC stream. Override the callbacks, and open it with `open_grpc_stream`.

    The callbacks run with the context that opened the stream as the effective one. If that context ends first, the
    stream is cancelled.
    """

    grpc_token: int | None = None
    """The stream's token while it is open."""

    def on_initial_metadata(self, metadata: list[tuple[str, str]]) -> None:
        """The server's first metadata has come (`proxy_on_grpc_receive_initial_metadata`)."""

    def on_message(self, message: bytes) -> None:
        """A message has come (`proxy_on_grpc_receive`)."""

    def on_trailing_metadata(self, metadata: list[tuple[str, str]]) -> None:
        """The server's last metadata has come (`proxy_on_grpc_receive_trailing_metadata`)."""

    def on_close(self, status: int, details: str) -> None:
        """The stream has ended, with a status of `GrpcStatus`; nothing comes after it (`proxy_on_grpc_close`)."""

    def send(self, message: object, end_of_stream: bool = False) -> None:
        """Send serialized bytes, or a message with `SerializeToString` (`proxy_grpc_send`).

        `end_of_stream` says that no message follows. Raises MisuseError if the stream is not open.
        """
        grpc_send(self._open_token(), message, end_of_stream)

    def close(self) -> None:
        """Say that no message follows; the server's still come (`proxy_grpc_close`). MisuseError if it is not open."""
        grpc_close(self._open_token())

    def cancel(self) -> None:
        """End the stream at once; no callback follows (`proxy_grpc_cancel`). Does nothing if it is not open."""
        if self.grpc_token is not None:
            grpc_cancel(self.grpc_token)

    def _open_token(self) -> int:
        if self.grpc_token is None:
            raise MisuseError("this gRPC stream is not open: it was not opened yet, or has ended")
        return self.grpc_token


def open_grpc_stream(
    cluster: Text, service: str, method: str, stream: GrpcStream, *, initial_metadata: Pairs = ()
) -> None:
    """Open a gRPC stream (`proxy_grpc_stream`); `stream` hears what comes. Arguments as for `dispatch_grpc_call`.

    Allowed in every callback of a context, not while one is being created. Raises InternalFailure for an unknown
    cluster, and if it failed at once; ValueError for no cluster at all; MisuseError for a stream that is open already.
    """
    if stream.grpc_token is not None:
        raise MisuseError("this gRPC stream is open already")
    callout = _callout("proxy_grpc_stream", stream.on_message)
    callout.handler = stream
    token = _abi.host.grpc_stream(_grpc_service(cluster), service, method, encode_pairs(initial_metadata))
    stream.grpc_token = token
    pending[token] = callout
    _abi.host.notify_deletes()  # the proxy does not end the stream when the context ends
    callout.context._abi_grpc_streams = (callout.context._abi_grpc_streams or set()) | {stream}  # noqa: SLF001


def grpc_send(token: int, message: object, end_of_stream: bool = False) -> None:
    """Send a message on a stream by its token (`proxy_grpc_send`); see `GrpcStream.send`."""
    _guarded(token, _abi.host.grpc_send, token, _serialized(message), end_of_stream)


def grpc_close(token: int) -> None:
    """Half-close a stream by its token, or cancel a call (`proxy_grpc_close`); see `GrpcStream.close`."""
    callout = pending.get(token)
    if callout is not None and not isinstance(callout.handler, GrpcStream):
        del pending[token]
    _guarded(token, _abi.host.grpc_close, token)


def grpc_cancel(token: int) -> None:
    """Cancel a call or a stream by its token; no callback follows (`proxy_grpc_cancel`)."""
    _forget(token)
    _abi.host.grpc_cancel(token)


def _guarded(token: int, call: Callable[..., None], *arguments: object) -> None:
    """Make a host call in which the proxy may report metadata at once; the stream hears of it afterwards.

    A stream that fails inside `proxy_grpc_send` is such a case. Nobody must be called in the middle of a call of their
    own.
    """
    callout = pending.get(token)
    if callout is None:
        call(*arguments)
        return
    outer, callout.late = callout.late, []
    try:
        call(*arguments)
    finally:
        late, callout.late = callout.late, outer
    context: Any = callout.context
    if late and find_context(context.context_id) is callout.context:
        with EffectiveContext(context.context_id):
            for name, metadata in late:
                getattr(callout.handler, name)(metadata)


def get_status() -> tuple[int, str]:
    """Code and message of what failed last in this plugin (`proxy_get_status`). GrpcReply has them for gRPC calls.

    A success does not reset it.
    """
    return _abi.host.get_status()


# The proxy makes some of these callbacks in the middle of `proxy_grpc_stream`, or for a call that failed at once, with
# a token that nobody was told: those are not in `pending`, and nobody waits for them.


def on_grpc_receive_initial_metadata(token: int, _num_elements: int) -> None:
    """proxy_on_grpc_receive_initial_metadata"""
    _deliver_metadata(token, "on_initial_metadata", MapType.GRPC_CALL_INITIAL_METADATA)


def on_grpc_receive_trailing_metadata(token: int, _num_elements: int) -> None:
    """proxy_on_grpc_receive_trailing_metadata"""
    _deliver_metadata(token, "on_trailing_metadata", MapType.GRPC_CALL_TRAILING_METADATA)


def _deliver_metadata(token: int, callback: str, map_type: MapType) -> None:
    callout = pending.get(token)
    if callout is None or not isinstance(callout.handler, GrpcStream):
        return
    if callout.late is not None:
        callout.late.append((callback, _pairs(map_type)))
    elif _arrived(callout) is not None:
        getattr(callout.handler, callback)(_pairs(map_type))
        _delivered()


def on_grpc_receive(token: int, size: int) -> None:
    """proxy_on_grpc_receive: a message of a stream, or the reply to a call."""
    callout = pending.get(token)
    if callout is not None and not isinstance(callout.handler, GrpcStream):
        del pending[token]
    if _arrived(callout) is None or callout is None:
        return
    message = _abi.host.get_buffer_bytes(BufferType.GRPC_CALL_MESSAGE, 0, size) if size else b""
    if isinstance(callout.handler, GrpcStream):
        callout.handler.on_message(message)
    else:
        callout.handler(GrpcReply(0, "", message))
    _delivered()


def on_grpc_close(token: int, status: int) -> None:
    """proxy_on_grpc_close: a stream has ended, or a call failed."""
    callout = _arrived(_forget(token))
    if callout is None:
        return
    details = _abi.host.get_status()[1]
    if isinstance(callout.handler, GrpcStream):
        callout.handler.on_close(status, details)
    else:
        callout.handler(GrpcReply(status, details, b""))
    _delivered()


# What all of them share


def _callout(function: str, handler: Callable[..., object]) -> Callout:
    """What to keep of a call that is about to be made."""
    if not callable(handler):
        raise TypeError(f"the callback of {function} is a function, not {handler!r}")
    if not is_plain(handler):
        raise TypeError(
            f"the callback of {function} is a plain function, and nobody would run {handler!r}; "
            "coroutines await http_call, grpc_call and grpc_stream instead"
        )
    return Callout(calling_context(function), handler)


def calling_context(function: str) -> Any:
    """The effective context, which is to make a call. Raises MisuseError for one that is being created."""
    context_id = _abi.host.get_effective_context()
    context = find_context(context_id)
    if context is None and context_id:
        raise MisuseError(f"{function} is allowed in callbacks, not while a context is being created")
    return context


def of_plugin(function: str, handler: Any) -> Callout:
    """What to keep of a call that is its plugin's: its reply comes whatever becomes of the stream that makes it, since
    others may await it too.
    """
    context = calling_context(function)
    return Callout(getattr(context, "plugin", context), handler)


def _arrived(callout: Callout | None) -> Callout | None:
    """Turn to the context that made the call. None if nobody waits for it, or that context is gone."""
    global delivering  # a VM handles one reply at a time
    if callout is None:
        return None
    context: Any = callout.context
    if find_context(context.context_id) is not callout.context:
        if isinstance(callout.handler, GrpcStream):
            cancel_all([callout.handler])
        return None
    if _abi.host.get_effective_context() != context.context_id:
        _abi.host.set_effective_context(context.context_id)
    callout.outer, delivering = delivering, callout
    return callout


def take_delivering(method: str) -> Callout | None:
    """The call whose reply was being handled when an exception left this callback; None for another callback."""
    if not method.startswith(_REPLIES):
        return None
    callout = delivering
    _delivered()
    return callout


_REPLIES = ("_on_http_call", "_on_grpc")
_OF_GRPC_STREAM = {
    "_on_grpc_receive_initial_metadata": "on_initial_metadata",
    "_on_grpc_receive": "on_message",
    "_on_grpc_receive_trailing_metadata": "on_trailing_metadata",
    "_on_grpc_close": "on_close",
}


def handling(callout: Callout, method: str) -> object:
    """The user's function that a call's reply was handled by."""
    if isinstance(callout.handler, GrpcStream):
        return getattr(callout.handler, _OF_GRPC_STREAM[method])
    return callout.handler


def _delivered() -> None:
    global delivering  # a VM handles one reply at a time
    callout, delivering = delivering, None
    if callout is not None:
        delivering, callout.outer = callout.outer, None


def cancel_all(streams: Iterable[GrpcStream]) -> None:
    """End streams, also such as the proxy has ended already."""
    for stream in list(streams):
        try:
            stream.cancel()
        except HostcallError:
            continue


def _forget(token: int) -> Callout | None:
    callout = pending.pop(token, None)
    if callout is not None and isinstance(callout.handler, GrpcStream):
        callout.handler.grpc_token = None
        if callout.context._abi_grpc_streams:  # noqa: SLF001
            callout.context._abi_grpc_streams.discard(callout.handler)  # noqa: SLF001
    return callout


def forget_deleted_plugins() -> None:
    """Drop the calls of plugins that are gone: the proxy cancelled them, and no reply will come."""
    for token, callout in list(pending.items()):
        plugin = getattr(callout.context, "plugin", callout.context)
        if find_context(plugin.context_id) is not plugin:
            del pending[token]


MOST_MILLISECONDS = 0x7FFFFFFF


def _timeout(milliseconds: int) -> int:
    if not 0 <= milliseconds <= MOST_MILLISECONDS:
        raise ValueError(f"a timeout is 0 to {MOST_MILLISECONDS} milliseconds, not {milliseconds}")
    return milliseconds


def _serialized(message: object) -> bytes:
    if isinstance(message, bytes):
        return message
    serialize = getattr(message, "SerializeToString", None)
    if serialize is None:
        raise TypeError(f"a gRPC message is bytes, or has SerializeToString; this is {message!r}")
    serialized: bytes = serialize()
    return serialized


def _grpc_service(cluster: Text) -> bytes:
    """envoy.config.core.v3.GrpcService with the cluster. A bare name would be misread if it happens to be protobuf.

    Without `envoy_grpc` (1) or `google_grpc` (2) Envoy ends itself.
    """
    service = cluster if isinstance(cluster, bytes) else field(1, field(1, cluster))
    if not fields(service).keys() & {1, 2}:
        raise ValueError("a gRPC call needs the name of a cluster, or a GrpcService with a target")
    return service


def _pairs(map_type: MapType) -> list[tuple[str, str]]:
    return decode_texts(_abi.host.get_header_map_pairs(int(map_type)))
