"""Whether anything grows: a million requests through one worker of a real Envoy.

    python benchmarks/soak.py [--requests N] [--rows N]

Of each hundred requests to `soak_filter.py`, ten end in an exception, fifteen leave cycles of objects behind that a
garbage collection must find, twenty are answered by the filter, five have a body that it replaces on the way to an
upstream and back, and the others have headers only. One client more goes away in the middle of its request. The others
keep their connections; each response is read, and must have the status that it should.

A row of the table is the VM's memory as `pywasmfilter.memory` sees it, in which the row's own request has its part, and
Envoy's resident memory. It ends with 1 if the VM's memory has grown after the first tenth. Linux only.
"""
# ruff: noqa: T201  # which prints its results

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from pywasmfilter_compiler import build
from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    route_to,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess

FILTER: Final = Path(__file__).with_name("soak_filter.py")
KINDS: Final = {"/plain": 50, "/answer": 20, "/cycle": 15, "/raise": 10, "/echo": 5}
"""Path → of each hundred requests."""
HUNDRED: Final = [path for path, count in KINDS.items() for _ in range(count)]
BODY: Final = b"0123456789abcdef" * 64
WARM_UP: Final = 10  # the first of so many parts
LENGTH: Final = re.compile(rb"content-length: (\d+)")


def message(path: str) -> bytes:
    """A request as it is sent."""
    if path != "/echo":
        return f"GET {path} HTTP/1.1\r\nhost: soak\r\n\r\n".encode()
    return f"POST {path} HTTP/1.1\r\nhost: soak\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY


MESSAGES: Final = {path: message(path) for path in KINDS}


def main() -> None:
    """Build, send, print."""
    options = arguments()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        module = build(FILTER, Path(directory) / "soak.wasm").path
        upstream = stack.enter_context(EchoServer())
        routes = [route_to(UPSTREAM, prefix="/echo"), direct_response(200, "ok")]
        config = bootstrap(
            [http_listener([WasmPlugin(module)], routes)], [cluster(UPSTREAM, "127.0.0.1", upstream.port)]
        )
        # Without the log of what the exceptions say.
        envoy = stack.enter_context(EnvoyProcess(config, concurrency=1, component_log_level="wasm:off"))
        rows = soak(envoy, options.requests, options.rows)
    warm, last = rows[len(rows) // WARM_UP], rows[-1]
    grown = last["memory_bytes"] - warm["memory_bytes"]
    print(f"The VM's memory has grown by {grown:,} bytes after {warm['requests']:,} requests.")
    sys.exit(grown > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether anything grows in a million requests.")
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many to send (default 1000000)")
    parser.add_argument("--rows", type=int, default=20, help="of the table (default 20)")
    return parser.parse_args()


def soak(envoy: EnvoyProcess, requests: int, rows: int) -> list[dict[str, Any]]:
    """Send them all. Gives what each row of the table shows, and the first one from before any request."""
    port = envoy.listener_port(LISTENER)
    print(f"{'requests':>10}{'aborted':>9}{'memory':>12}{'in use':>12}{'blocks':>9}{'objects':>9}", end="")
    print(f"{'streams':>9}{'gc':>7}{'RSS of Envoy':>15}{'requests/s':>12}")
    found, sent, aborted, began = [statistics(port)], 0, 0, time.monotonic()
    show(found[0], 0, envoy.pid, 0)
    clients = [Client(port) for _ in HUNDRED]
    for row in range(1, rows + 1):
        while sent < requests * row // rows:
            for number, client in enumerate(clients):
                client.send(HUNDRED[(sent // len(HUNDRED) + number) % len(HUNDRED)])
            abort(port)
            for client in clients:
                client.receive()
            sent += len(HUNDRED)
            aborted += 1
        found.append(statistics(port))
        show(found[-1], aborted, envoy.pid, sent / (time.monotonic() - began))
    for client in clients:
        client.close()
    return found


class Client:
    """A kept-alive connection with one request at a time."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._path = ""

    def send(self, path: str) -> None:
        """A request."""
        self._path = path
        self._connection.sendall(MESSAGES[path])

    def receive(self) -> None:
        """Its response. Ends the run if that is not what it should be."""
        data, size = b"", 1
        while len(data) < size:
            more = self._connection.recv(1 << 16)
            data += more
            head, end, _ = data.partition(b"\r\n\r\n")
            if not more:
                sys.exit(f"Envoy closed a connection in the middle of a response to {self._path}: {data!r}")
            if end:
                size = len(head) + len(end) + int(LENGTH.findall(head)[0])
        if int(data[9:12]) != (500 if self._path == "/raise" else 200):
            sys.exit(f"the response to {self._path} is {data!r}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def abort(port: int) -> None:
    """A client that goes away in the middle of its request."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(MESSAGES["/echo"][: -len(BODY) // 2])


def statistics(port: int) -> dict[str, Any]:
    """What the worker's VM says of its memory."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/statistics")
        found: dict[str, Any] = json.load(connection.getresponse())
    return found


def show(found: dict[str, Any], aborted: int, pid: int, rate: float) -> None:
    """A row of the table."""
    names = ("requests", "memory_bytes", "used_bytes", "blocks", "objects", "streams", "collections")
    requests, memory, used, blocks, objects, streams, collections = (found[name] for name in names)
    print(f"{requests - aborted:10,}{aborted:9,}{memory:12,}{used:12,}{blocks:9,}{objects:9,}", end="")
    print(f"{streams:9,}{collections:7,}{resident(pid):15,}{rate:12,.0f}", flush=True)


def resident(pid: int) -> int:
    """The resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None  # noqa: S101  # every running process has one
    return int(match[1]) << 10


if __name__ == "__main__":
    main()
