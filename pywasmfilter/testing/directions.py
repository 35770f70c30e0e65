"""The request or the response of an HTTP stream on its way: seen part by part, and what the filter holds back waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pywasmfilter.types import Action, MapType, StreamType

from . import header_maps
from .messages import Headers, LocalResponse, Message, Pairs

if TYPE_CHECKING:
    from .streams import HttpStream

BUFFER_LIMIT: Final = 1 << 20
"""How many bytes of a body a proxy holds back; Envoy's default."""

_DATE: Final = b"Thu, 01 Jan 1970 00:00:00 GMT"


class _Step(NamedTuple):
    """Something that arrives: headers and trailers as pairs, a piece of the body as bytes."""

    part: str
    data: Any
    end_of_stream: bool


class Direction:
    """The request or the response of an HTTP stream; `then` is what follows when all of it has passed.

    What the filter may see is what Envoy has at hand, which it keeps longer than it says: `maps` and `body_shown`.
    """

    def __init__(self, stream: HttpStream, stream_type: StreamType, then: Callable[[], None]) -> None:
        self.stream_type = stream_type
        self.passed = Message()
        """What has left the filter."""
        self.begun = self.complete = self.finished = False
        """Whether some of it, and all of it, has arrived; whether all of it has left."""
        self.body_size = 0
        """How many bytes of the body have arrived."""
        self.headers: Pairs = []
        """The headers as they are now; none before they have arrived."""
        self.trailers: Pairs = []
        self.shown: dict[int, Pairs] = {}
        """The header maps that the filter may see."""
        self._body = bytearray()
        self._body_shown = self._gathering = False
        self._scrapped = False  # what was gathered has left, so changes of it come too late
        self._names = MapType(2 * stream_type), MapType(2 * stream_type + 1)
        self._stream = stream
        self._callback = f"proxy_on_{'response' if stream_type else 'request'}"
        self._then = then
        self._steps: deque[_Step] = deque()
        self._ends_after: bool | None = None  # what is held back: None nothing, else whether it is the last of it
        self._blocked = self._running = self._stopped = self._answered = self._resuming = False

    @property
    def paused(self) -> bool:
        """Whether the filter holds it back."""
        return self._ends_after is not None

    # What has left

    @property
    def lacks(self) -> int:
        """How many bytes of the body that has left the receiver misses, because it goes by content-length."""
        length = self.passed.headers.get("content-length") or ""
        return max(0, int(length) - len(self.passed.body)) if self.body_size and length.isdecimal() else 0

    def received(self) -> Message:
        """What has left, as its receiver understands it: with content-length a body ends there, without trailers."""
        length = self.passed.headers.get("content-length") or ""
        if not self.body_size or not length.isdecimal():
            return self.passed
        body = self.passed.body
        return Message(self.passed.headers, self.passed.chunks if len(body) <= int(length) else [body[: int(length)]])

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

    def receive_at_once(self, message: Message) -> None:
        """A message of the proxy itself arrives, whose end comes with its body."""
        self.receive_headers(message.headers.raw, not message.chunks)
        if message.chunks:
            self.receive_body(message.body, True)

    def receive_headers(self, pairs: Pairs, end_of_stream: bool) -> None:
        """Headers arrive."""
        self.begun = True
        self._receive(_Step("headers", header_maps.arrived(self._names[0], pairs), end_of_stream))

    def receive_body(self, data: bytes, end_of_stream: bool) -> None:
        """A piece of the body arrives. What comes while the headers are held back is put together."""
        self.body_size += len(data)
        if self._blocked and self._steps and self._steps[-1].part == "body":
            data = self._steps.pop().data + data
        self._receive(_Step("body", data, end_of_stream))

    def receive_trailers(self, pairs: Pairs) -> None:
        """Trailers arrive."""
        self.trailers = header_maps.arrived(self._names[1], pairs)
        self._receive(_Step("trailers", self.trailers, True))

    def _receive(self, step: _Step) -> None:
        self.complete = step.end_of_stream
        if not self._stopped:
            self._steps.append(step)
            self._advance()

    # What the filter does

    def hold(self) -> None:
        """The callback that runs has answered a stream, so this one does not go on, whatever it returns."""
        self._answered = self._running

    def resume(self) -> None:
        """Go on where the filter paused."""
        if self._ends_after is not None and self._is_wanted():
            ends, self._ends_after = self._ends_after, None
            self._resuming, self._blocked = self._blocked, False
            self._pass(ends)
            self._scrapped = self._gathering
            self._advance()
            self._resuming = False

    def hide_body(self) -> None:
        """Of a body whose callback runs, nothing is shown after it. Envoy 1.40 breaks down when it is asked for."""
        if self._running:
            self._body_shown = self._gathering = False

    def drop(self) -> None:
        """Nothing more of it passes."""
        self._steps.clear()
        self._ends_after, self._stopped = None, True

    def replace(self, message: Message) -> None:
        """Another message passes in its place, which no filter sees."""
        self.headers = header_maps.arrived(self._names[0], message.headers.raw)
        self._pass_headers()
        self.passed.chunks = message.chunks
        self.finished = True

    # What the filter sees

    def hide(self) -> None:
        """Nothing is shown until the next callback."""
        self.shown.clear()
        self._body_shown = False

    def map(self, map_type: int, to_write: bool) -> Pairs | None:
        """A header map if it is shown; to write to trailers at the end of a body makes them."""
        if to_write and map_type == self._names[1] and self._body_shown and self._stream.end_of_stream:
            self.shown.setdefault(map_type, self.trailers)
        return self.shown.get(map_type)

    @property
    def body(self) -> bytearray | None:
        """The body, if it is shown."""
        return self._body if self._body_shown or self._gathering else None

    # How it moves on

    def _advance(self) -> None:
        """A filter that pauses in the headers gets nothing more; one that pauses in the body gets the rest of it."""
        while self._steps and not self._blocked and not self._running and not self._stopped:
            self._ends_after = None
            step = self._steps.popleft()
            getattr(self, f"_on_{step.part}")(step.data, step.end_of_stream)

    def _on_headers(self, pairs: Pairs, end_of_stream: bool) -> None:
        self.headers = self.shown[self._names[0]] = pairs
        arguments = (len(pairs), end_of_stream)
        # A module of ABI 0.1.0 is not told whether headers are all there is.
        if self._goes_on("headers", *arguments[: 1 if self._stream.vm.abi == "0.1.0" else 2], ends=end_of_stream):
            self.shown.pop(self._names[0], None)
            self._pass(end_of_stream)
        else:
            self._hold(end_of_stream, blocked=not self._stream.plugin.allow_on_headers_stop_iteration)

    def _on_body(self, data: bytes, end_of_stream: bool) -> None:
        if data and self._scrapped:
            self._body.clear()
            self._scrapped = False
        self._body += data
        too_large = self._gathering and len(self._body) > BUFFER_LIMIT and self._overflow()
        if self._stopped:
            return
        self._body_shown = True
        goes_on = self._goes_on("body", len(self._body), end_of_stream, ends=end_of_stream)
        if self._resuming and end_of_stream and self.trailers:
            # Trailers that are made from what was held back with the headers have a callback of their own.
            end_of_stream = False
            self._steps.append(_Step("trailers", self.trailers, True))
        self._gathering = not goes_on and not self._stopped
        if too_large:
            self._stream.answer(too_large)
        elif goes_on:
            self._body_shown = False
            self._pass(end_of_stream)
        else:
            self._scrapped = False
            self._hold(end_of_stream)

    def _on_trailers(self, pairs: Pairs, _end_of_stream: bool) -> None:
        self.shown[self._names[1]] = pairs
        if self._goes_on("trailers", len(pairs), ends=True):
            self.shown.pop(self._names[1], None)
            self._pass(True)
        else:
            self._scrapped = False
            self._hold(True)

    def _goes_on(self, part: str, *arguments: int, ends: bool) -> bool:
        """Call the filter. Whether it says CONTINUE, and has answered nothing."""
        self._stream.end_of_stream = ends
        self._running, self._answered = True, False
        try:
            action = self._stream.call(f"{self._callback}_{part}", *arguments)
        finally:
            self._running = False
        return action == Action.CONTINUE and not self._answered

    def _hold(self, ends: bool, *, blocked: bool = False) -> None:
        if not self._stopped:
            self._ends_after, self._blocked = ends, blocked

    def _overflow(self) -> LocalResponse | None:
        """More is held back than the proxy has room for: the answer to too large a request, after its last callback."""
        if self.stream_type == StreamType.HTTP_REQUEST:
            answer = LocalResponse(413, "request_payload_too_large", b"Payload Too Large")
            self._stream.announce(answer)
            return answer
        self._stream.answer(LocalResponse(500, "response_payload_too_large", b"Internal Server Error"))
        return None

    def _pass(self, ends: bool) -> None:
        """What was held leaves the filter."""
        if self._stopped:
            return
        if not self.passed.headers.raw:
            self._pass_headers()
        if self._body and not self._scrapped:
            if self._is_wanted():
                self.passed.chunks.append(bytes(self._body))
            self._body.clear()
        if ends and self._is_wanted():
            self.passed.trailers = Headers(self.trailers)
            self.finished = True
            self._then()

    def _is_wanted(self) -> bool:
        """Whether anybody receives what leaves."""
        return self.stream_type == StreamType.HTTP_RESPONSE or self._stream.upstream_listens()

    def _pass_headers(self) -> None:
        """Those of a response get what a proxy adds on the way out."""
        if self.stream_type == StreamType.HTTP_RESPONSE:
            self.headers[:] = header_maps.without_connection(self.headers)
            if "date" not in Headers(self.headers):
                header_maps.add(self._names[0], self.headers, b"date", _DATE)
            header_maps.assign(self._names[0], self.headers, b"server", b"envoy")
            if self._stream.closes_connection():
                header_maps.add(self._names[0], self.headers, b"connection", b"close")
        self.passed.headers = Headers(self.headers)
        self._stream.headers_passed(self.stream_type)
