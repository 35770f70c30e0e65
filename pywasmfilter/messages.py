"""The request and the response of an HTTP stream.

As header maps and buffers they hold nothing: one object stands for the requests of all streams, and each access acts on
the stream whose callback or coroutine is running.
"""

from __future__ import annotations

from ._bodies import Chunk, NextChunk, WholeBody, change_body, task_of
from .buffers import EVERYTHING, Buffer
from .calls import from_json
from .headers import HeaderMap
from .types import BufferType, MapType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._tasks import Future

DEFAULT_MAX_BYTES = 1 << 20
"""How large a body is that is awaited without another limit: 1 MiB, which is also what Envoy holds back by default."""


class Message:
    """What requests and responses have in common. One object stands for all streams, so nothing can be kept on it."""

    __slots__ = ("_stream_type", "buffer", "headers", "trailers")

    headers: HeaderMap
    """The headers, pseudo-headers such as `:path` among them."""

    trailers: HeaderMap
    """The trailers."""

    buffer: Buffer
    """What the proxy holds of the body."""

    _stream_type: StreamType

    def __init__(self, headers: MapType, trailers: MapType, body: BufferType) -> None:
        parts: dict[str, object] = {
            "headers": HeaderMap(headers),
            "trailers": HeaderMap(trailers),
            "buffer": Buffer(body),
            "_stream_type": StreamType(body),  # the numbers of the two are the same
        }
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def body(self, max_bytes: int = DEFAULT_MAX_BYTES, *, hold_headers: bool = False) -> Future[bytes]:
        """The whole body: `body = await self.request.body(max_bytes=65536)`; b"" if there is none.

        For `async def` callbacks of this message. The proxy holds the body back, so that it can still be changed
        (`set_body`) or answered; in Envoy up to its own limit, 1 MiB by default. Raises BodyTooLarge for more than
        `max_bytes`, as soon as that is known, which answers 413 (502 for a response) unless it is caught; MisuseError
        where there is no body to come.

        Awaited in the headers' callback, the headers leave before the body comes, and without `content-length`: they
        can be read afterwards, but not be changed. Where the proxy's configuration says
        `allow_on_headers_stop_iteration`, and says so to the module (`PluginContext.holds_headers`), they are held back
        too. With `hold_headers` nothing leaves before the body is there: MisuseError where the proxy cannot do that.
        """
        task = task_of(self._stream_type)
        reader = WholeBody(task, max_bytes, hold_headers)
        task.read(reader)
        return reader

    async def json(self, max_bytes: int = DEFAULT_MAX_BYTES) -> Any:
        """The whole body, read as JSON in UTF-8; see `body`.

        Raises ValueError for what is no JSON (json.JSONDecodeError), and for what is nested too deeply.
        """
        return from_json(await self.body(max_bytes))

    def chunks(self) -> Chunks:
        """The body part by part, for bodies of any size: `async for chunk in self.response.chunks(): …`.

        Each `Chunk` has `data`, can be replaced, and leaves when the next one is asked for. For `async def` callbacks
        of this message; the headers leave without `content-length`. Leaving the loop early lets the rest pass unread.
        """
        return Chunks(self._stream_type)

    def set_body(self, data: str | bytes) -> None:
        """Replace the body that was awaited (`proxy_set_buffer_bytes`), and its `content-length` if there is one still.

        Raises MisuseError if the proxy does not hold a body now, as for a message without one.
        """
        change_body(self._stream_type, 0, EVERYTHING, data)

    def append_body(self, data: str | bytes) -> None:
        """Add to the end of the body that was awaited; see `set_body`."""
        change_body(self._stream_type, EVERYTHING, 0, data)

    def prepend_body(self, data: str | bytes) -> None:
        """Put something before the body that was awaited; see `set_body`."""
        change_body(self._stream_type, 0, 0, data)

    def __setattr__(self, name: str, _value: object) -> None:
        advice = {"headers": "headers.replace_all(pairs)", "buffer": "buffer.replace(data)"}.get(name)
        hint = f"; {advice} replaces what the proxy has" if advice else ""
        raise AttributeError(f"{name} of a {type(self).__name__} cannot be assigned{hint}")


class Chunks:
    """A body part by part; what `Message.chunks` gives."""

    __slots__ = ("_stream_type",)

    def __init__(self, stream_type: StreamType) -> None:
        self._stream_type = stream_type

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Chunk:
        """The next part; StopAsyncIteration at the end of the body."""
        task = task_of(self._stream_type)
        reader = NextChunk(task)
        task.read(reader)
        chunk: Chunk | None = await reader
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class Request(Message):
    """The request of the current HTTP stream: `headers`, `trailers`, and `buffer`, what the proxy holds of the body."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(MapType.HTTP_REQUEST_HEADERS, MapType.HTTP_REQUEST_TRAILERS, BufferType.HTTP_REQUEST_BODY)

    @property
    def method(self) -> str:
        """The pseudo-header `:method`."""
        return self.headers[":method"]

    @property
    def path(self) -> str:
        """The pseudo-header `:path`, with the query."""
        return self.headers[":path"]

    @property
    def authority(self) -> str:
        """The pseudo-header `:authority`, which is also the HTTP/1 host."""
        return self.headers[":authority"]


class Response(Message):
    """The response of the current HTTP stream: `headers`, `trailers`, and `buffer`, what the proxy has of the body."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(MapType.HTTP_RESPONSE_HEADERS, MapType.HTTP_RESPONSE_TRAILERS, BufferType.HTTP_RESPONSE_BODY)

    @property
    def status(self) -> int:
        """The pseudo-header `:status`."""
        return int(self.headers[":status"])
