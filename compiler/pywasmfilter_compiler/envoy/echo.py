"""An upstream that answers every request with a JSON document of what it received.

    {"method": "POST", "path": "/a?b", "headers": [["host", "x"], …], "body": "…", "trailers": []}

Header pairs keep their order, their case and their repeats. Bytes become text as Latin-1, so that byte 0xNN is the
character U+00NN and nothing is lost.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from pywasmfilter_compiler.envoy.http1 import Headers, MessageError, read_body, read_head, render_head, values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_CLOSE: Final = 5.0  # seconds that closing waits for requests that are being answered


class EchoServer:
    """A threaded HTTP/1.1 server on 127.0.0.1, running from construction until `close()` (or the end of a `with`).

    `extra_headers` are added to each answer as they are, in order, after content-type and content-length.
    """

    def __init__(self, extra_headers: Sequence[tuple[bytes, bytes]] = (), *, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), list(extra_headers))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="echo upstream", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port that was chosen."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening and close the connections that are still open. May be called more than once."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], extra_headers: Headers) -> None:
        super().__init__(address, _Connection)
        self.extra_headers = extra_headers
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def close_connections(self) -> None:
        """Wake up the threads that wait for another request, and wait until each has closed its socket."""
        with self._changed:
            for connection in self._open:
                with suppress(OSError):  # the peer was faster
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, _CLOSE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        try:
            while self._answer_one():
                pass
        except MessageError as error:
            self._respond(b"400 Bad Request", json.dumps({"error": str(error)}).encode(), close=True)

    def _answer_one(self) -> bool:
        """Whether the connection stays open for another request."""
        head = read_head(self.rfile)
        if head is None:
            return False
        start_line, headers = head
        method, path, version = _request_line(start_line)
        if any(value.lower() == b"100-continue" for value in values(headers, b"expect")):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, trailers = read_body(self.rfile, headers, until_close=False)
        close = version != b"HTTP/1.1" or b"close" in b",".join(values(headers, b"connection")).lower()
        document = {
            "method": method.decode("latin-1"),
            "path": path.decode("latin-1"),
            "headers": _as_text(headers),
            "body": body.decode("latin-1"),
            "trailers": _as_text(trailers),
        }
        self._respond(b"200 OK", json.dumps(document).encode(), close=close, send_body=method != b"HEAD")
        return not close

    def _respond(self, status: bytes, body: bytes, *, close: bool, send_body: bool = True) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self.server.extra_headers,
        ]
        if close:
            headers.append((b"connection", b"close"))
        self.wfile.write(render_head(b"HTTP/1.1 " + status, headers) + (body if send_body else b""))


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """request-line ::= method SP request-target SP HTTP-version"""
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        raise MessageError(f"not a request line: {line!r}")
    return parts[0], parts[1], parts[2]


def _as_text(headers: Headers) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
