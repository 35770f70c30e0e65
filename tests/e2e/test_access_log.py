"""A plugin as an access logger: it hears of each request that is over, whether filters saw it or not."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    http_listener,
    route_to,
    wasm_access_log,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import exchange, request
from tests.e2e.scripting import INCLUDED, logged, run, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

LOGGER = script("""
    def on_log(self):
        values = {
            "request": dict(hostcalls.get_http_request_headers()),
            "response": dict(hostcalls.get_http_response_headers()),
            "trailers": hostcalls.get_http_response_trailers(),
            "code": properties.response.code,
            "details": properties.response.code_details,
            "duration": properties.request.duration > 0,
            "upstream": properties.upstream.address,
            "context": self.context_id == hostcalls._abi.host.get_effective_context(),
            "change": failure(hostcalls.add_http_request_header, "x-late", "1"),
        }
        log.info(f"logger: {values}")
        if values["request"].get(":path") == "/report":
            headers = [(":method", "POST"), (":path", "/reported"), (":authority", "collector")]
            self.dispatch_http_call("upstream", headers, reported, body=str(values["code"]))
        if values["request"].get(":path") == "/raise":
            raise ValueError("as asked for")

    def reported(*counts):
        log.info(f"reported: {json.loads(hostcalls.get_http_call_response_body())['body']}")
""")


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """A filter, and the logger of the same listener, in one VM."""
    module = build_filter("scripted", include=INCLUDED).path
    logger = WasmPlugin(module, name="logger", root_id="http", configuration=LOGGER)
    plugin = WasmPlugin(module, name="filter", root_id="http")
    listener = http_listener([plugin], [route_to(UPSTREAM)], access_logs=[wasm_access_log(logger)])
    with EnvoyProcess(bootstrap([listener], [cluster(UPSTREAM, "127.0.0.1", upstream.port)])) as process:
        yield process


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("pyfilter")


def entry(envoy: EnvoyProcess, text: str) -> Any:
    """What the logger said of the request whose entry holds the text."""
    envoy.wait_for_log(text, 10)
    (line,) = [line for line in logged(envoy, "logger: ") if text in line]
    return ast.literal_eval(line)


def test_logger_reads_both_headers(envoy: EnvoyProcess, port: int, upstream: EchoServer) -> None:
    """All headers and properties of the request are there, as the filters left them, and cannot be changed."""
    code = """
        def on_http_request_headers(self, *_):
            self.request.headers["x-from-filter"] = "1"
        def on_http_response_headers(self, *_):
            self.response.headers["x-answer"] = "2"
        def on_http_stream_done(self):
            log.info("filter: done")
    """
    run(port, code, path="/both")
    values = entry(envoy, "/both")
    assert (values["request"][":method"], values["request"]["x-from-filter"]) == ("GET", "1")
    assert (values["response"][":status"], values["response"]["x-answer"]) == ("200", "2")
    assert (values["code"], values["details"], values["duration"]) == (200, "via_upstream", True)
    assert values["upstream"] == f"127.0.0.1:{upstream.port}"
    assert (values["context"], values["trailers"]) == (True, [])
    assert values["change"].startswith("BadArgument: proxy_add_header_map_value: BAD_ARGUMENT (2)")
    envoy.wait_for_log("filter: done", 10)


def test_logger_sees_what_filters_do_not(envoy: EnvoyProcess, port: int) -> None:
    """A request that the proxy refused has an entry too, with as much as is known of it."""
    assert exchange(port, b"GET /refused HTTP/1.1\r\n\r\n").status == 400
    values = entry(envoy, "missing_host_header")
    assert (values["code"], values["request"][":path"], values["upstream"]) == (400, "/refused", None)


def test_logger_calls_out(envoy: EnvoyProcess, port: int) -> None:
    """A logger can report to a service, and hears its answer when the request is long over."""
    request(port, path="/report")
    envoy.wait_for_log("reported: 200", 10)


def test_exception_in_a_logger(envoy: EnvoyProcess, port: int) -> None:
    """An exception is logged; the client has its answer, and the next request is logged."""
    assert request(port, path="/raise").status == 200
    envoy.wait_for_log("http: uncaught exception in on_log\n", 10)
    request(port, path="/after")
    assert entry(envoy, "/after")["code"] == 200
