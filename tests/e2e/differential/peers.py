"""A client and an upstream of HTTP/1.1 that send what they are told, byte by byte, and keep what they get."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

Pairs = list[tuple[str, str]]

PATIENCE = 3.0
"""How long to wait for what should happen, in seconds."""


@dataclass
class Arrived:
    """A message as far as it has arrived."""

    start: list[str] = field(default_factory=list)
    """The parts of the first line; none before the headers have come."""
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    complete: bool = False

    @classmethod
    def read(cls, data: bytes, *, closed: bool, has_body: bool = True) -> Arrived:
        """What some bytes are the beginning of. A response without a known size ends with the connection."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return cls()
        first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        message = cls(first.split(" ", 2), [_pair(line) for line in lines])
        values = dict(message.headers)
        if not has_body or first.startswith(("HTTP/1.1 204", "HTTP/1.1 304")):
            message.complete = True
        elif values.get("transfer-encoding") == "chunked":
            message._read_chunks(rest)
        elif "content-length" in values:
            message.body = rest[: int(values["content-length"])]
            message.complete = len(message.body) == int(values["content-length"])
        elif first.startswith("HTTP/"):
            message.body, message.complete = rest, closed
        else:
            message.complete = True
        return message

    def _read_chunks(self, rest: bytes) -> None:
        while b"\r\n" in rest:
            line, _, rest = rest.partition(b"\r\n")
            size = int(line, 16)
            if size == 0:
                lines = rest.decode("utf-8", "surrogateescape").split("\r\n")
                self.complete = "" in lines[:-1]
                self.trailers = [_pair(line) for line in lines[: lines.index("")]] if self.complete else []
                return
            self.body += rest[:size]
            rest = rest[size + 2 :]


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line[1:].partition(":")
    return (line[0] + name).lower(), value.strip()


class Connection:
    """One end of a connection; a thread keeps what arrives."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._changed = threading.Condition()
        self.data = b""
        self.closed = False
        """Whether the other side is closed."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        data = b" "
        while data:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                data = b""
            with self._changed:
                self.data += data
                self.closed = not data
                self._changed.notify_all()

    def send(self, data: bytes) -> None:
        """Send to a peer that may be gone."""
        with suppress(OSError):
            self._socket.sendall(data)

    def finish(self) -> None:
        """Say that no more will be sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a word."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.shutdown(socket.SHUT_RD)
        self._socket.close()

    def close(self) -> None:
        """Close both sides."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Whether something becomes true in good time."""
        with self._changed:
            return self._changed.wait_for(condition, PATIENCE)


def connect(port: int) -> Connection:
    """A connection to 127.0.0.1."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(connection)


class Upstream:
    """Accepts connections, and gives each to who asks for the next one."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections: list[Connection] = []
        """Those since the last `forget`."""
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._socket.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self.connections.append(Connection(accepted))
                    self._changed.notify_all()

    def forget(self) -> None:
        """Close all connections."""
        with self._changed:
            for connection in self.connections:
                connection.close()
            self.connections = []

    def wait(self) -> Connection | None:
        """The last connection, None if none comes in good time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self.connections), PATIENCE)
            return self.connections[-1] if self.connections else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.forget()


def render(first: str, pairs: Pairs) -> bytes:
    """A head as it goes over the wire."""
    lines = [first, *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def chunk(data: bytes) -> bytes:
    """A piece of a body that is sent in chunks."""
    return b"%x\r\n%s\r\n" % (len(data), data)
