"""HTTP/1.1 messages on a stream, byte for byte [RFC 9112, sections 2, 6 and 7].

Header fields are an ordered list of (name, value) byte pairs; nothing is decoded, merged or put into other case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Headers: TypeAlias = list[tuple[bytes, bytes]]

MAX_LINE: Final = 1 << 20  # bytes; the longest start line, header field or chunk header that is read


class Stream(Protocol):
    """What is read from: a buffered binary file, such as the one of `socket.makefile("rb")`."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, limit: int, /) -> bytes: ...


class MessageError(ValueError):
    """The bytes are not an HTTP/1.1 message, or the stream ended inside one."""


def read_head(stream: Stream) -> tuple[bytes, Headers] | None:
    """HTTP-message head ::= start-line CRLF *( field-line CRLF ) CRLF; None when the stream ends before it.

    Raises MessageError, and whatever the stream raises.
    """
    first = stream.readline(MAX_LINE)
    if not first:
        return None
    return _line(first), read_fields(stream)


def read_fields(stream: Stream) -> Headers:
    """*( field-name ":" OWS field-value OWS CRLF ) CRLF; of headers or of trailers."""
    fields: Headers = []
    while line := _line(stream.readline(MAX_LINE)):
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise MessageError(f"not a header field: {line!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def read_body(stream: Stream, headers: Sequence[tuple[bytes, bytes]], *, until_close: bool) -> tuple[bytes, Headers]:
    """The content and the trailers of the message whose head is `headers`.

    Without content-length and chunked there is no content, or (`until_close`) all that follows.
    Raises MessageError, and whatever the stream raises.
    """
    if any(b"chunked" in value.lower() for value in values(headers, b"transfer-encoding")):
        return _read_chunks(stream), read_fields(stream)
    lengths = set(values(headers, b"content-length"))
    if not lengths:
        return (stream.read(-1) if until_close else b""), []
    length = lengths.pop()
    if lengths or not length.isdigit():
        raise MessageError("content-length is not one number")
    return _exactly(stream, int(length)), []


def values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of `name` in order, whatever the case of the name."""
    return [value for key, value in headers if key.lower() == name.lower()]


def render_head(start_line: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head as bytes, empty line included; names and values go out as they are."""
    return b"".join([start_line, b"\r\n", *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"])


def _read_chunks(stream: Stream) -> bytes:
    """chunked-body without its trailers ::= *( size [ext] CRLF data CRLF ) 1*( "0" ) [ext] CRLF"""
    chunks = []
    while size := _chunk_size(_line(stream.readline(MAX_LINE))):
        chunks.append(_exactly(stream, size))
        if _line(stream.readline(MAX_LINE)):
            raise MessageError("a chunk is longer than its size says")
    return b"".join(chunks)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise MessageError(f"not a chunk size: {line!r}") from None


def _line(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise MessageError("the stream ended inside a line, or the line is too long")
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _exactly(stream: Stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise MessageError(f"the stream ended after {len(data)} of {size} bytes")
    return data
