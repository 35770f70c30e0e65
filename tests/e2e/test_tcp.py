"""TCP connections in a real proxy: data both ways, pausing, closing, exceptions."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    tcp_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request
from tests.e2e.scripting import INCLUDED, logged, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

CONNECTIONS = script("""
    def on_plugin_start(self, plugin_configuration_size):
        shared["paused"] = []
        hostcalls.set_tick_period_milliseconds(20)

    def on_tick(self):
        while shared["paused"]:
            connection = shared["paused"].pop()
            log.info(f"resume upstream: {failure(connection.resume_upstream)}")
            connection.resume_downstream()

    def on_new_connection(self):
        self.name = None

    def on_downstream_data(self, data_size, end_of_stream):
        data = self.downstream_data.read()
        self.name = self.name or data.decode()
        log.info(f"{self.name}: downstream {data_size} {data} {end_of_stream}")
        match self.name:
            case "change" if data:
                self.downstream_data.replace(data.upper())
                self.downstream_data.prepend("<")
                self.downstream_data.append(b">")
            case "begin":
                log.info(f"begin: {self.downstream_data.read(1, 3)} {len(self.downstream_data)}")
            case "gather" if not data.endswith(b"."):
                return Action.PAUSE
            case "later":
                shared["paused"].append(self)
                return Action.PAUSE
            case "close downstream":
                self.close_downstream()
            case "close upstream":
                self.close_upstream()
            case "raise":
                raise ValueError("as asked for")

    def on_upstream_data(self, data_size, end_of_stream):
        data = self.upstream_data.read()
        log.info(f"{self.name}: upstream {data_size} {data} {end_of_stream}")
        match self.name:
            case "change" if data:
                self.upstream_data.append("!")
                self.upstream_data.prepend(b"?")
            case "gather upstream" if not data.endswith(b"."):
                return Action.PAUSE
            case "raise upstream":
                raise ValueError("as asked for")

    def on_downstream_close(self, peer_type):
        log.info(f"{self.name}: downstream closed {PeerType(peer_type).name}")

    def on_upstream_close(self, peer_type):
        log.info(f"{self.name}: upstream closed {PeerType(peer_type).name}")

    def on_stream_done(self):
        log.info(f"{self.name}: done")

    def on_http_request_headers(self, num_headers, end_of_stream):
        return self.send_http_response(200, body=f"{type(self).__name__} of {self.plugin.context_id}")
""")


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it receives."""

    daemon_threads = True

    class Connection(socketserver.BaseRequestHandler):
        """Until the client has no more."""

        def handle(self) -> None:
            while data := self.request.recv(65536):
                self.request.sendall(data)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """One plugin for TCP, one that lets fail what fails, and one for TCP and HTTP, in front of an echo."""
    module = build_filter("scripted", include=INCLUDED).path
    plugins = {name: WasmPlugin(module, root_id=name, configuration=CONNECTIONS) for name in KINDS}
    with Echo(("127.0.0.1", 0), Echo.Connection) as echo:
        listeners = [tcp_listener([plugin], UPSTREAM, name=name) for name, plugin in plugins.items()]
        listeners.append(http_listener([plugins["both"]], [direct_response(404, "not asked")], name="both for HTTP"))
        config = bootstrap(listeners, [cluster(UPSTREAM, "127.0.0.1", echo.server_address[1])])
        with EnvoyProcess(config) as process:
            yield process


KINDS = ("tcp", "tcp-continue", "both")


@contextmanager
def connected(envoy: EnvoyProcess, name: str = "tcp") -> Iterator[socket.socket]:
    """A connection to a listener."""
    with socket.create_connection(("127.0.0.1", envoy.listener_port(name)), timeout=30) as connection:
        yield connection


def say(connection: socket.socket, data: bytes, expected: int) -> bytes:
    """Send something, and read what comes back: as many bytes as expected, or until the connection is closed."""
    connection.sendall(data)
    received = b""
    while len(received) < expected and (some := connection.recv(expected)):
        received += some
    return received


@pytest.mark.parametrize("name", ["tcp", "both"])
def test_data_is_changed_both_ways(envoy: EnvoyProcess, name: str) -> None:
    """Data can be replaced, prepended and appended to, on its way to the upstream and on its way back."""
    with connected(envoy, name) as connection:
        assert say(connection, b"change", 10) == b"?<CHANGE>!"
        assert say(connection, b"again", 9) == b"?<AGAIN>!"


def test_data_is_read_in_parts(envoy: EnvoyProcess) -> None:
    """A part of the data can be read, and its size asked for."""
    with connected(envoy) as connection:
        assert say(connection, b"begin", 5) == b"begin"
    envoy.wait_for_log("begin: b'egi' 5", 10)


def test_paused_data_is_kept_for_the_next_callback(envoy: EnvoyProcess) -> None:
    """Data that PAUSE holds back is seen again with what comes after it, and goes on with it."""
    with connected(envoy) as connection:
        connection.sendall(b"gather")
        envoy.wait_for_log("gather: downstream 6 b'gather' False", 10)
        assert say(connection, b" all.", 11) == b"gather all."
    envoy.wait_for_log("gather: downstream 11 b'gather all.' False", 10)


def test_paused_data_of_the_upstream(envoy: EnvoyProcess) -> None:
    """The same for the upstream's data, which goes on with the next that comes."""
    with connected(envoy) as connection:
        connection.sendall(b"gather upstream")
        envoy.wait_for_log("gather upstream: upstream 15 b'gather upstream' False", 10)
        assert say(connection, b" too.", 20) == b"gather upstream too."
    envoy.wait_for_log("gather upstream: upstream 20 b'gather upstream too.' False", 10)


def test_paused_connection_is_resumed_by_a_tick(envoy: EnvoyProcess) -> None:
    """A paused connection goes on when its plugin says so, without another callback; an upstream cannot be resumed."""
    with connected(envoy) as connection:
        assert say(connection, b"later", 5) == b"later"
    envoy.wait_for_log("later: upstream 5 b'later' False", 10)
    assert logged(envoy, "later: ")[0] == "downstream 5 b'later' False"
    assert logged(envoy, "resume upstream: ") == ["Unimplemented: proxy_continue_stream: UNIMPLEMENTED (12)"]


@pytest.mark.parametrize("side", ["downstream", "upstream"])
def test_filter_closes_the_connection(envoy: EnvoyProcess, side: str) -> None:
    """Closing either side ends the connection, and the filter is told."""
    with connected(envoy) as connection:
        assert say(connection, f"close {side}".encode(), 1) == b""
    envoy.wait_for_log(f"close {side}: done", 10)
    assert logged(envoy, f"close {side}: ")[-2:] == ["downstream closed LOCAL", "done"]


@pytest.mark.parametrize("where", ["raise", "raise upstream"])
def test_exception_closes_the_connection(envoy: EnvoyProcess, where: str) -> None:
    """By default an exception while data comes closes the client's connection; its data does not pass."""
    with connected(envoy) as connection:
        assert say(connection, where.encode(), 1) == b""
    callback = "on_upstream_data" if "upstream" in where else "on_downstream_data"
    envoy.wait_for_log(f"tcp: uncaught exception in {callback}\n", 10)


@pytest.mark.parametrize("where", ["raise", "raise upstream"])
def test_exception_lets_the_connection_go_on(envoy: EnvoyProcess, where: str) -> None:
    """With on_error="continue" the data passes as it is, and the exception is logged."""
    with connected(envoy, "tcp-continue") as connection:
        assert say(connection, where.encode(), len(where)) == where.encode()
    callback = "on_upstream_data" if "upstream" in where else "on_downstream_data"
    envoy.wait_for_log(f"tcp-continue: uncaught exception in {callback}\n", 10)


def test_end_of_stream(envoy: EnvoyProcess) -> None:
    """When a side has no more to say, its last callback has no data and says so."""
    with connected(envoy) as connection:
        assert say(connection, b"end", 3) == b"end"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    envoy.wait_for_log("end: done", 10)
    assert logged(envoy, "end: ") == [
        "downstream 3 b'end' False",
        "upstream 3 b'end' False",
        "downstream 0 b'' True",
        "upstream 0 b'' True",
        "upstream closed UNKNOWN",
        "downstream closed LOCAL",
        "done",
    ]


def test_one_plugin_serves_tcp_and_http(envoy: EnvoyProcess) -> None:
    """A plugin with contexts for both kinds of streams gets the right one, in one VM and side by side."""
    with connected(envoy, "both") as connection:
        assert say(connection, b"change", 10) == b"?<CHANGE>!"
        first = request(envoy.listener_port("both for HTTP")).body
        assert first.startswith(b"Http of ")
        assert say(connection, b"more", 8) == b"?<MORE>!"
        assert request(envoy.listener_port("both for HTTP")).body == first
