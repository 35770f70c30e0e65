"""A small HTTP/1.1 client that sends what it is told, byte for byte, and keeps what it gets."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pywasmfilter_compiler.envoy.http1 import Headers, MessageError, read_body, read_head, render_head, values

if TYPE_CHECKING:
    from collections.abc import Sequence

Text: TypeAlias = bytes | str  # a str is sent as Latin-1: U+00NN is the byte 0xNN

TIMEOUT = 30.0  # seconds without a byte from the server


@dataclass(frozen=True)
class Response:
    """An answer: header pairs in the order, the case and the number they came in."""

    status: int
    headers: Headers
    body: bytes
    trailers: Headers

    def header(self, name: Text) -> list[bytes]:
        """The values of a header, in order, whatever the case of its name."""
        return values(self.headers, _bytes(name))


def request(
    port: int,
    method: Text = "GET",
    path: Text = "/",
    headers: Sequence[tuple[Text, Text]] = (),
    body: bytes = b"",
    *,
    timeout: float = TIMEOUT,
) -> Response:
    """Send one request to 127.0.0.1 on a connection of its own and return the answer.

    `host`, and for a body `content-length`, are added after `headers` unless they are among them. A `body` that goes
    with `transfer-encoding: chunked` is sent as it is. Raises OSError, or MessageError for what is no answer.
    """
    fields = [(_bytes(name), _bytes(value)) for name, value in headers]
    if not values(fields, b"host"):
        fields.append((b"host", b"test.local"))
    if body and not values(fields, b"content-length") and not values(fields, b"transfer-encoding"):
        fields.append((b"content-length", str(len(body)).encode()))
    head = render_head(b" ".join([_bytes(method), _bytes(path), b"HTTP/1.1"]), fields)
    return exchange(port, head + body, head_only=_bytes(method) == b"HEAD", timeout=timeout)


def exchange(port: int, message: bytes, *, head_only: bool = False, timeout: float = TIMEOUT) -> Response:
    """Send raw bytes and read one answer; for what `request` would not send."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(message)
        with connection.makefile("rb") as stream:
            status = 100
            headers: Headers = []
            while status // 100 == 1:  # interim answers
                head = read_head(stream)
                if head is None:
                    raise MessageError("the connection was closed without an answer")
                status, headers = _status(head[0]), head[1]
            if head_only or status in {204, 304}:
                return Response(status, headers, b"", [])
            body, trailers = read_body(stream, headers, until_close=True)
            return Response(status, headers, body, trailers)


def _status(line: bytes) -> int:
    """status-line ::= HTTP-version SP status-code SP [reason]"""
    version, _, rest = line.partition(b" ")
    code = rest.partition(b" ")[0]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise MessageError(f"not a status line: {line!r}")
    return int(code)


def _bytes(text: Text) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
