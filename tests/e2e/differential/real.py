"""Cases in a real Envoy."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import grpc
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    Config,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    route_to,
    tcp_listener,
)
from pywasmfilter_compiler.envoy.http1 import read_body, read_head
from pywasmfilter_compiler.envoy.log import wasm_line
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request
from tests.e2e.differential.cases import Case, Mark, Outcome
from tests.e2e.differential.emulated import PLUGINS
from tests.e2e.differential.normal import message_lines, normal
from tests.e2e.differential.observing import LAST, PRELUDE, encoded, next_connection, script
from tests.e2e.differential.peers import PATIENCE, Arrived, Connection, Pairs, Upstream, chunk, connect, render
from tests.e2e.test_grpc import Service as GrpcService

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_AROUND = 3
"""How many requests have passed Envoy's only worker when it has done what there was to do."""


class Lines:
    """What cases have logged, by their names."""

    def __init__(self, envoy: EnvoyProcess) -> None:
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._changed = threading.Condition()
        threading.Thread(target=self._follow, args=(envoy,), daemon=True).start()

    def _follow(self, envoy: EnvoyProcess) -> None:
        for entry in envoy.follow_log():
            if (line := wasm_line(entry)) is not None:
                case, bar, text = line.message.partition("|")
                with self._changed:
                    if bar:
                        self._lines[case].append(normal(text))
                    self._changed.notify_all()

    def of(self, case: str) -> list[str]:
        """So far."""
        with self._changed:
            return list(self._lines[case])

    def wait(self, case: str, condition: Callable[[list[str]], bool]) -> bool:
        """Whether something becomes true of the lines of a case in good time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._lines[case]), PATIENCE)


def _at_least(count: int, lines: list[str]) -> bool:
    return len(lines) >= count


def _has_head(connection: Connection) -> bool:
    return b"\r\n\r\n" in connection.data


class Real:
    """One Envoy for all cases, and what it stands between."""

    def __init__(self, envoy: EnvoyProcess, upstream: Upstream) -> None:
        self._ports = {name: envoy.listener_port(name) for name in (*PLUGINS, "both for TCP", "around")}
        self._upstream = upstream
        self._lines = Lines(envoy)

    def run(self, case: Case, expected: Outcome) -> Outcome:
        """See a case through. What has come of it in another world is waited for, after each step and at the end."""
        self._case, self._outcome, self._expected = case, Outcome(), expected
        self._upstream.forget()
        self._controls: list[Connection] = []
        self._client: Connection | None = None
        self._client_left = self._answered = False
        self._chunked = self._answer_chunked = True
        self._head = False
        for step, mark in zip(case.steps, expected.marks, strict=True):
            getattr(self, f"_{step.what}")(*step.arguments)
            self._lines.wait(case.name, partial(_at_least, mark.lines))
            if mark.asked and (connection := self._upstream.wait()) is not None and not case.is_tcp:
                connection.wait(partial(_has_head, connection))
            self._go_around()
            self._outcome.marks.append(Mark(len(self._lines.of(case.name)), len(self._upstream.connections)))
        self._outcome.filter = self._lines.of(case.name)
        self._finish()
        if not case.is_tcp:  # how a connection ends is a case of its own
            self._outcome.filter = self._lines.of(case.name)
        return self._outcome

    def _go_around(self) -> None:
        """Until all that Envoy has received is dealt with."""
        for _ in range(_AROUND):
            request(self._ports["around"])

    def _control(self, code: str) -> None:
        """A request with a script of its own. It need not be answered: what it does with another stream may stop it."""
        connection = connect(self._ports[self._case.plugin if "http" in self._case.plugin else "http"])
        connection.send(render("GET /control HTTP/1.1", [("host", "test.local"), ("x-script", encoded(code))]))
        self._controls.append(connection)
        self._go_around()

    def _tick(self) -> None:
        ticks = len(self._lines.of("tick"))
        self._control("def on_http_request_headers(self, *_): hostcalls.set_tick_period_milliseconds(1)")
        self._lines.wait("tick", lambda lines: len(lines) > ticks)

    def _other(self) -> None:
        self._control("def on_http_request_headers(self, *_): shared['prelude']['do_later']()")

    def _wait(self, seconds: float) -> None:
        """Time passes here as it does there."""
        time.sleep(seconds)

    # HTTP

    def _headers(self, method: str, path: str, more: Pairs, end: bool) -> None:
        self._chunked = not end and "content-length" not in dict(more)
        self._head = method == "HEAD"
        own = [("host", "test.local"), ("x-script", encoded(script(self._case.name, self._case.script)))]
        framing = [("transfer-encoding", "chunked")] if self._chunked else []
        self._client = connect(self._ports[self._case.plugin])
        self._client.send(render(f"{method} {path} HTTP/1.1", [*own, *more, *framing]))

    def _send(self, data: bytes) -> None:
        assert self._client is not None
        self._client.send(data)

    def _data(self, text: bytes) -> None:
        self._send(text if self._case.is_tcp or not self._chunked else chunk(text))

    def _end(self) -> None:
        if self._case.is_tcp:
            assert self._client is not None
            self._client.finish()
        elif self._chunked:
            self._send(b"0\r\n\r\n")

    def _trailers(self, pairs: Pairs) -> None:
        self._send(render("0", pairs))

    def _abort(self) -> None:
        self._see_client()
        if self._client is not None:
            self._client.reset()

    def _asked(self) -> Connection | None:
        return next(iter(self._upstream.connections), None)

    def _answer_bytes(self, data: bytes) -> None:
        if (connection := self._asked()) is not None and (self._case.is_tcp or self._answered):
            connection.send(data)

    def _answer(self, status: int, more: Pairs, end: bool) -> None:
        self._answered = self._asked() is not None
        self._answer_chunked = not end and "content-length" not in dict(more)
        framing = [("transfer-encoding", "chunked")] if self._answer_chunked else []
        self._answer_bytes(render(f"HTTP/1.1 {status} OK", [*more, *framing]))

    def _answer_data(self, text: bytes) -> None:
        self._answer_bytes(text if self._case.is_tcp or not self._answer_chunked else chunk(text))

    def _answer_end(self) -> None:
        if self._case.is_tcp:
            if (connection := self._asked()) is not None:
                connection.finish()
        elif self._answer_chunked:
            self._answer_bytes(b"0\r\n\r\n")

    def _answer_trailers(self, pairs: Pairs) -> None:
        self._answer_bytes(render("0", pairs))

    def _answer_abort(self) -> None:
        if (connection := self._asked()) is not None:
            connection.reset() if self._case.is_tcp else connection.close()

    def _connect(self) -> None:
        self._control(next_connection(self._case.name, self._case.script))
        name = self._case.plugin
        self._client = connect(self._ports["both for TCP" if name == "both" else name])

    # The end

    def _see_client(self) -> None:
        if self._client is not None and not self._client_left:
            self._client_left = True
            self._client.wait(lambda: self._client_lines() == self._expected.client)
            self._outcome.client = self._client_lines()

    def _client_lines(self) -> list[str]:
        assert self._client is not None
        if self._case.is_tcp:
            return [repr(self._client.data), f"closed: {self._client.closed}"]
        response = Arrived.read(self._client.data, closed=self._client.closed, has_body=not self._head)
        response.start[:1] = [""][: len(response.start)]
        return message_lines(response, cut_off=self._client.closed)

    def _finish(self) -> None:
        self._abort()
        for connection in self._controls:
            connection.close()
        if self._case.is_tcp:  # one that the filter holds back may not end before Envoy does
            self._outcome.upstream = self._upstream_lines()
            return
        self._lines.wait(self._case.name, lambda lines: LAST in lines)
        self._go_around()
        for connection in self._upstream.connections[-1:]:
            connection.wait(lambda: self._upstream_lines() == self._expected.upstream)
        self._outcome.upstream = self._upstream_lines()

    def _upstream_lines(self) -> list[str]:
        connections = [connection for connection in self._upstream.connections if connection.data or self._case.is_tcp]
        if self._case.is_tcp:
            return [repr(connection.data) for connection in connections]
        messages = (Arrived.read(connection.data, closed=connection.closed) for connection in connections)
        return [line for message in messages for line in message_lines(message)]


@contextmanager
def real(module: Path) -> Iterator[Real]:
    """An Envoy with all plugins of the scripted filter in one VM."""
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        service = stack.enter_context(Service(("127.0.0.1", 0), Service.Connection))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        server = grpc.server(ThreadPoolExecutor(4), handlers=[GrpcService()])
        grpc_port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(lambda: server.stop(grace=None).wait())
        ports = {"service": service.port, "silent": silent.getsockname()[1], "dead": dead.getsockname()[1]}
        clusters = [cluster(UPSTREAM, "127.0.0.1", upstream.port, trailers=True)]
        clusters += [cluster(name, "127.0.0.1", port) for name, port in ports.items()]
        for options in (config["typed_extension_protocol_options"][_OPTIONS] for config in clusters):
            options["common_http_protocol_options"] = {"max_requests_per_connection": 1}
        clusters.append(cluster("grpc", "127.0.0.1", grpc_port, http2=True))
        envoy = stack.enter_context(EnvoyProcess(bootstrap(listeners(module), clusters)))
        yield Real(envoy, upstream)
        assert "VM failed" not in envoy.log_text


def listeners(module: Path) -> list[Config]:
    """One for each plugin, and one that shows that Envoy has come around."""
    plugins = {
        name: WasmPlugin(
            module,
            name=name.removesuffix(" held"),
            root_id=name.removesuffix(" held"),
            configuration=PRELUDE.encode(),
            allow_on_headers_stop_iteration=name.endswith(" held"),
        )
        for name in PLUGINS
    }
    routes = [direct_response(200, "", prefix="/control"), route_to(UPSTREAM)]
    found: list[Config] = [http_listener([], [direct_response(200, "")], name="around")]
    for name, plugin in plugins.items():
        if "tcp" in name:
            found.append(tcp_listener([plugin], UPSTREAM, name=name))
        else:
            found.append(http_listener([plugin], routes, name=name, trailers=True))
            manager = found[-1]["filter_chains"][0]["filters"][0]["typed_config"]
            manager["delayed_close_timeout"] = "0s"  # a client that is cut off is told at once
    return [*found, tcp_listener([plugins["both"]], UPSTREAM, name="both for TCP")]


class Service(socketserver.ThreadingTCPServer):
    """Answers every request as `emulated.SERVICE` does, in a `with` block."""

    daemon_threads = True

    class Connection(socketserver.StreamRequestHandler):
        """One request; Envoy closes the connection."""

        def handle(self) -> None:
            if (head := read_head(self.rfile)) is not None:
                read_body(self.rfile, head[1], until_close=False)
                self.wfile.write(render("HTTP/1.1 201 OK", [("content-length", "5"), ("x-a", "1")]) + b"reply")
                self.rfile.read()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
