"""HTTP and TCP streams on their way through a filter, as Envoy moves them on: what the filter holds back, waits.

A stream goes as far as the filter lets it. What the filter lets pass, and how the stream ended, are attributes. A
request that has passed is answered by its upstream, and the stream ends when the response has passed. HTTP is
HTTP/1.1, in which the end of a body comes after its last byte, as a callback of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pywasmfilter.types import Action, MapType, PeerType, StreamType

from . import attributes, header_maps
from .directions import Direction
from .messages import BodyLike, Headers, HeadersLike, LocalResponse, Message, Pairs, Request, Response, Text, as_bytes
from .properties import encode

if TYPE_CHECKING:
    from .plugin import Plugin

Upstream: TypeAlias = "Response | Callable[[Request], Response | None] | None"


_CLIENT_LEFT = "downstream_remote_disconnect", 0x4000
_VIA_UPSTREAM = "via_upstream"
_RESET = "upstream_reset_{}_response_started{{{}}}"
_UPSTREAM_RESET = 0x10
_CONNECTION_LOST = 0x40
_PROTOCOL_ERROR = 0x800000
_CLOSED = "wasm_close_stream"


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
        """The value of a property: as the test has it, as the proxy knows it, or else as the filter has set it."""
        given = self.plugin.properties.find(path)
        if given is not None:
            return given
        found = attributes.find(self.attributes(path[0]), path[1:])
        return self.properties.get(path) if found is None else encode(found)

    def attributes(self, group: str) -> Any:
        """What the proxy knows by itself under the first name of a path, None if nothing."""
        if group == "connection":
            return attributes.of_connection(self.context_id)
        if group in {"source", "destination", "upstream"} and (
            address := self.plugin.properties.text(f"{group}.address")
        ):
            return attributes.of_address(address)
        if group == "filter_state":
            return {f"wasm.{path[0]}": value for path, value in self.properties.items()}
        return self.context_id if group == "connection_id" else None

    def answer(self, response: LocalResponse) -> None:
        """End the stream with a local response, which only an HTTP stream can."""

    def hide(self, stream_type: int) -> None:
        """Give out nothing of a direction that the filter resumes, although its callback may still run."""

    def hold(self) -> None:
        """Do not go on after the callback that runs, since it has answered a stream."""

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
        self.end_of_stream = False
        """Whether the last callback of either direction was the last of it."""
        self._connected = self._logging = False
        self._arrived_code: int | None = None
        self._upstream_answered = False
        self._details: str | None = None
        self._flags = 0
        self._began = plugin.proxy.clock.nanoseconds
        self._request = Direction(self, StreamType.HTTP_REQUEST, self._ask_upstream)
        self._response = Direction(self, StreamType.HTTP_RESPONSE, self._end)

    # What became of it

    @property
    def sent(self) -> Request | None:
        """What has reached the upstream so far; None if nothing has."""
        return Request.of(self._request.received()) if self._connected else None

    @property
    def response(self) -> Response:
        """What the client got. Raises Unfinished unless that is a whole response."""
        if not self._response.finished or self._response.lacks:
            raise Unfinished(f"there is no response yet: {self._waits_for()}")
        return Response.of(self._response.received())

    @property
    def partial_response(self) -> Response | None:
        """What the client has got so far; None if nothing."""
        received = self._response.received()
        return Response.of(received) if received.headers.raw else None

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
        for direction, peer in ((self._response, "client"), (self._request, "upstream")):
            if direction.finished and direction.lacks:
                return f"the {peer} waits for {direction.lacks} more bytes, as many as the header content-length says"
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
        pairs = Headers(header_maps.without_connection(Headers(headers).raw))
        scheme = pairs.get("x-forwarded-proto") or pairs.get(":scheme", "http")
        added = {"x-forwarded-proto": scheme, "x-request-id": self.plugin.new_request_id()}
        own = [pair for pair in Headers(added).raw if pair[0] not in pairs]
        arrived = [(name, as_bytes(scheme) if name == b":scheme" else value) for name, value in pairs.raw]
        self._request.receive_headers([*arrived, *own], end_of_stream)
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
        response = Response(status, headers)
        if self._is_heard():
            self._response.receive_headers(self._from_upstream(response), end_of_stream or self._is_head())
        self.plugin.proxy.drain()

    def respond_body(self, data: Text, *, end_of_stream: bool = False) -> None:
        """A piece of the upstream's body arrives."""
        if self._is_heard():
            self._response.receive_body(as_bytes(data), end_of_stream)
        self.plugin.proxy.drain()

    def respond_trailers(self, trailers: HeadersLike) -> None:
        """The upstream's trailers arrive, and end its response."""
        if self._is_heard():
            self._response.receive_trailers(Headers(trailers).raw)
        self.plugin.proxy.drain()

    def close_by_filter(self, stream_type: int) -> None:
        """The filter closes the stream, which has no other end then."""
        self._details = self._details or _CLOSED
        super().close_by_filter(stream_type)

    def break_upstream(self) -> None:
        """The upstream's connection is lost: a 503 or 502 of the proxy, or a reset if the client has had headers."""
        if not self._is_heard():
            return
        if not self._response.begun:
            self._flags = _CONNECTION_LOST
            self.answer(
                LocalResponse(503, _RESET.format("before", "connection_termination"), _text("connection termination"))
            )
        else:
            self._flags = _PROTOCOL_ERROR
            self.answer(LocalResponse(502, _RESET.format("after", "protocol_error"), _text("protocol error")))
        self.plugin.proxy.drain()

    def headers_passed(self, stream_type: StreamType) -> None:
        """Headers have left the filter. Those of a request reach the upstream unless the stream ends at once."""
        if stream_type == StreamType.HTTP_REQUEST:
            self.plugin.proxy.post(self._connect, first=True)

    def _connect(self) -> None:
        self._connected = not self.ended

    def upstream_listens(self) -> bool:
        """Whether the rest of the request still reaches the upstream, which it does until that has answered."""
        return not (self._upstream_answered and self._response.complete)

    def closes_connection(self) -> bool:
        """Whether the response ends the client's connection: the rest of the request is not waited for."""
        return not self._request.complete

    def abort(self, _peer: PeerType = PeerType.REMOTE) -> None:
        """The client goes away in the middle of the stream."""
        if not self.ended:
            self.reset = True
            self._details, self._flags = _CLIENT_LEFT
            self._end()
            self.plugin.proxy.drain()

    def _ask_upstream(self) -> None:
        if self._request.lacks:
            return
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
        if not self._is_heard():
            return
        message = Message(self._from_upstream(response), response.chunks, response.trailers)
        self._response.receive(message, headers_only=self._is_head())

    def _is_heard(self) -> bool:
        """Whether the upstream can still say something: not after an answer in its place."""
        return not self.ended and self.local_response is None

    def _from_upstream(self, response: Response) -> Pairs:
        """The headers of a response as they reach the filter."""
        self._arrived_code, self._details, self._upstream_answered = response.status, _VIA_UPSTREAM, True
        time = [(b"x-envoy-upstream-service-time", b"0")] if self._request.finished else []
        return [*(pair for pair in response.headers.raw if pair[0] != b"keep-alive"), *time]

    def _is_head(self) -> bool:
        return Headers(self._request.headers).get(":method") == "HEAD"

    # What the guest may see

    def map(self, map_type: int, *, to_write: bool = False) -> Pairs | None:
        """A header map: in its own callbacks, and in proxy_on_log to read."""
        direction = self._response if map_type >= MapType.HTTP_RESPONSE_HEADERS else self._request
        if map_type > MapType.HTTP_RESPONSE_TRAILERS:
            return None
        return self._to_log(map_type) if self._logging and not to_write else direction.map(map_type, to_write)

    def _to_log(self, map_type: int) -> Pairs:
        """A header map at the end of the stream, which does not have the request's trailers any more."""
        maps: tuple[Pairs, ...] = self._request.headers, [], self._response.headers, self._response.trailers
        return maps[map_type]

    def buffer(self, buffer_type: int) -> bytearray | None:
        """The body that is held: in its own callbacks, and while one of them paused."""
        direction = {0: self._request, 1: self._response}.get(buffer_type)
        return None if direction is None else direction.body

    def _for_property(self, map_type: int) -> Pairs | None:
        """What properties are made of is what the filter could change, if there is that."""
        direction = self._response if map_type >= MapType.HTTP_RESPONSE_HEADERS else self._request
        return direction.shown.get(map_type) or self.map(map_type)

    def attributes(self, group: str) -> Any:
        """`request`, `response`, and what any stream has."""
        headers, code = self._for_property(MapType.HTTP_REQUEST_HEADERS), self._code()
        if group == "request":
            return attributes.of_request(headers, self._request.body_size, self._known())
        if group == "response":
            pairs = self._for_property(MapType.HTTP_RESPONSE_HEADERS)
            trailers = self._for_property(MapType.HTTP_RESPONSE_TRAILERS)
            size = len(self._response.passed.body)
            known = attributes.of_response(pairs, trailers, size, code, self._details, self._flags)
            return known | ({"backend_latency": 0} if self._response.complete and self._upstream_answered else {})
        if group == "upstream" and self._request.passed.headers.raw:
            return {"transport_failure_reason": "", **(super().attributes(group) or {})}
        return super().attributes(group)

    def _code(self) -> int | None:
        """The status of the response that has left, or else of the one that has arrived."""
        return int(self._response.passed.headers.get(":status") or 0) or self._arrived_code

    def _known(self) -> Mapping[str, Any]:
        duration = {"duration": self.plugin.proxy.clock.nanoseconds - self._began} if self.ended else {}
        return {"protocol": "HTTP/1.1", "time": self._began, **duration}

    def logged_maps(self) -> dict[int, Pairs]:
        """What an access logger may read of the stream."""
        return {
            MapType.HTTP_REQUEST_HEADERS: self._request.headers,
            MapType.HTTP_RESPONSE_HEADERS: self._response.headers,
        }

    # What the guest does

    def announce(self, response: LocalResponse) -> None:
        """What will be answered is known."""
        self.local_response, self._details, self._arrived_code = response, response.details, response.status

    def answer(self, response: LocalResponse) -> None:
        """Respond in place of the upstream. Unless there is a response already, it passes the filter as one does."""
        if self.ended:
            return
        self.announce(response)
        self._request.hide_body()
        self._request.drop()
        message = response.response(Headers(self._request.headers))
        if not self._response.begun:
            self._response.receive_at_once(message)
            return
        self._response.drop()
        if self._response.passed.headers.raw:
            self.reset = True
        else:
            self._response.replace(message)
        self._end()

    def hide(self, stream_type: int) -> None:
        """Give out nothing of the request, whatever is resumed."""
        if stream_type <= StreamType.HTTP_RESPONSE:
            self._request.hide()

    def hold(self) -> None:
        """What runs does not go on."""
        self._request.hold()
        self._response.hold()

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


def _text(reason: str) -> bytes:
    return b"upstream connect error or disconnect/reset before headers. reset reason: " + reason.encode()


class TcpStream(Stream):
    """One connection through the filter, as client and upstream see it."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__(plugin)
        self._began = plugin.proxy.clock.nanoseconds
        self._flags = 0
        self._sides = {side: _Side() for side in (StreamType.DOWNSTREAM, StreamType.UPSTREAM)}
        self._early: deque[tuple[StreamType, bytes, bool]] = deque()
        self._connecting = True
        self._left = False

    def begin(self) -> None:
        """The client has connected."""
        self._connecting = self.call("proxy_on_new_connection") != Action.CONTINUE or self.ended
        self._advance()

    @property
    def to_upstream(self) -> bytes:
        """What has reached the upstream."""
        return bytes(self._sides[StreamType.DOWNSTREAM].passed)

    @property
    def to_client(self) -> bytes:
        """What has reached the client."""
        return bytes(self._sides[StreamType.UPSTREAM].passed)

    @property
    def connected(self) -> bool:
        """Whether the filter has let the connection go on to the upstream."""
        return not self._connecting

    @property
    def upstream_ended(self) -> bool:
        """Whether the client has been told that the upstream sends no more."""
        return self._sides[StreamType.UPSTREAM].ended

    @property
    def paused(self) -> bool:
        """Whether the filter holds anything back."""
        return not self.ended and (self._connecting or any(side.held for side in self._sides.values()))

    def from_client(self, data: Text = b"", *, end_of_stream: bool = False) -> None:
        """Data of the client arrives; it waits if the filter paused the new connection."""
        self._receive(StreamType.DOWNSTREAM, as_bytes(data), end_of_stream)

    def from_upstream(self, data: Text = b"", *, end_of_stream: bool = False) -> None:
        """Data of the upstream arrives. The end of it closes the upstream's side."""
        self._receive(StreamType.UPSTREAM, as_bytes(data), end_of_stream)

    def break_upstream(self) -> None:
        """The upstream's connection is lost, which closes the client's."""
        if self.connected and not self.ended:
            self._flags = _UPSTREAM_RESET
            self._close(PeerType.LOCAL)
            self.plugin.proxy.drain()

    def close_client(self, peer: PeerType = PeerType.REMOTE) -> None:
        """The client's connection is closed, and the stream ends."""
        self.abort(peer)

    def abort(self, peer: PeerType = PeerType.REMOTE) -> None:
        """The client goes away, which a proxy does not notice as long as the new connection is paused."""
        if self._connecting and peer == PeerType.REMOTE:
            self._left = True
        elif not self.ended:
            self._close(peer)
            self.plugin.proxy.drain()

    def close_by_filter(self, _stream_type: int) -> None:
        """The filter closes one of the two connections; with the client's, the stream ends."""
        if not self.ended:
            self.reset = True
            self._close(PeerType.LOCAL)

    def buffer(self, buffer_type: int) -> bytearray | None:
        """The data that is held: in its own callback, and while that paused."""
        side = self._sides.get(StreamType(buffer_type)) if buffer_type in set(StreamType) else None
        return side.held if side is not None and side.shown else None

    def attributes(self, group: str) -> Any:
        """As for HTTP, without all that is made of headers."""
        if group == "request":
            size = self._sides[StreamType.DOWNSTREAM].size
            return attributes.of_request(None, size, {"time": self._began})
        if group == "response":
            return attributes.of_response(None, None, len(self.to_client), None, None, self._flags)
        if group == "upstream":
            return {"transport_failure_reason": "", **(super().attributes(group) or {})}
        return super().attributes(group)

    def resume(self, stream_type: int) -> None:
        """Go on with the client's data."""
        self._connecting = False
        if stream_type == StreamType.DOWNSTREAM:
            self._pass(StreamType.DOWNSTREAM)
        self._advance()

    def _receive(self, origin: StreamType, data: bytes, end_of_stream: bool) -> None:
        if self.ended:
            raise AssertionError("the connection is closed")
        self._early.append((origin, data, end_of_stream))
        self._advance()
        self.plugin.proxy.drain()

    def _advance(self) -> None:
        while self._early and not self._connecting and not self.ended:
            origin, data, end_of_stream = self._early.popleft()
            side = self._sides[origin]
            side.held += data
            side.size += len(side.held)
            side.shown, side.ends = True, end_of_stream
            action = self.call(f"proxy_on_{origin.name.lower()}_data", len(side.held), end_of_stream)
            side.shown = action != Action.CONTINUE
            if origin == StreamType.UPSTREAM and end_of_stream and not self.ended:
                self.call("proxy_on_upstream_connection_close", PeerType.UNKNOWN)
            if action == Action.CONTINUE and not self.ended:
                self._pass(origin)
            if all(side.ends for side in self._sides.values()) and not self.ended:
                client_ends = origin == StreamType.DOWNSTREAM and self.upstream_ended
                self._close(PeerType.REMOTE if client_ends else PeerType.LOCAL)
        if self._left and not self._connecting:
            self.abort()

    def _pass(self, origin: StreamType) -> None:
        side = self._sides[origin]
        side.passed += side.held
        side.held.clear()
        side.shown, side.ended = False, side.ends

    def _close(self, peer: PeerType) -> None:
        self.ended = True
        self.call("proxy_on_downstream_connection_close", peer)
        self._end()

    def _end(self) -> None:
        """The last callbacks, in the order in which Envoy makes them."""
        self.ended = True
        self.call("proxy_on_done")
        self.call("proxy_on_log")
        self.vm.remove_stream(self.context_id)

    def __repr__(self) -> str:
        return f"<TcpStream {self.context_id}: {len(self.to_upstream)} bytes up, {len(self.to_client)} bytes down>"


class _Side:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.passed = bytearray()
        self.size = 0
        """How many bytes the filter has been shown, which is how Envoy counts them."""
        self.shown = False
        """Whether the filter may see what is held."""
        self.ends = self.ended = False
        """Whether the end has arrived, and has left."""
