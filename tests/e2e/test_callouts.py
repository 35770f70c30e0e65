"""HTTP calls to other services through the proxy's clusters: what comes back, where, and what if it does not."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    http_listener,
    route_to,
    tcp_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import TIMEOUT
from tests.e2e.scripting import INCLUDED, evaluate, eventually, failure, logged, run, script, script_header, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

TICKING = script("""
    HEADERS = [(":method", "GET"), (":path", "/tick"), (":authority", "called.local")]

    def on_plugin_start(self, plugin_configuration_size):
        hostcalls.set_tick_period_milliseconds(50)
        log.info("start: call")
        self.dispatch_http_call("upstream", HEADERS, lambda *counts: log.info("start: reply"))

    def on_tick(self):
        hostcalls.set_tick_period_milliseconds(0)

        def first(*counts):
            status = dict(hostcalls.get_http_call_response_headers())[":status"]
            log.info(f"tick: first {status} {hostcalls._abi.host.get_effective_context() == self.context_id}")
            self.dispatch_http_call("upstream", HEADERS, second)

        def second(*counts):
            log.info(f"tick: second {json.loads(hostcalls.get_http_call_response_body())['path']}")

        self.dispatch_http_call("upstream", HEADERS, first)
""")

CONNECTION = script("""
    HEADERS = [(":method", "GET"), (":path", "/tcp"), (":authority", "called.local")]

    def on_downstream_data(self, data_size, end_of_stream):
        def reply(*counts):
            if "raise" in shared.setdefault("tcp", []):
                raise ValueError("as asked for")
            self.resume_downstream()

        if data_size:
            shared["tcp"] = [self.downstream_data.read().decode().split("/")[1].split(" ")[0]]
            self.dispatch_http_call("upstream", HEADERS, reply)
            return Action.PAUSE
""")


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """Listeners for each kind of plugin; clusters whose server echoes, is dead, and never answers."""
    module = build_filter("scripted", include=INCLUDED).path
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        clusters = {"dead": dead.getsockname()[1], "silent": silent.getsockname()[1], UPSTREAM: upstream.port}
        plugins = {"http": b"", "http-continue": b"", "ticking": TICKING}
        listeners = [
            http_listener(
                [WasmPlugin(module, root_id=name.replace("ticking", "http"), configuration=code)], ROUTES, name=name
            )
            for name, code in plugins.items()
        ]
        listeners += [
            tcp_listener([WasmPlugin(module, root_id=name, configuration=CONNECTION)], UPSTREAM, name=name)
            for name in ("tcp", "tcp-continue")
        ]
        config = bootstrap(listeners, [cluster(name, "127.0.0.1", port) for name, port in clusters.items()])
        limit = {"http.async_response_buffer_limit": 100_000}
        config["layered_runtime"] = {"layers": [{"name": "limits", "static_layer": limit}]}
        yield stack.enter_context(EnvoyProcess(config))


ROUTES = [route_to(UPSTREAM)]


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    """The listener whose plugin does what requests bring."""
    return envoy.listener_port("http")


def call(port: int, cluster_name: str, arguments: str = "") -> Any:
    """What comes back from a call that a request's callback makes while the request waits."""
    code = f"""
        HEADERS = [(":method", "POST"), (":path", "/called?a"), (":authority", "called.local")]
        HEADERS += [("x-twice", "1"), ("x-twice", "2")]

        def on_http_request_headers(self, *_):
            def reply(num_headers, body_size, num_trailers):
                self.send_http_response(200, body=repr(dict(
                    counts=(num_headers, body_size, num_trailers),
                    headers=hostcalls.get_http_call_response_headers(),
                    body=hostcalls.get_http_call_response_body(),
                    part=hostcalls.get_http_call_response_body(2, 6),
                    trailers=hostcalls.get_http_call_response_trailers(),
                    path=self.request.path,
                    status=hostcalls.get_status(),
                )))

            self.dispatch_http_call({cluster_name!r}, HEADERS, reply, {arguments})
            return Action.PAUSE
    """
    return value(run(port, code, path="/waiting"))


def test_reply(port: int) -> None:
    """The service gets method, path, repeated headers and body; the callback reads its answer, and the own request."""
    reply = call(port, UPSTREAM, "body='sent'")
    headers = reply["headers"]
    assert (":status", "200") in headers
    assert ("content-type", "application/json") in headers
    assert reply["counts"] == (len(headers), len(reply["body"]), 0)
    assert reply["part"] == reply["body"][2:8] == b"method"
    assert reply["trailers"] == []
    assert reply["path"] == "/waiting"
    received = json.loads(reply["body"])
    assert (received["method"], received["path"], received["body"]) == ("POST", "/called?a", "sent")
    assert [value for name, value in received["headers"] if name == "host"] == ["called.local"]
    assert [value for name, value in received["headers"] if name == "content-length"] == ["4"]
    assert [value for name, value in received["headers"] if name == "x-twice"] == ["1", "2"]


def test_trailers_are_not_sent(port: int) -> None:
    """Trailers of a call are accepted, and the proxy drops them."""
    reply = call(port, UPSTREAM, "body='sent', trailers=[('x-trailer', '1')]")
    assert json.loads(reply["body"])["trailers"] == []


@pytest.mark.parametrize(
    ("cluster_name", "status", "body"),
    [("dead", "503", b"upstream connect error"), ("silent", "504", b"upstream request timeout")],
)
def test_failing_service_answers_through_the_proxy(port: int, cluster_name: str, status: str, body: bytes) -> None:
    """A service that cannot be reached, or takes too long, is an answer of the proxy's own."""
    reply = call(port, cluster_name, "timeout_milliseconds=50")
    assert (":status", status) in reply["headers"]
    assert reply["body"].startswith(body)


def test_call_that_breaks_off(port: int) -> None:
    """A response that is too large for the proxy is a failure: no headers, and a status that says so."""
    code = """
        HEADERS = [(":method", "POST"), (":path", "/"), (":authority", "called.local")]

        def on_http_request_headers(self, *_):
            def reply(*counts):
                answer = counts, hostcalls.get_http_call_response_headers(), hostcalls.get_status()
                self.send_http_response(200, body=repr(answer))

            self.dispatch_http_call("upstream", HEADERS, reply, body=b"x" * 200_000)
            return Action.PAUSE
    """
    assert value(run(port, code)) == ((0, 0, 0), [], (11, "reset"))


def test_wrong_calls_raise_at_once(port: int) -> None:
    """An unknown cluster or a missing pseudo-header is BadArgument, and nothing waits for a reply."""
    advice = (
        "BadArgument: proxy_http_call: BAD_ARGUMENT (2); does the proxy know the cluster, and are :method, :path and"
    )
    headers = [(":method", "GET"), (":path", "/"), (":authority", "")]
    for cluster_name, pairs in [
        ("unknown", headers),
        *((UPSTREAM, [*headers[:i], *headers[i + 1 :]]) for i in range(3)),
    ]:
        assert failure(port, f"self.dispatch_http_call('{cluster_name}', {pairs}, print)").startswith(advice)
    assert failure(port, f"self.dispatch_http_call('upstream', {headers}, None)").startswith("TypeError: the callback")
    assert failure(port, f"self.dispatch_http_call('upstream', {headers}, print, timeout_milliseconds=-1)") == (
        "ValueError: a timeout is 0 to 2147483647 milliseconds, not -1"
    )
    assert evaluate(port, "len(callouts.pending)") == 0


def test_request_is_resumed_by_the_reply(port: int) -> None:
    """The reply's callback can change the request that waits, and let it go on."""
    code = """
        def on_http_request_headers(self, *_):
            def reply(*counts):
                status = dict(hostcalls.get_http_call_response_headers())[":status"]
                self.request.headers["x-status"] = status
                self.resume_http_request()

            self.dispatch_http_call("upstream", self.request.headers.items(), reply)
            return Action.PAUSE
    """
    assert ["x-status", "200"] in json.loads(run(port, code).body)["headers"]


def test_response_is_resumed_by_the_reply(port: int) -> None:
    """The same for a response that waits, here for a call and another one that its callback makes."""
    code = """
        HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "called.local")]

        def on_http_response_headers(self, *_):
            def first(*counts):
                self.response.headers["x-first"] = "1"
                self.dispatch_http_call("upstream", HEADERS, second)

            def second(*counts):
                self.response.headers["x-second"] = "2"
                self.resume_http_response()

            self.dispatch_http_call("upstream", HEADERS, first)
            return Action.PAUSE
    """
    response = run(port, code)
    assert (response.header("x-first"), response.header("x-second")) == ([b"1"], [b"2"])


def test_plugin_calls_out(envoy: EnvoyProcess) -> None:
    """A plugin calls out at a tick, and again from the reply's callback, which acts on the plugin; in every VM."""
    envoy.wait_for_log("tick: second /tick", 10, count=2)
    assert sorted(logged(envoy, "tick: ")) == ["first 200 True"] * 2 + ["second /tick"] * 2


def test_plugin_calls_out_at_its_start(envoy: EnvoyProcess) -> None:
    """A call can be made in on_plugin_start; the VM that only tries the plugin out is gone before its reply comes."""
    envoy.wait_for_log("start: reply", 10, count=2)
    envoy.wait_for_log("tick: second", 10, count=2)
    assert sorted(logged(envoy, "start: ")) == ["call"] * 3 + ["reply"] * 2


RAISING = """
    HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "called.local")]

    def on_http_{}(self, *_):
        def reply(*counts):
            raise ValueError("as asked for")

        self.dispatch_http_call("upstream", HEADERS, reply)
        return Action.{}
"""


@pytest.mark.parametrize("callback", ["request_headers", "response_headers"])
@pytest.mark.parametrize(("name", "status"), [("http", 500), ("http-continue", 200)])
def test_exception_in_the_callback(envoy: EnvoyProcess, name: str, status: int, callback: str) -> None:
    """An exception while a reply is handled denies the stream that waits for it, or lets it go on."""
    assert run(envoy.listener_port(name), RAISING.format(callback, "PAUSE")).status == status
    logged_as = (
        rf"{name}: uncaught exception in the callback of an HTTP call\n(?s:.*){callback}\.<locals>\.reply\nValueError"
    )
    envoy.wait_for_log(re.compile(logged_as), 10)


def test_exception_in_the_callback_of_a_stream_that_went_on(envoy: EnvoyProcess) -> None:
    """With on_error="continue" the stream goes on from where it waits now, be it later than where it called out."""
    code = """
        HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "called.local")]

        def on_http_request_headers(self, *_):
            def reply(*counts):
                raise ValueError("as asked for")

            self.dispatch_http_call("silent", HEADERS, reply, timeout_milliseconds=300)

        def on_http_response_headers(self, *_):
            return Action.PAUSE
    """
    response = run(envoy.listener_port("http-continue"), code)
    assert json.loads(response.body)["path"] == "/"


@pytest.mark.parametrize(
    ("name", "path", "answer"),
    [("tcp", "resume", b"HTTP/1.1 200"), ("tcp", "raise", b""), ("tcp-continue", "raise", b"HTTP/1.1 200")],
)
def test_connection_waits_for_a_reply(envoy: EnvoyProcess, name: str, path: str, answer: bytes) -> None:
    """A TCP connection is resumed by a reply; an exception closes it, or lets it go on."""
    with socket.create_connection(("127.0.0.1", envoy.listener_port(name)), timeout=TIMEOUT) as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        assert connection.recv(12) == answer


def test_stream_that_is_gone_gets_no_reply(envoy: EnvoyProcess, port: int) -> None:
    """When the client goes away while a call is on its way its callback is not made, and nothing is kept of it."""
    code = """
        HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "called.local")]

        def on_http_request_headers(self, *_):
            def reply(*counts):
                log.info("gone: called")

            for _ in range(3):
                self.dispatch_http_call("silent", HEADERS, reply, timeout_milliseconds=500)
            log.info(f"gone: {len(callouts.pending)} pending")
            return Action.PAUSE

        def on_delete(self):
            log.info("gone: deleted")
    """
    name, encoded = (text.decode() if isinstance(text, bytes) else text for text in script_header(code))
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nhost: a\r\n{name}: {encoded}\r\n\r\n".encode())
        envoy.wait_for_log("gone: 3 pending", 10)
    envoy.wait_for_log("gone: deleted", 10)
    assert eventually(lambda: evaluate(port, "len(callouts.pending)"), 0) == 0
    assert logged(envoy, "gone: ") == ["3 pending", "deleted"]


def test_answered_stream_gets_no_reply(envoy: EnvoyProcess, port: int) -> None:
    """The same when the stream ends by the first of two replies."""
    code = """
        HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "called.local")]

        def on_http_request_headers(self, *_):
            def reply(*counts):
                log.info("answered: called")
                self.send_http_response(200)

            self.dispatch_http_call("silent", HEADERS, reply, timeout_milliseconds=50)
            self.dispatch_http_call("silent", HEADERS, reply, timeout_milliseconds=200)
            return Action.PAUSE
    """
    assert run(port, code).status == 200
    assert eventually(lambda: evaluate(port, "len(callouts.pending)"), 0) == 0
    envoy.wait_for_log("answered: called", 10)
    assert logged(envoy, "answered: ") == ["called"]
