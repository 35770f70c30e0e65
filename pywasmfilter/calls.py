"""Calls to other services that are awaited: HTTP calls, gRPC calls, and gRPC streams.

The calls are made at once; awaiting them gives the reply. Under them are those of `callouts`, which take a function.
"""

from __future__ import annotations

from . import _abi, callouts
from ._serialization import as_text, decode_pairs, decode_texts, encode_pairs
from ._tasks import Future
from .callouts import GrpcReply, GrpcStream
from .exceptions import CallFailed, GrpcError, InternalFailure, MisuseError
from .types import BufferType, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Self, overload

    Text = str | bytes
    Pairs = Iterable[tuple[Text, Text]]
    HeadersLike = Pairs | Mapping[str, Text]


class Headers:
    """The headers or trailers of a reply, usable like a dict of str to str. Names are matched ignoring case."""

    __slots__ = ("_data", "_raw")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._raw: list[tuple[bytes, bytes]] | None = None

    def raw_items(self) -> list[tuple[bytes, bytes]]:
        """All names and values as the bytes that have come, in order."""
        if self._raw is None:
            self._raw = decode_pairs(self._data)
        return self._raw

    def items(self) -> list[tuple[str, str]]:
        """All names and values in order, repeated names included."""
        return decode_texts(self._data)

    if TYPE_CHECKING:

        @overload
        def get(self, key: str) -> str | None: ...
        @overload
        def get(self, key: str, default: str) -> str: ...

    def get(self, key: str, default: str | None = None) -> str | None:
        """The first value of a header, or `default`."""
        values = self.get_all(key)
        return values[0] if values else default

    def get_all(self, key: str) -> list[str]:
        """All values of a header, in order."""
        wanted = key.lower().encode("utf-8", "surrogateescape")
        return [as_text(value) for name, value in self.raw_items() if name.lower() == wanted]

    def __getitem__(self, key: str) -> str:
        """The first value of a header. Raises KeyError if there is none."""
        values = self.get_all(key)
        if not values:
            raise KeyError(key)
        return values[0]

    def __contains__(self, key: str) -> bool:
        return bool(self.get_all(key))

    def __iter__(self) -> Iterator[str]:
        """The names in order, each once."""
        return iter(dict.fromkeys(name for name, _ in self.items()))

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.raw_items())

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"


class HttpReply:
    """What an HTTP call came to. A service that is down, or too slow, is a reply of the proxy: 503, or 504."""

    __slots__ = ("body", "headers", "status", "trailers")

    def __init__(self, status: int, headers: Headers, body: bytes, trailers: Headers) -> None:
        self.status = status
        """The status, such as 200."""
        self.headers = headers
        """The headers, `:status` among them."""
        self.body = body
        """The body; b"" if there is none."""
        self.trailers = trailers
        """The trailers."""

    @property
    def text(self) -> str:
        """The body as text: UTF-8, with replacement characters for what is none."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body, read as JSON in UTF-8. Raises ValueError for what is none (json.JSONDecodeError)."""
        return from_json(self.body)

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    def __repr__(self) -> str:
        return f"<HttpReply {self.status}>"


class HttpCall(Future["HttpReply"]):
    """An HTTP call on its way: `await` it for the `HttpReply`. Raises CallFailed if there is none."""

    __slots__ = ()

    def arrived(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        """The reply is there, and can be read now and not later."""
        if not num_headers:
            self.set_exception(
                CallFailed("the call ended without a response: its connection broke off, or it was too large")
            )
            return
        headers = Headers(_abi.host.get_header_map_pairs(MapType.HTTP_CALL_RESPONSE_HEADERS))
        status = _abi.host.get_header_map_value(MapType.HTTP_CALL_RESPONSE_HEADERS, ":status") or "0"
        body = _abi.host.get_buffer_bytes(BufferType.HTTP_CALL_RESPONSE_BODY, 0, body_size) if body_size else b""
        trailers = _abi.host.get_header_map_pairs(MapType.HTTP_CALL_RESPONSE_TRAILERS) if num_trailers else b""
        self.set_result(HttpReply(int(status), headers, body, Headers(trailers)))


def http_call(
    cluster: Text,
    method: str,
    path: str,
    headers: HeadersLike,
    body: Text,
    json: object,
    authority: str | None,
    timeout: float,
) -> HttpCall:
    """Make an HTTP call from the effective context; see `Context.http_call`."""
    pairs: list[tuple[Text, Text]] = [
        (":method", method),
        (":path", path),
        (":authority", cluster if authority is None else authority),
    ]
    if json is not None:
        body = as_json(json)
        pairs.append(("content-type", "application/json"))
    if headers:
        pairs += headers.items() if hasattr(headers, "items") else headers
    call = HttpCall()
    callout = callouts.of_plugin("proxy_http_call", call.arrived)
    try:
        callouts.send_http_call(callout, cluster, encode_pairs(pairs), body, _NO_PAIRS, milliseconds(timeout))
    except InternalFailure:
        call.set_exception(CallFailed(f"the call failed at once: has cluster {cluster!r} a host, and one that is up?"))
    return call


_NO_PAIRS = encode_pairs(())


def from_json(data: bytes) -> Any:
    """JSON in UTF-8. Raises ValueError for what is none, and for what is nested too deeply."""
    from json import loads  # noqa: PLC0415  # only filters that come here carry it

    try:
        return loads(data.decode())
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def as_json(value: object) -> str:
    """JSON text, as small as it goes."""
    from json import dumps  # noqa: PLC0415  # only filters that come here carry it

    return dumps(value, separators=(",", ":"), allow_nan=False)


def milliseconds(seconds: float) -> int:
    """A timeout as the ABI counts it, at least one millisecond. Raises ValueError for what is none."""
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(f"a timeout is more than 0 and at most {_MOST_SECONDS} seconds, not {seconds!r}")
    return round(seconds * 1000) or 1


_MOST_SECONDS = callouts.MOST_MILLISECONDS // 1000


# gRPC


class GrpcCall(Future["GrpcReply"]):
    """A unary gRPC call on its way: `await` it for the `GrpcReply`."""

    __slots__ = ()


def grpc_call(
    cluster: Text, service: str, method: str, message: object, initial_metadata: Pairs, timeout: float
) -> GrpcCall:
    """Make a unary gRPC call from the effective context; see `Context.grpc_call`."""
    call = GrpcCall()
    token = callouts.dispatch_grpc_call(
        cluster,
        service,
        method,
        message,
        call.set_result,
        initial_metadata=initial_metadata,
        timeout_milliseconds=milliseconds(timeout),
    )
    callout = callouts.pending[token]
    callout.context = getattr(callout.context, "plugin", callout.context)  # as of HTTP calls
    call.on_abandoned = _Cancel(token)
    return call


class _Cancel:
    """Cancels a call that nobody waits for any more."""

    __slots__ = ("_token",)

    def __init__(self, token: int) -> None:
        self._token = token

    def __call__(self) -> None:
        if self._token in callouts.pending:
            callouts.grpc_cancel(self._token)


class GrpcMessages(GrpcStream):
    """A gRPC stream whose messages are awaited: `async for message in stream: …`. Made by `Context.grpc_stream`.

    The loop ends when the stream has ended well, and raises GrpcError otherwise. `send`, `close` and `cancel` are those
    of `GrpcStream`.
    """

    def __init__(self) -> None:
        self.initial_metadata: list[tuple[str, str]] = []
        """The server's first metadata, once they have come."""
        self.trailing_metadata: list[tuple[str, str]] = []
        """The server's last metadata, once they have come."""
        self._messages: list[bytes] = []
        self._end: GrpcReply | None = None
        self._waiting: Future[None] | None = None

    def on_initial_metadata(self, metadata: list[tuple[str, str]]) -> None:
        """Keep the metadata."""
        self.initial_metadata = metadata

    def on_trailing_metadata(self, metadata: list[tuple[str, str]]) -> None:
        """Keep the metadata."""
        self.trailing_metadata = metadata

    def on_message(self, message: bytes) -> None:
        """Keep the message until somebody asks for it."""
        self._messages.append(message)
        self._wake()

    def on_close(self, status: int, details: str) -> None:
        """Let the loop end."""
        self._end = GrpcReply(status, details, b"")
        self._wake()

    def cancel(self) -> None:
        """As `GrpcStream.cancel`; the loop ends."""
        super().cancel()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next message. Raises GrpcError if the stream failed, MisuseError if another coroutine waits for it."""
        while not self._messages:
            if self._end is not None:
                if self._end.status:
                    raise GrpcError(self._end.status, self._end.details)
                raise StopAsyncIteration
            if self.grpc_token is None:
                raise StopAsyncIteration  # it was cancelled here
            if self._waiting is not None:
                raise MisuseError("another coroutine waits for this stream's next message already")
            self._waiting = Future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._messages.pop(0)
