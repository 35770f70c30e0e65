"""What passes a filter, as tests say it and look at it: headers, requests, responses.

Texts may be `str` or `bytes` wherever a test gives them. What a test reads is text, decoded as the SDK decodes it
(UTF-8 with "surrogateescape"); bodies are bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, overload

from pywasmfilter.types import GrpcStatus, MapType

from . import header_maps

Text: TypeAlias = str | bytes
Pairs: TypeAlias = list[tuple[bytes, bytes]]
HeadersLike: TypeAlias = "Headers | Mapping[str, Text] | Iterable[tuple[Text, Text]]"
BodyLike: TypeAlias = Text | Sequence[Text]
"""A body in one piece, or in the chunks in which it arrives."""

_GRPC = "application/grpc"
_HEADERS: Final = MapType.HTTP_RESPONSE_HEADERS
_OK = 200


def as_bytes(text: Text) -> bytes:
    """A text as it goes over the wire."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def as_text(data: bytes) -> str:
    """Bytes as a filter reads them; any bytes come through."""
    return data.decode("utf-8", "surrogateescape")


class Headers:
    """Header pairs in their order, read like the SDK's HeaderMap: ignoring case, with repeated names.

    Equal to whatever says the same: other headers, a list of pairs, or a dict if no name comes twice.
    """

    def __init__(self, headers: HeadersLike = ()) -> None:
        pairs = headers.raw if isinstance(headers, Headers) else _pairs(headers)
        self.raw: Pairs = list(pairs)
        """All pairs as bytes."""

    def __getitem__(self, name: Text) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(f"{name!r} is not among the headers {self.keys()}")
        return values[0]

    @overload
    def get(self, name: Text) -> str | None: ...
    @overload
    def get(self, name: Text, default: str) -> str: ...
    @overload
    def get(self, name: Text, default: None) -> str | None: ...

    def get(self, name: Text, default: str | None = None) -> str | None:
        """The first value of a header, or `default`."""
        return next(iter(self.get_all(name)), default)

    def get_all(self, name: Text) -> list[str]:
        """All values of a header, in order."""
        wanted = as_bytes(name).lower()
        return [as_text(value) for key, value in self.raw if key.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """All names and values in order, repeated names included."""
        return [(as_text(key), as_text(value)) for key, value in self.raw]

    def keys(self) -> list[str]:
        """The names in order, each once."""
        return list(dict.fromkeys(name for name, _ in self.items()))

    def values(self) -> list[str]:
        """All values in order."""
        return [value for _, value in self.items()]

    def __contains__(self, name: Text) -> bool:
        return bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers | Mapping | list | tuple):
            return NotImplemented
        return self.raw == Headers(other).raw

    __hash__ = None  # type: ignore[assignment]  # equal to a list

    def __repr__(self) -> str:
        return f"Headers({self.items()})"


def _pairs(headers: Mapping[str, Text] | Iterable[tuple[Text, Text]]) -> Pairs:
    items = headers.items() if isinstance(headers, Mapping) else headers
    return [(as_bytes(name).lower(), as_bytes(value)) for name, value in items]


class Message:
    """A request or a response."""

    def __init__(self, headers: HeadersLike = (), chunks: Iterable[bytes] = (), trailers: HeadersLike = ()) -> None:
        self.headers = Headers(headers)
        """The headers, pseudo-headers such as `:path` among them."""
        self.chunks = list(chunks)
        """The body in the pieces in which it arrives; each reaches the filter in a callback of its own."""
        self.trailers = Headers(trailers)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        """The body as text, with what is not UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        return json.loads(self.body)


class Request(Message):
    """A request: what a client sends, what passes the filter, or what a filter asks another service."""

    def __init__(
        self,
        method: str = "GET",
        path: Text = "/",
        headers: HeadersLike = (),
        body: BodyLike = b"",
        trailers: HeadersLike = (),
        *,
        authority: str = "test.local",
        scheme: str = "http",
    ) -> None:
        pseudo: HeadersLike = {":authority": authority, ":path": path, ":method": method, ":scheme": scheme}
        chunks = _chunks(body)
        given = Headers(headers)
        own = [pair for pair in Headers(pseudo).raw if pair[0] not in given]
        super().__init__([*own, *given.raw, *_framing(given, body, chunks, trailers)], chunks, trailers)

    @classmethod
    def of(cls, message: Message) -> Request:
        """A request with the headers of a message as they are."""
        request = cls.__new__(cls)
        Message.__init__(request, message.headers, message.chunks, message.trailers)
        return request

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
        """The pseudo-header `:authority`."""
        return self.headers[":authority"]

    def __repr__(self) -> str:
        return f"<Request {self.headers.get(':method')} {self.headers.get(':path')}, {len(self.body)} bytes>"


class Response(Message):
    """A response: what an upstream or another service answers, or what reaches the client.

    `delay` is how long after the request it comes, in seconds of the host's clock.
    """

    def __init__(
        self,
        status: int = _OK,
        headers: HeadersLike = (),
        body: BodyLike = b"",
        trailers: HeadersLike = (),
        *,
        delay: float = 0.0,
    ) -> None:
        given, chunks = Headers(headers), _chunks(body)
        pairs = [(b":status", str(status).encode()), *given.raw, *_framing(given, body, chunks, trailers)]
        super().__init__(pairs, chunks, trailers)
        self.delay = delay

    @classmethod
    def of(cls, message: Message) -> Response:
        """A response with the headers of a message as they are."""
        response = cls.__new__(cls)
        Message.__init__(response, message.headers, message.chunks, message.trailers)
        response.delay = 0.0
        return response

    @property
    def status(self) -> int:
        """The pseudo-header `:status`."""
        return int(self.headers[":status"])

    def __repr__(self) -> str:
        return f"<Response {self.headers.get(':status')}, {len(self.body)} bytes>"


def _chunks(body: BodyLike) -> list[bytes]:
    if isinstance(body, str | bytes):
        return [as_bytes(body)] if body else []
    return [as_bytes(chunk) for chunk in body]


def _framing(headers: Headers, body: BodyLike, chunks: list[bytes], trailers: HeadersLike) -> Pairs:
    """The size of a body that is known when the headers are sent; a proxy hides from filters how others are framed."""
    known = isinstance(body, str | bytes) and chunks and not Headers(trailers)
    return [(b"content-length", str(len(chunks[0])).encode())] if known and "content-length" not in headers else []


class LocalResponse(Message):
    """What a filter answered in place of the upstream (`proxy_send_local_response`).

    The headers are those that the filter gave, without the status.
    """

    def __init__(
        self,
        status: int,
        details: str = "",
        body: bytes = b"",
        headers: HeadersLike = (),
        grpc_status: int | None = None,
    ) -> None:
        super().__init__(headers, [body] if body else [])
        self.status = status
        self.details = details
        self.grpc_status = grpc_status

    def response(self, request: Headers) -> Message:
        """The response that the proxy makes of it: to gRPC an error of gRPC, to a HEAD request one without a body."""
        pairs = header_maps.arrived(_HEADERS, [(b":status", str(self.status).encode()), *self.headers.raw])
        if (request.get("content-type") or "").startswith(_GRPC):
            self._make_grpc(pairs)
            return Message(pairs)
        header_maps.assign(_HEADERS, pairs, b":status", str(self.status).encode())
        if not self.body:
            header_maps.remove(_HEADERS, pairs, b"content-length")
            header_maps.remove(_HEADERS, pairs, b"content-type")
            return Message(pairs)
        header_maps.assign(_HEADERS, pairs, b"content-length", str(len(self.body)).encode())
        if "content-type" not in Headers(pairs):
            header_maps.add(_HEADERS, pairs, b"content-type", b"text/plain")
        return Message(pairs, [] if request.get(":method") == "HEAD" else [self.body])

    def _make_grpc(self, pairs: Pairs) -> None:
        status = GRPC_STATUSES.get(self.status, GrpcStatus.UNKNOWN) if self.grpc_status is None else self.grpc_status
        header_maps.assign(_HEADERS, pairs, b":status", b"200")
        header_maps.assign(_HEADERS, pairs, b"content-type", _GRPC.encode())
        if "grpc-status" not in Headers(pairs):
            header_maps.add(_HEADERS, pairs, b"grpc-status", str(status).encode())
        if self.body and "grpc-message" not in Headers(pairs):
            header_maps.add(_HEADERS, pairs, b"grpc-message", _percent_encoded(self.body))
        header_maps.remove(_HEADERS, pairs, b"content-length")

    def __repr__(self) -> str:
        return f"<LocalResponse {self.status} {self.details}, {len(self.body)} bytes>"


GRPC_STATUSES: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""What becomes of an HTTP status: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md."""


def _percent_encoded(data: bytes) -> bytes:
    """A gRPC message, in which only printable ASCII other than "%" stands for itself."""
    return b"".join(bytes([byte]) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in data)
