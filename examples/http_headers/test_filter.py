"""The filter logs all headers and adds some, one of them from its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host, Refused, Response

EXPECTED = 'invalid configuration format; expected {"header": "<header name>", "value": "<header value>"}'

pytestmark = pytest.mark.filter(configuration={"header": "x-wasm-header", "value": "demo-wasm"})


def test_the_request_gets_a_header(host: Host) -> None:
    """The upstream sees `test`, in place of what the client sent; all headers are logged as they go on."""
    stream = host.request("GET", "/uuid", {"this-is-key": "this-is-value", "test": "worst"})
    assert stream.sent
    assert stream.sent.headers.get_all("test") == ["best"]
    logged = [line for line in host.messages if line.startswith("request header --> ")]
    assert logged == [f"request header --> {name}: {value}" for name, value in stream.sent.headers.items()]
    assert "request header --> this-is-key: this-is-value" in logged


def test_the_response_gets_two_headers(host: Host) -> None:
    """The example's own and the configured one, after those of the upstream."""
    stream = host.request(upstream=Response(headers={"x-upstream": "here"}))
    assert stream.headers.get_all("x-proxy-wasm-go-sdk-example") == ["http_headers"]
    assert stream.headers.get_all("x-wasm-header") == ["demo-wasm"]
    logged = [line for line in host.messages if line.startswith("response header <-- ")]
    assert (logged[0], logged[1]) == ("response header <-- :status: 200", "response header <-- x-upstream: here")
    assert logged[-1] == "response header <-- x-wasm-header: demo-wasm"


def test_the_log_tells_what_happens(host: Host) -> None:
    """The start at debug and info, then the added header, and at last that the stream's context is finished."""
    host.request()
    assert host.log[:2] == [
        (LogLevel.DEBUG, "loading plugin config"),
        (LogLevel.INFO, "header from config: x-wasm-header = demo-wasm"),
    ]
    assert "adding header: x-wasm-header=demo-wasm" in host.messages
    assert host.messages[-1] == "2 finished"


@pytest.mark.filter(configuration=None)
def test_no_configuration_adds_one_header(host: Host) -> None:
    """The plugin starts, and only the example's own header is added."""
    headers = host.request().headers
    assert headers["x-proxy-wasm-go-sdk-example"] == "http_headers"
    assert "x-wasm-header" not in headers
    assert not host.logged("header from config")
    assert "adding header: =" in host.messages


@pytest.mark.filter(configuration={"header": " x-other ", "value": "\tx value\n", "more": None})
def test_white_space_around_the_values_is_removed(host: Host) -> None:
    """Name and value are taken without it."""
    assert host.request().headers["x-other"] == "x value"


@pytest.mark.parametrize(
    "configuration", ["{", "[]", '{"header": "x", "value": " "}', '{"header": "x"}', '{"header": 1, "value": 2}']
)
def test_a_wrong_configuration_is_refused(new_host: Callable[..., Host], configuration: str) -> None:
    """One that is not JSON, or not of the expected form; the log says what is expected."""
    with pytest.raises(Refused, match=re.escape(f"[critical] {EXPECTED}")):
        new_host(configuration=configuration)
