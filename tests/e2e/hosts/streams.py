"""HTTP and TCP streams on their way through a filter, as a proxy moves them on: what the filter holds back, waits.

A stream is begun, and goes as far as the filter lets it. What the filter lets pass, and how the stream ended, are
attributes. A request that has passed is answered by its `upstream`, and the stream ends when the response has passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .abi import Action, MapType, Pairs, StreamType

if TYPE_CHECKING:
    from .wasmtime_host import WasmtimeHost


@dataclass
class Message:
    """A request or a response. Each chunk of the body reaches the filter in a callback of its own."""

    headers: Pairs = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    trailers: Pairs = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    def header(self, name: bytes) -> list[bytes]:
        """The values of a header, whose name is in lower case."""
        return [value for key, value in self.headers if key == name]


Upstream: TypeAlias = Callable[[Message], Message]


class LocalResponse(NamedTuple):
    """What a filter answered in place of the upstream."""

    status: int
    details: bytes
    body: bytes
    headers: Pairs
    grpc_status: int | None

    def message(self) -> Message:
        """The response that the proxy makes of it."""
        headers = [(b":status", str(self.status).encode()), *self.headers]
        if self.grpc_status is not None:
            headers.append((b"grpc-status", str(self.grpc_status).encode()))
        if not self.body:
            return Message(headers)
        headers.append((b"content-length", str(len(self.body)).encode()))
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", b"text/plain"))
        return Message(headers, [self.body])


class Stream:
    """What all streams have: a context in the guest, and an end."""

    def __init__(self, host: WasmtimeHost) -> None:
        self.host = host
        self.context_id = host.add_context(self)
        self.ended = False
        self.reset = False
        self.properties: dict[tuple[str, ...], bytes] = {}

    def call(self, callback: str, *arguments: int) -> int:
        """What a callback answers in this stream's context; 0 if the module has none."""
        return self.host.call(callback, self.context_id, *arguments)

    def map(self, map_type: int, *, to_write: bool = False) -> Pairs | None:
        """A header map, None when the proxy does not give it out now."""
        return None

    def buffer(self, buffer_type: int, *, to_write: bool = False) -> bytearray | None:
        """A buffer, None when the proxy does not give it out now."""
        return None

    def answer(self, response: LocalResponse) -> None:
        """End the stream with a local response, which only an HTTP stream can."""

    def hide(self, stream_type: int) -> None:
        """Give out nothing of a direction that the filter resumes, although its callback may still run."""

    def resume(self, stream_type: int) -> None:
        """Go on where the filter paused."""

    def close(self, stream_type: int) -> None:
        """Break the stream off."""
        if not self.ended:
            self.reset = True
            self.end()

    def end(self) -> None:
        """The last callbacks."""
        raise NotImplementedError


class HttpStream(Stream):
    """One request and its response.

    `request.passed` and `response.passed` are what left the filter, `local_response` is what it answered itself.
    """

    def __init__(self, host: WasmtimeHost, request: Message, upstream: Upstream) -> None:
        super().__init__(host)
        self.local_response: LocalResponse | None = None
        self.logging = False
        self.request = Direction(self, "request", StreamType.HTTP_REQUEST, lambda: self.response.begin(self._ask()))
        self.response = Direction(self, "response", StreamType.HTTP_RESPONSE, self.end)
        self._directions: dict[int, Direction] = {0: self.request, 1: self.response}
        self._upstream = upstream
        self.request.begin(request)

    def _ask(self) -> Message:
        return self._upstream(self.request.passed)

    def map(self, map_type: int, *, to_write: bool = False) -> Pairs | None:
        """A header map: in its own callbacks, and in proxy_on_log to read."""
        direction = self.response if map_type >= MapType.HTTP_RESPONSE_HEADERS else self.request
        if not direction.shows(map_type) and (to_write or not self.logging):
            return None
        return direction.maps.get(map_type)

    def buffer(self, buffer_type: int, *, to_write: bool = False) -> bytearray | None:
        """The body that is held: empty outside its own callbacks, where it cannot be changed."""
        direction = self._directions.get(buffer_type)
        if direction is None or (to_write and not direction.body_shown):
            return None
        return direction.buffer

    def answer(self, response: LocalResponse) -> None:
        """Respond in place of the upstream. Unless there is a response already, it passes the filter as one does."""
        if self.ended:
            return
        self.local_response = response
        self.request.drop()
        if not self.response.begun:
            self.response.begin(response.message())
            return
        self.response.drop()
        if self.response.passed.headers:
            self.reset = True
        else:
            self.response.passed = response.message()
        self.end()

    def hide(self, stream_type: int) -> None:
        """Give out nothing of a direction."""
        if (direction := self._directions.get(stream_type)) is not None:
            direction.hide()

    def resume(self, stream_type: int) -> None:
        """Go on with the request or the response."""
        if (direction := self._directions.get(stream_type)) is not None:
            direction.resume()

    def end(self) -> None:
        """The last callbacks, in the order in which Envoy makes them."""
        self.ended = True
        self.request.drop()
        self.response.drop()
        self.logging = True
        self.call("proxy_on_log")
        self.call("proxy_on_done")
        self.host.remove_context(self.context_id)


class Direction:
    """The request or the response of an HTTP stream; `then` is what follows when all of it has passed."""

    def __init__(self, stream: HttpStream, name: str, stream_type: StreamType, then: Callable[[], None]) -> None:
        self.passed = Message()
        self.begun = self.finished = False
        self.buffer = bytearray()
        self.body_shown = False
        self.maps: dict[int, Pairs] = {}
        self._headers, self._trailers = MapType(2 * stream_type), MapType(2 * stream_type + 1)
        self._shown: set[int] = set()
        self._stream = stream
        self._callback = f"proxy_on_{name}"
        self._then = then
        self._steps: deque[Callable[[], None]] = deque()
        self._held: Callable[[], None] | None = None
        self._blocked = False
        self._stopped = False

    @property
    def paused(self) -> bool:
        """Whether the filter holds it back."""
        return self._held is not None

    def shows(self, map_type: int) -> bool:
        """Whether the filter may see a header map of this direction now."""
        return map_type in self._shown

    def hide(self) -> None:
        """Nothing is shown until the next callback."""
        self._shown.clear()
        self.body_shown = False

    def begin(self, message: Message) -> None:
        """Move a message through the filter, as far as that lets it."""
        self.begun = True
        self.maps = {self._headers: list(message.headers), self._trailers: list(message.trailers)}
        *chunks, last = [*message.chunks] or [b""]
        ends = not message.trailers
        self._steps.append(partial(self._on_headers, ends and not message.chunks))
        if message.chunks:
            self._steps += [partial(self._on_body, chunk, False) for chunk in chunks]
            self._steps.append(partial(self._on_body, last, ends))
        if message.trailers:
            self._steps.append(self._on_trailers)
        self._advance()

    def resume(self) -> None:
        """Go on where the filter paused."""
        held, self._held, self._blocked = self._held, None, False
        if held is not None:
            held()
            self._advance()

    def drop(self) -> None:
        """Nothing more of it passes."""
        self._steps.clear()
        self._held, self._stopped = None, True
        self.hide()

    def _advance(self) -> None:
        """A filter that pauses in the headers gets nothing more; one that pauses in the body gets the rest of it."""
        while self._steps and not self._blocked:
            self._held = None
            self._steps.popleft()()

    def _on_headers(self, end_of_stream: bool) -> None:
        self._shown = {self._headers}
        self._filter("headers", len(self.maps[self._headers]), end_of_stream, then=partial(self._pass, end_of_stream))

    def _on_body(self, chunk: bytes, end_of_stream: bool) -> None:
        """With the last of the body, a filter may add trailers."""
        self.buffer += chunk
        self.body_shown = True
        self._shown = {self._trailers} if end_of_stream else set()
        self._filter("body", len(self.buffer), end_of_stream, then=partial(self._pass, end_of_stream))

    def _on_trailers(self) -> None:
        self._shown = {self._trailers}
        self._filter("trailers", len(self.maps[self._trailers]), then=partial(self._pass, True))

    def _filter(self, part: str, *arguments: int, then: Callable[[], None]) -> None:
        """Call the filter, and do what it says. A module of ABI 0.1.0 is not told whether headers are all there is."""
        if part == "headers" and self._stream.host.abi == "0.1.0":
            arguments = arguments[:1]
        action = self._stream.call(f"{self._callback}_{part}", *arguments)
        if self._stopped:
            return
        if action == Action.CONTINUE:
            then()
        else:
            self._held, self._blocked = then, part == "headers"

    def _pass(self, end_of_stream: bool) -> None:
        """What was held leaves the filter."""
        self.hide()
        self.passed.headers = list(self.maps[self._headers])
        if self.buffer:
            self.passed.chunks.append(bytes(self.buffer))
            self.buffer.clear()
        if end_of_stream:
            self.passed.trailers = list(self.maps[self._trailers])
            self.finished = True
            self._then()


class TcpStream(Stream):
    """One connection. `passed` is what left the filter, by where it came from: DOWNSTREAM or UPSTREAM."""

    def __init__(self, host: WasmtimeHost) -> None:
        super().__init__(host)
        self.passed = {StreamType.DOWNSTREAM: bytearray(), StreamType.UPSTREAM: bytearray()}
        self._held = {StreamType.DOWNSTREAM: bytearray(), StreamType.UPSTREAM: bytearray()}
        self._shown: set[int] = set()
        self._early: deque[tuple[StreamType, bytes, bool]] = deque()
        self._connecting = self.call("proxy_on_new_connection") != Action.CONTINUE

    def receive(self, origin: StreamType, data: bytes, *, end_of_stream: bool = False) -> None:
        """Data from one of the two sides; it waits if the filter paused the new connection."""
        self._early.append((origin, data, end_of_stream))
        self._advance()
        self.host.drain()

    def disconnect(self, origin: StreamType, peer: int) -> None:
        """One side is closed, by `peer`: 1 is the proxy, 2 the other end. With the downstream side, the stream ends."""
        self.call(f"proxy_on_{origin.name.lower()}_connection_close", peer)
        if origin == StreamType.DOWNSTREAM and not self.ended:
            self.end()
        self.host.drain()

    def buffer(self, buffer_type: int, *, to_write: bool = False) -> bytearray | None:
        """The data that is held: in its own callback, and while that paused."""
        if buffer_type not in self._held or (to_write and buffer_type not in self._shown):
            return None
        return self._held[StreamType(buffer_type)]

    def resume(self, stream_type: int) -> None:
        """Go on with the data of one side."""
        self._connecting = False
        if stream_type in self._held:
            self._pass(StreamType(stream_type))
        self._advance()

    def end(self) -> None:
        """The last callbacks, in the order in which Envoy makes them."""
        self.ended = True
        self.call("proxy_on_done")
        self.call("proxy_on_log")
        self.host.remove_context(self.context_id)

    def _advance(self) -> None:
        while self._early and not self._connecting and not self.ended:
            origin, data, end_of_stream = self._early.popleft()
            self._held[origin] += data
            self._shown.add(origin)
            action = self.call(f"proxy_on_{origin.name.lower()}_data", len(self._held[origin]), end_of_stream)
            if action == Action.CONTINUE:
                self._pass(origin)

    def _pass(self, origin: StreamType) -> None:
        self.passed[origin] += self._held[origin]
        self._held[origin].clear()
        self._shown.discard(origin)
