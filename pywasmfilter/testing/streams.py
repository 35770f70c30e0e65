"""HTTP and TCP streams on their way through a filter, as Envoy moves them on: what the filter holds back, waits.

A stream goes as far as the filter lets it. What the filter lets pass, and how the stream ended, are attributes. A
request that has passed is answered by its upstream, and the stream ends when the response has passed. HTTP is
HTTP/1.1, in which the end of a body comes after its last byte, as a callback of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from pywasmfilter.types import Action, MapType, PeerType, StreamType

from .messages import BodyLike, Headers, HeadersLike, LocalResponse, Message, Pairs, Request, Response, Text, as_bytes

if TYPE_CHECKING:
    from .plugin import Plugin

Upstream: TypeAlias = "Response | Callable[[Request], Response | None] | None"

BUFFER_LIMIT: Final = 1 << 20
"""How many bytes of a body a proxy holds back; Envoy's default."""

_DATE = "Thu, 01 Jan 1970 00:00:00 GMT"


class Unfinished(AssertionError):  # it says what a stream is
    """A test looks at the outcome of a stream that has none yet."""


class Stream:
    """What all streams have: a context in the guest, and an end."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.vm = plugin.vm
        self.ended = False
        """Whether the last callbacks have come."""
        self.reset = False
        """Whether the stream was broken off, by the filter or by the client."""
        self.properties: dict[tuple[str, ...], bytes] = {}
        """What the filter has set."""
        self.context_id = self.vm.add_stream(self)

    def call(self, callback: str, *arguments: int) -> int:
        """What a callback answers in this stream's context; 0 if the guest has none."""
        return self.vm.call(callback, self.context_id, *arguments)

    def map(self, map_type: int, *, to_write: bool = False) -> Pairs | None:  # noqa: ARG002  # none at all here
        """A header map, None when the proxy does not give it out now."""
        return None

    def buffer(self, buffer_type: int) -> bytearray | None:  # noqa: ARG002  # none at all here
        """A buffer, None when the proxy does not give it out now."""
        return None

    def property(self, path: tuple[str, ...]) -> bytes | None:
        """What the stream has to say of a property, None if nothing."""
        return self.properties.get(path)

    def answer(self, response: LocalResponse) -> None:
        """End the stream with a local response, which only an HTTP stream can."""

    def hide(self, stream_type: int) -> None:
        """Give out nothing of a direction that the filter resumes, although its callback may still run."""

    def resume(self, stream_type: int) -> None:
        """Go on where the filter paused."""

    def close_by_filter(self, _stream_type: int) -> None:
        """The filter closes the stream."""
        if not self.ended:
            self.reset = True
            self._end()

    def abort(self, peer: PeerType = PeerType.REMOTE) -> None:
        """The client goes away."""
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class HttpStream(Stream):
    """One request and its response, as client and upstream see them.

    `status`, `headers`, `body`, `text`, `json()` and `trailers` are of the response that reached the client. They raise
    `Unfinished`, which says what the stream waits for, as long as there is none.
    """

    def __init__(self, plugin: Plugin, upstream: Upstream) -> None:
        super().__init__(plugin)
        self.local_response: LocalResponse | None = None
        """What the filter, or the proxy in its place, answered itself."""
        self._upstream = upstream
        self._logging = False
        self._request = Direction(self, StreamType.HTTP_REQUEST, self._ask_upstream)
        self._response = Direction(self, StreamType.HTTP_RESPONSE, self._end)

    # What became of it

    @property
    def sent(self) -> Request | None:
        """What has reached the upstream so far; None if nothing has."""
        passed = self._request.passed
        return Request.of(passed) if passed.headers.raw else None

    @property
    def response(self) -> Response:
        """What the client got. Raises Unfinished unless that is a whole response."""
        if not self._response.finished:
            raise Unfinished(f"there is no response yet: {self._waits_for()}")
        return Response.of(self._response.passed)

    @property
    def partial_response(self) -> Response | None:
        """What the client has got so far; None if nothing."""
        passed = self._response.passed
        return Response.of(passed) if passed.headers.raw else None

    @property
    def status(self) -> int:
        """The status that the client got."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The headers that the client got."""
        return self.response.headers

    @property
    def body(self) -> bytes:
        """The body that the client got."""
        return self.response.body

    @property
    def text(self) -> str:
        """The body that the client got, as text."""
        return self.response.text

    def json(self) -> Any:
        """The body that the client got, as JSON."""
        return self.response.json()

    @property
    def trailers(self) -> Headers:
        """The trailers that the client got."""
        return self.response.trailers

    @property
    def paused(self) -> StreamType | None:
        """What the filter holds back: the request, the response, or neither."""
        waiting = (direction for direction in (self._response, self._request) if direction.paused)
        return next((direction.stream_type for direction in waiting), None)

    def _waits_for(self) -> str:
        if self.reset:
            return "the stream was reset"
        calls = ", ".join(map(repr, self.plugin.proxy.clusters.open_calls()))
        if (paused := self.paused) is not None:
            what = "request" if paused == StreamType.HTTP_REQUEST else "response"
            return f"the filter holds the {what} back" + (f", and these calls are open: {calls}" if calls else "")
        if not self._request.finished:
            return "the request is not complete; send_body(…, end_of_stream=True) ends it"
        return "the upstream has not answered the whole request; respond() does"

    # The client's and the upstream's side, for tests that send piece by piece

    def send_request(self, request: Request) -> None:
        """Send a whole request, chunk by chunk."""
        self.send_headers(request.headers, end_of_stream=not request.chunks and not request.trailers)
        for chunk in request.chunks:
            self.send_body(chunk)
        if request.trailers:
            self.send_trailers(request.trailers)
        elif request.chunks:
            self.send_body(b"", end_of_stream=True)

    def send_headers(self, headers: HeadersLike, *, end_of_stream: bool = False) -> None:
        """The client's headers arrive. The proxy adds what Envoy adds."""
        pairs = Headers(headers)
        added = {"x-forwarded-proto": "http", "x-request-id": self.plugin.new_request_id()}
        own = [pair for pair in Headers(added).raw if pair[0] not in pairs]
        self._request.receive_headers([*pairs.raw, *own], end_of_stream)
        self.plugin.proxy.drain()

    def send_body(self, data: Text, *, end_of_stream: bool = False) -> None:
        """A piece of the client's body arrives."""
        self._request.receive_body(as_bytes(data), end_of_stream)
        self.plugin.proxy.drain()

    def send_trailers(self, trailers: HeadersLike) -> None:
        """The client's trailers arrive, and end its request."""
        self._request.receive_trailers(Headers(trailers).raw)
        self.plugin.proxy.drain()

    def respond(
        self, status: int = 200, headers: HeadersLike = (), body: BodyLike = b"", trailers: HeadersLike = ()
    ) -> None:
        """The upstream answers, chunk by chunk."""
        self._respond(Response(status, headers, body, trailers))
        self.plugin.proxy.drain()

    def respond_headers(self, status: int = 200, headers: HeadersLike = (), *, end_of_stream: bool = False) -> None:
        """The upstream's headers arrive."""
        pairs = [*Response(status, headers).headers.raw, (b"x-envoy-upstream-service-time", b"0")]
        self._response.receive_headers(pairs, end_of_stream or self._is_head())
        self.plugin.proxy.drain()

    def respond_body(self, data: Text, *, end_of_stream: bool = False) -> None:
        """A piece of the upstream's body arrives."""
        self._response.receive_body(as_bytes(data), end_of_stream)
        self.plugin.proxy.drain()

    def respond_trailers(self, trailers: HeadersLike) -> None:
        """The upstream's trailers arrive, and end its response."""
        self._response.receive_trailers(Headers(trailers).raw)
        self.plugin.proxy.drain()

    def abort(self, _peer: PeerType = PeerType.REMOTE) -> None:
        """The client goes away in the middle of the stream."""
        if not self.ended:
            self.reset = True
            self._end()
            self.plugin.proxy.drain()

    def _ask_upstream(self) -> None:
        self.plugin.proxy.post(self._answer_from_upstream)

    def _answer_from_upstream(self) -> None:
        if self.ended or self._response.begun:
            return
        request = Request.of(self._request.passed)
        response = self._upstream(request) if callable(self._upstream) else self._upstream
        if response is None:
            return
        if response.delay:
            self.plugin.proxy.clock.call_later(response.delay, partial(self._respond, response))
        else:
            self._respond(response)

    def _respond(self, response: Response) -> None:
        if self.ended:
            return
        pairs = [*response.headers.raw, (b"x-envoy-upstream-service-time", b"0")]
        self._response.receive(Message(pairs, response.chunks, response.trailers), headers_only=self._is_head())

    def _is_head(self) -> bool:
        return Headers(self._request.headers()).get(":method") == "HEAD"

    # What the guest may see

    def map(self, map_type: int, *, to_write: bool = False) -> Pairs | None:
        """A header map: in its own callbacks, and in proxy_on_log to read."""
        direction = self._response if map_type >= MapType.HTTP_RESPONSE_HEADERS else self._request
        if self._logging:
            return None if to_write or map_type == MapType.HTTP_REQUEST_TRAILERS else direction.map_to_log(map_type)
        return direction.map(map_type, to_write)

    def buffer(self, buffer_type: int) -> bytearray | None:
        """The body that is held: in its own callbacks, and while one of them paused."""
        direction = {0: self._request, 1: self._response}.get(buffer_type)
        return direction.buffer if direction is not None and direction.body_shown else None

    def property(self, path: tuple[str, ...]) -> bytes | None:
        """What the filter has set, or what the headers say."""
        return self.properties.get(path) or self._computed(path)

    def _computed(self, path: tuple[str, ...]) -> bytes | None:
        if path == ("request", "protocol"):
            return b"HTTP/1.1"
        if path == ("response", "code") and (status := Headers(self._response.headers()).get(":status")):
            return int(status).to_bytes(8, "little")
        if path == ("response", "code_details") and self._response.begun:
            return as_bytes("via_upstream" if self.local_response is None else self.local_response.details)
        for name, map_type in (("request", MapType.HTTP_REQUEST_HEADERS), ("response", MapType.HTTP_RESPONSE_HEADERS)):
            if path[0] == name and (pairs := self.map(map_type)) is not None:
                return _of_headers(Headers(pairs), path[1:])
        return None

    def logged_maps(self) -> dict[int, Pairs]:
        """What an access logger may read of the stream."""
        return {
            MapType.HTTP_REQUEST_HEADERS: self._request.headers(),
            MapType.HTTP_RESPONSE_HEADERS: self._response.headers(),
        }

    # What the guest does

    def answer(self, response: LocalResponse) -> None:
        """Respond in place of the upstream. Unless there is a response already, it passes the filter as one does."""
        if self.ended:
            return
        self.local_response = response
        self._request.drop()
        message = response.response(Headers(self._request.headers()))
        if not self._response.begun:
            self._response.receive(message)
            return
        self._response.drop()
        if self._response.passed.headers.raw:
            self.reset = True
        else:
            self._response.replace(message)
        self._end()

    def hide(self, stream_type: int) -> None:
        """Give out nothing of a direction."""
        if stream_type <= StreamType.HTTP_RESPONSE:
            (self._response if stream_type else self._request).hide()

    def resume(self, stream_type: int) -> None:
        """Go on with the request or the response."""
        if stream_type <= StreamType.HTTP_RESPONSE:
            (self._response if stream_type else self._request).resume()

    def _end(self) -> None:
        """The last callbacks, in the order in which Envoy makes them."""
        self.ended = True
        self._request.drop()
        self._response.drop()
        self._logging = True
        self.call("proxy_on_log")
        self.call("proxy_on_done")
        self.vm.remove_stream(self.context_id)

    def __repr__(self) -> str:
        return f"<HttpStream {self.context_id}: {self.sent}, {self.partial_response or self._waits_for()}>"


def _of_headers(headers: Headers, path: tuple[str, ...]) -> bytes | None:
    """What a property that is made of headers says: `request.path`, `response.headers.x-name`, …"""
    if len(path) == 2 and path[0] == "headers":
        values = headers.get_all(path[1])
        return as_bytes(",".join(values)) if values else None
    if len(path) != 1:
        return None
    url_path, _, query = (headers.get(":path") or "").partition("?")
    if path[0] in {"url_path", "query"} and ":path" in headers:
        return as_bytes(url_path if path[0] == "url_path" else query)
    name = _HEADERS.get(path[0])
    value = None if name is None else headers.get(name)
    return None if value is None else as_bytes(value)


_HEADERS: Final = {
    "path": ":path",
    "host": ":authority",
    "scheme": ":scheme",
    "method": ":method",
    "referer": "referer",
    "useragent": "user-agent",
    "id": "x-request-id",
}


class _Step(NamedTuple):
    """Something that arrives: headers and trailers as pairs, a piece of the body as bytes."""

    part: str
    data: Any
    end_of_stream: bool


class Direction:
    """The request or the response of an HTTP stream; `then` is what follows when all of it has passed."""

    def __init__(self, stream: HttpStream, stream_type: StreamType, then: Callable[[], None]) -> None:
        self.stream_type = stream_type
        self.passed = Message()
        """What has left the filter."""
        self.begun = self.finished = False
        self.buffer = bytearray()
        self.body_shown = False
        self._headers, self._trailers = MapType(2 * stream_type), MapType(2 * stream_type + 1)
        self._maps: dict[int, Pairs] = {}
        self._shown: set[int] = set()
        self._stream = stream
        self._callback = f"proxy_on_{'response' if stream_type else 'request'}"
        self._then = then
        self._steps: deque[_Step] = deque()
        self._ends_after: bool | None = None  # what is held back: None nothing, else whether it is the last of it
        self._blocked = self._running = self._resumed = self._stopped = False

    @property
    def paused(self) -> bool:
        """Whether the filter holds it back."""
        return self._ends_after is not None

    # What arrives

    def receive(self, message: Message, *, headers_only: bool = False) -> None:
        """A whole message arrives, chunk by chunk."""
        chunks = [] if headers_only else message.chunks
        trailers = Headers() if headers_only else message.trailers
        self.receive_headers(message.headers.raw, not chunks and not trailers)
        for chunk in chunks:
            self.receive_body(chunk, False)
        if trailers:
            self.receive_trailers(trailers.raw)
        elif chunks:
            self.receive_body(b"", True)

    def receive_headers(self, pairs: Pairs, end_of_stream: bool) -> None:
        """Headers arrive."""
        self.begun = True
        self._receive(_Step("headers", list(pairs), end_of_stream))

    def receive_body(self, data: bytes, end_of_stream: bool) -> None:
        """A piece of the body arrives. What comes while the headers are held back is put together."""
        if self._blocked and self._steps and self._steps[-1].part == "body":
            data = self._steps.pop().data + data
        self._receive(_Step("body", data, end_of_stream))

    def receive_trailers(self, pairs: Pairs) -> None:
        """Trailers arrive."""
        self._receive(_Step("trailers", list(pairs), True))

    def _receive(self, step: _Step) -> None:
        if not self._stopped:
            self._steps.append(step)
            self._advance()

    # What the filter does

    def resume(self) -> None:
        """Go on where the filter paused; in the middle of its callback, as if that had not paused."""
        if self._running:
            self._resumed = True
        elif self._ends_after is not None:
            ends, self._ends_after, self._blocked = self._ends_after, None, False
            self._pass(ends)
            self._advance()

    def drop(self) -> None:
        """Nothing more of it passes."""
        self._steps.clear()
        self._ends_after, self._stopped = None, True
        self.hide()

    def replace(self, message: Message) -> None:
        """Another message passes in its place, which no filter sees."""
        self._maps[self._headers] = list(message.headers.raw)
        self.passed = message
        self._finish()

    # What the filter sees

    def headers(self) -> Pairs:
        """The headers as they are now; none before they have arrived."""
        return self._maps.get(self._headers, [])

    def hide(self) -> None:
        """Nothing is shown until the next callback."""
        self._shown.clear()
        self.body_shown = False

    def map(self, map_type: int, to_write: bool) -> Pairs | None:
        """A header map if it is shown now; writing to trailers that are not there makes them."""
        if map_type not in self._shown:
            return None
        return self._maps.setdefault(map_type, []) if to_write else self._maps.get(map_type)

    def map_to_log(self, map_type: int) -> Pairs | None:
        """A header map at the end of the stream."""
        return self._maps.get(map_type)

    # How it moves on

    def _advance(self) -> None:
        """A filter that pauses in the headers gets nothing more; one that pauses in the body gets the rest of it."""
        while self._steps and not self._blocked and not self._running and not self._stopped:
            self._ends_after = None
            step = self._steps.popleft()
            getattr(self, f"_on_{step.part}")(step.data, step.end_of_stream)

    def _on_headers(self, pairs: Pairs, end_of_stream: bool) -> None:
        self._maps[self._headers] = pairs
        self._shown = {self._headers}
        arguments = (len(pairs), end_of_stream)
        # A module of ABI 0.1.0 is not told whether headers are all there is.
        self._filter("headers", *arguments[: 1 if self._stream.vm.abi == "0.1.0" else 2], ends=end_of_stream)

    def _on_body(self, data: bytes, end_of_stream: bool) -> None:
        """With the last of the body, a filter may add trailers."""
        self.buffer += data
        self.body_shown = True
        self._shown = {self._trailers} if end_of_stream else set()
        self._filter("body", len(self.buffer), end_of_stream, ends=end_of_stream)
        if self.paused and len(self.buffer) > BUFFER_LIMIT:
            self._overflow()

    def _on_trailers(self, pairs: Pairs, _end_of_stream: bool) -> None:
        self._maps[self._trailers] = pairs
        self._shown = {self._trailers}
        self._filter("trailers", len(pairs), ends=True)

    def _filter(self, part: str, *arguments: int, ends: bool) -> None:
        """Call the filter, and do what it says."""
        self._running, self._resumed = True, False
        try:
            action = self._stream.call(f"{self._callback}_{part}", *arguments)
        finally:
            self._running = False
        if self._stopped:
            return
        if action == Action.CONTINUE or self._resumed:
            self._pass(ends)
        else:
            self._ends_after, self._blocked = ends, part == "headers"

    def _overflow(self) -> None:
        """More is held back than the proxy has room for."""
        if self.stream_type == StreamType.HTTP_REQUEST:
            self._stream.answer(LocalResponse(413, "request_payload_too_large", b"Payload Too Large"))
        else:
            self._stream.answer(LocalResponse(500, "response_payload_too_large", b"Internal Server Error"))

    def _pass(self, ends: bool) -> None:
        """What was held leaves the filter."""
        self.hide()
        if not self.passed.headers.raw:
            self.passed.headers = Headers(self._maps[self._headers])
        if self.buffer:
            self.passed.chunks.append(bytes(self.buffer))
            self.buffer.clear()
        if ends:
            self.passed.trailers = Headers(self._maps.get(self._trailers, []))
            self._finish()
            self._then()

    def _finish(self) -> None:
        """A response that leaves the proxy gets the headers that a proxy adds."""
        self.finished = True
        if self.stream_type == StreamType.HTTP_RESPONSE:
            added = [(b"date", _DATE.encode()), (b"server", b"envoy")]
            own = [pair for pair in added if pair[0] not in self.passed.headers]
            self._maps[self._headers] = [*self._maps[self._headers], *own]
            self.passed.headers = Headers([*self.passed.headers.raw, *own])


class TcpStream(Stream):
    """One connection through the filter, as client and upstream see it."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__(plugin)
        self._passed = {StreamType.DOWNSTREAM: bytearray(), StreamType.UPSTREAM: bytearray()}
        self._held = {StreamType.DOWNSTREAM: bytearray(), StreamType.UPSTREAM: bytearray()}
        self._shown: set[int] = set()
        self._early: deque[tuple[StreamType, bytes, bool]] = deque()
        self._connecting = True

    def begin(self) -> None:
        """The client has connected."""
        self._connecting = self.call("proxy_on_new_connection") != Action.CONTINUE and not self.ended

    @property
    def to_upstream(self) -> bytes:
        """What has reached the upstream."""
        return bytes(self._passed[StreamType.DOWNSTREAM])

    @property
    def to_client(self) -> bytes:
        """What has reached the client."""
        return bytes(self._passed[StreamType.UPSTREAM])

    @property
    def paused(self) -> bool:
        """Whether the filter holds anything back."""
        return self._connecting or any(self._held.values())

    def from_client(self, data: Text = b"", *, end_of_stream: bool = False) -> None:
        """Data of the client arrives; it waits if the filter paused the new connection."""
        self._receive(StreamType.DOWNSTREAM, as_bytes(data), end_of_stream)

    def from_upstream(self, data: Text = b"", *, end_of_stream: bool = False) -> None:
        """Data of the upstream arrives. The end of it closes the upstream's side."""
        self._receive(StreamType.UPSTREAM, as_bytes(data), end_of_stream)

    def close_client(self, peer: PeerType = PeerType.REMOTE) -> None:
        """The client's connection is closed, and the stream ends."""
        self.abort(peer)

    def abort(self, peer: PeerType = PeerType.REMOTE) -> None:
        """The client goes away."""
        if not self.ended:
            self.ended = True
            self.call("proxy_on_downstream_connection_close", peer)
            self._end()
            self.plugin.proxy.drain()

    def close_by_filter(self, _stream_type: int) -> None:
        """The filter closes one of the two connections; with the client's, the stream ends."""
        if not self.ended:
            self.reset = True
            self.abort(PeerType.LOCAL)

    def buffer(self, buffer_type: int) -> bytearray | None:
        """The data that is held: in its own callback, and while that paused."""
        return self._held[StreamType(buffer_type)] if buffer_type in self._shown else None

    def resume(self, stream_type: int) -> None:
        """Go on with the client's data."""
        self._connecting = False
        if stream_type == StreamType.DOWNSTREAM:
            self._pass(StreamType.DOWNSTREAM)
        self._advance()

    def _end(self) -> None:
        """The last callbacks, in the order in which Envoy makes them."""
        self.ended = True
        self.call("proxy_on_done")
        self.call("proxy_on_log")
        self.vm.remove_stream(self.context_id)

    def _receive(self, origin: StreamType, data: bytes, end_of_stream: bool) -> None:
        if self.ended:
            raise AssertionError("the connection is closed")
        self._early.append((origin, data, end_of_stream))
        self._advance()
        self.plugin.proxy.drain()

    def _advance(self) -> None:
        while self._early and not self._connecting and not self.ended:
            origin, data, end_of_stream = self._early.popleft()
            self._held[origin] += data
            self._shown.add(origin)
            action = self.call(f"proxy_on_{origin.name.lower()}_data", len(self._held[origin]), end_of_stream)
            if action == Action.CONTINUE and not self.ended:
                self._pass(origin)
            if origin == StreamType.UPSTREAM and end_of_stream and not self.ended:
                self.call("proxy_on_upstream_connection_close", PeerType.UNKNOWN)

    def _pass(self, origin: StreamType) -> None:
        self._passed[origin] += self._held[origin]
        self._held[origin].clear()
        self._shown.discard(origin)

    def __repr__(self) -> str:
        return f"<TcpStream {self.context_id}: {len(self.to_upstream)} bytes up, {len(self.to_client)} bytes down>"
