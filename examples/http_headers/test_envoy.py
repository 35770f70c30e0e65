"""The example logs all headers and adds some, in a real Envoy."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.errors import ToolError

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

EXPECTED = 'invalid configuration format; expected {"header": "<header name>", "value": "<header value>"}'


def test_headers_are_added_and_logged(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The request gets `test`, the response the example's header and the configured one; all are logged, in order."""
    answer = fetch(envoy, "/uuid", headers={"this-is-key": "this-is-value", "test": "worst"})
    assert (answer.status, answer.body) == (200, b"example body\n")
    assert answer.headers.get_all("x-proxy-wasm-go-sdk-example") == ["http_headers"]
    assert answer.headers.get_all("x-wasm-header") == ["demo-wasm"]

    envoy.wait_for_log(re.compile(r"wasm log: \d+ finished$"), 10)
    lines = [line.message for line in envoy.wasm_log() if line.level == "info"]
    order = [
        "header from config: x-wasm-header = demo-wasm",
        "request header --> :path: /uuid",
        "request header --> this-is-key: this-is-value",
        "request header --> test: best",
        "adding header: x-wasm-header=demo-wasm",
        "response header <-- :status: 200",
        "response header <-- server: envoy",
        "response header <-- x-proxy-wasm-go-sdk-example: http_headers",
        "response header <-- x-wasm-header: demo-wasm",
    ]
    assert list(dict.fromkeys(line for line in lines if line in order)) == order
    assert "worst" not in envoy.log_text
    assert re.fullmatch(r"\d+ finished", lines[-1])


def test_no_configuration_adds_one_header(serve_example: ServeExample, fetch: Fetch) -> None:
    """Without a configuration only the example's own header is added; its loading is logged at debug."""
    envoy = serve_example(plugin_configuration=b"", component_log_level="wasm:debug")
    answer = fetch(envoy)
    assert answer.headers.get_all("x-proxy-wasm-go-sdk-example") == ["http_headers"]
    assert "x-wasm-header" not in answer.headers

    assert envoy.wait_for_log("loading plugin config", 10).level == "debug"
    envoy.wait_for_log("adding header: =", 10)
    assert "header from config" not in envoy.log_text


def test_white_space_around_the_values_is_removed(serve_example: ServeExample, fetch: Fetch) -> None:
    """Name and value are taken without the white space around them."""
    configuration = json.dumps({"header": " x-other ", "value": "\tx value\n", "more": None})
    envoy = serve_example(plugin_configuration=configuration.encode())
    assert fetch(envoy).headers.get_all("x-other") == ["x value"]
    envoy.wait_for_log("header from config: x-other = x value", 10)


@pytest.mark.parametrize("configuration", ["{", "[]", '{"header": "x", "value": " "}', '{"header": 1, "value": 2}'])
def test_wrong_configuration_is_refused(serve_example: ServeExample, configuration: str) -> None:
    """A configuration that is not JSON, or not of the expected form, is refused, and the log says what is expected."""
    with pytest.raises(ToolError, match=re.escape(EXPECTED)):
        serve_example(plugin_configuration=configuration.encode())
