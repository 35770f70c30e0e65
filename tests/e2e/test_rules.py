"""Rules in a real proxy: settings by host, path, header and route, and requests that the filter leaves alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.bootstrap import UPSTREAM, WasmPlugin, bootstrap, cluster, http_listener, route_to
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import Response, request
from tests.e2e.scripting import INCLUDED, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

RULES = {
    "default": {"tag": "default"},
    "rules": [
        {"match": {"path": "/off/*"}, "enabled": False},
        {"match": {"route": "assets", "method": "GET"}, "tag": "assets"},
        {"match": {"host": "*.internal.example.com"}, "tag": "internal"},
        {"match": {"headers": {"x-tenant": "a"}}, "tag": "tenant"},
        {"match": {"path_regex": "/v[0-9]+/users"}, "tag": "users"},
    ],
}
AFTER = {
    "rules": [{"match": {"headers": {"x-tag": {"prefix": "a"}}}, "tag": "after assets"}],
    "default": {"enabled": False},
}
MOVING = script("""
    def on_http_request_headers(self, *_):
        self.request.headers[":path"] = self.request.headers["x-to"]
        foreign_functions.clear_route_cache()
""")
ACCESS_LOG = {
    "name": "envoy.access_loggers.stdout",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        "log_format": {"text_format_source": {"inline_string": "access: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\n"}},
    },
}


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """The plugin alone, with another one behind it, and behind a filter that sends requests elsewhere."""
    module = build_filter("ruled").path
    moving = WasmPlugin(build_filter("scripted", include=INCLUDED).path, root_id="http", configuration=MOVING)
    ruled, after = (WasmPlugin(module, configuration=json.dumps(rules).encode()) for rules in (RULES, AFTER))
    routes = [route_to(UPSTREAM, prefix="/assets") | {"name": "assets"}, route_to(UPSTREAM) | {"name": "web"}]
    listeners = [
        http_listener([ruled], routes, name="one", access_logs=[ACCESS_LOG]),
        http_listener([ruled, after], routes, name="two"),
        http_listener([moving, ruled], routes, name="moved"),
    ]
    with EnvoyProcess(bootstrap(listeners, [cluster(UPSTREAM, "127.0.0.1", upstream.port)])) as process:
        yield process


def tags(response: Response) -> tuple[str | None, str | None]:
    """What the upstream was told, and what the client."""
    assert response.status == 200
    sent = dict(json.loads(response.body)["headers"]).get("x-tag")
    return sent, next((value.decode() for value in response.header("x-tag")), None)


@pytest.mark.parametrize(
    ("options", "tag"),
    [
        ({}, "default"),
        ({"path": "/assets/a"}, "assets"),
        ({"path": "/assets/a", "method": "PUT"}, "default"),
        ({"headers": [("host", "A.internal.example.com:8080")]}, "internal"),
        ({"headers": [("host", "internal.example.com")]}, "default"),
        ({"headers": [("X-Tenant", "a")]}, "tenant"),
        ({"headers": [("x-tenant", "a"), ("x-tenant", "b")]}, "default"),
        ({"headers": [("x-tenant", "b"), ("x-tenant", "a")]}, "default"),
        ({"path": "//v1/%75sers?a=b"}, "users"),
    ],
)
def test_settings(envoy: EnvoyProcess, options: dict[str, Any], tag: str) -> None:
    """A request has the settings of the first rule that matches, and so has its response."""
    assert tags(request(envoy.listener_port("one"), **options)) == (tag, tag)


@pytest.mark.parametrize("path", ["/off", "/off/a?b", "//off/a", "/%6fff;v=1/a"])
def test_off(envoy: EnvoyProcess, path: str) -> None:
    """Where the filter is off, requests and responses pass it, bodies too."""
    mark = len(envoy.log_text)
    response = request(envoy.listener_port("one"), "POST", path, body=b"body")
    assert tags(response) == (None, None)
    assert tags(request(envoy.listener_port("one"))) == ("default", "default")
    envoy.wait_for_log("done: default", 10)
    assert "done: off" not in envoy.log_text[mark:]
    assert "uncaught exception" not in envoy.log_text


@pytest.mark.parametrize(
    "path", ["/off/../admin", "/x/..%2foff/a", "/x/%2e%2e/off", "/x/..;/off", "/off%00", "/%25252e"]
)
def test_unclear_paths(envoy: EnvoyProcess, path: str) -> None:
    """They are answered by the proxy, and the access log says why."""
    response = request(envoy.listener_port("one"), path=path)
    assert (response.status, response.header("x-tag")) == (400, [])
    envoy.wait_for_log("access: 400 pywasmfilter_unclear_request", 10)


@pytest.mark.parametrize(("path", "expected"), [("/assets/a", "after assets"), ("/", "default")])
def test_what_filters_before_have_changed_counts(envoy: EnvoyProcess, path: str, expected: str) -> None:
    """A rule sees the headers as they have come to its filter."""
    sent, _ = tags(request(envoy.listener_port("two"), path=path))
    assert sent == expected


@pytest.mark.parametrize(
    ("path", "to", "expected"), [("/", "/v1/users", "users"), ("/assets/a", "/v1/users", "assets")]
)
def test_what_filters_before_have_moved(envoy: EnvoyProcess, path: str, to: str, expected: str) -> None:
    """A rule sees the path as it is by now, but the route as the proxy has chosen it when the request came in."""
    assert tags(request(envoy.listener_port("moved"), path=path, headers=[("x-to", to)])) == (expected, expected)


def test_mistakes_are_refused(build_filter: FilterBuilder, upstream: EchoServer) -> None:
    """A rule that can match nothing keeps the proxy from taking the configuration, and its log says which."""
    rules = {"rules": [{"match": {"path": "/a"}}, {"match": {"path_regex": "("}}]}
    module, configuration = build_filter("ruled").path, json.dumps(rules).encode()
    with pytest.raises(ToolError) as caught, serve(module, plugin_configuration=configuration, upstream=upstream.url):
        pass
    assert "rules[1].match.path_regex: expected a regular expression or null, got" in str(caught.value)
