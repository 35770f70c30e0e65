"""Properties with the values that a real proxy has, typed; and what is set is read back."""

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
    tcp_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import Response, request
from tests.e2e.scripting import INCLUDED, evaluate, run, script, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

METADATA = {
    "text": "a",
    "number": 1.5,
    "flag": True,
    "list": ["x", "y"],
    "map": {"k": "v"},
    "nested": {"deep": {"er": "z"}},
}

AT_A_TICK = script("""
    def on_plugin_start(self, plugin_configuration_size):
        hostcalls.set_tick_period_milliseconds(20)

    def on_tick(self):
        paused = shared.pop("paused", None)
        if paused:
            values = properties.xds.node("id").text(), properties.plugin.name, properties.request.path
            paused.send_http_response(200, body=repr((*values, properties.source.address)))

    def on_http_request_headers(self, *_):
        shared["paused"] = self
        return Action.PAUSE
""")


def metadata(place: str) -> dict[str, Any]:
    """envoy.config.core.v3.Metadata that says where it is from."""
    return {"filter_metadata": {"test.namespace": METADATA | {"place": place}}}


def http_filter(name: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    """A filter of Envoy's own."""
    typed = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{message}"} | config
    return {"name": name, "typed_config": typed}


def informing_filters() -> list[dict[str, Any]]:
    """Filters that set dynamic metadata and filter state."""
    state = {
        "object_key": "test.state",
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "from the filter"}},
    }
    values = {"metadata_namespace": "test.namespace", "value": METADATA}
    return [
        http_filter("metadata", "set_metadata.v3.Config", {"metadata": [values]}),
        http_filter("state", "set_filter_state.v3.Config", {"on_request_headers": [state]}),
    ]


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """Metadata wherever Envoy has them, each with its own place."""
    module = build_filter("scripted", include=INCLUDED).path
    route = route_to(UPSTREAM) | {"name": "the route", "metadata": metadata("route")}
    listener = http_listener([WasmPlugin(module, name="the plugin", root_id="http", vm_id="the vm")], [route])
    listener |= {"metadata": metadata("listener"), "traffic_direction": "INBOUND"}
    listener["filter_chains"][0]["name"] = "the chain"
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][:0] = informing_filters()
    manager["route_config"]["virtual_hosts"][0] |= {"name": "the host", "metadata": metadata("virtual host")}
    server = cluster(UPSTREAM, "127.0.0.1", upstream.port) | {"metadata": metadata("cluster")}
    server["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["metadata"] = metadata("upstream host")
    ticking = WasmPlugin(module, name="ticking", root_id="http", configuration=AT_A_TICK)
    tcp = WasmPlugin(module, root_id="tcp", configuration=TCP)
    listeners = [listener, http_listener([ticking], [route], name="ticking"), tcp_listener([tcp], UPSTREAM, name="tcp")]
    config = bootstrap(listeners, [server])
    config["node"] = {"id": "the node", "cluster": "the node's cluster", "metadata": METADATA}
    with EnvoyProcess(config) as process:
        yield process


TCP = script("""
    def on_upstream_data(self, data_size, end_of_stream):
        place = properties.xds.cluster_metadata("test.namespace", "place").text()
        log.info(f"tcp: {properties.upstream.address} {place}")
""")


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("pyfilter")


def listed(response: Response, name: str) -> Any:
    """What a script put into a response's header as `repr(…)`."""
    (text,) = response.header(name)
    return ast.literal_eval(text.decode())


IN_REQUEST = {
    "request.path": "/a/b?c=d",
    "request.url_path": "/a/b",
    "request.query": "c=d",
    "request.host": "test.local",
    "request.scheme": "http",
    "request.method": "POST",
    "request.referer": "http://referer/",
    "request.useragent": "a test",
    "request.id": "the-id",
    "request.protocol": "HTTP/1.1",
    "request.header('x-twice')": "1,2",
    "request.header('absent')": None,
    "response.code": None,
    "response.header('server')": None,
    "connection.mtls": False,
    "connection.requested_server_name": "",
    "connection.tls_version": None,
    "upstream.address": None,
    "xds.route_name": "the route",
    "xds.cluster_name": UPSTREAM,
    "xds.virtual_host_name": "the host",
    "xds.filter_chain_name": "the chain",
    "xds.listener_direction": 1,
    "xds.node('id').text()": "the node",
    "xds.node('cluster').text()": "the node's cluster",
    "xds.node('metadata', 'map', 'k').text()": "v",
    "plugin.name": "the plugin",
    "plugin.root_id": "http",
    "plugin.vm_id": "the vm",
    "filter_state('test.state').text()": "from the filter",
    "filter_state('absent').raw()": None,
    "metadata('test.namespace', 'absent').text()": None,
    "metadata('absent', 'text').text()": None,
}


def test_properties_of_a_request(port: int) -> None:
    """Each has its type and its value; what is not there, or not yet, is None."""
    headers = [("referer", "http://referer/"), ("user-agent", "a test"), ("x-request-id", "the-id")]
    headers += [("x-twice", "1"), ("x-twice", "2")]
    code = f"""
        def on_http_request_headers(self, *_):
            values = {{path: eval(f"properties.{{path}}") for path in {list(IN_REQUEST)}}}
            return self.send_http_response(200, body=repr(values))
    """
    answer = run(port, code, method="POST", path="/a/b?c=d", headers=headers)
    assert value(answer) == IN_REQUEST


def test_addresses(envoy: EnvoyProcess, port: int, upstream: EchoServer) -> None:
    """Both ends of the client's connection, and of the upstream's once there is one, are addresses and ports."""
    code = """
        def on_http_response_headers(self, *_):
            ends = properties.source, properties.destination, properties.upstream
            self.response.headers["x-ends"] = repr([(end.address, end.port) for end in ends])
            self.response.headers["x-local"] = properties.upstream.local_address
    """
    response = run(port, code)
    ends = listed(response, "x-ends")
    assert ends[1:] == [(f"127.0.0.1:{port}", port), (f"127.0.0.1:{upstream.port}", upstream.port)]
    assert ends[0][0] == f"127.0.0.1:{ends[0][1]}"
    assert response.header("x-local")[0].startswith(b"127.0.0.1:")


def test_properties_of_a_response(envoy: EnvoyProcess, port: int) -> None:
    """Sizes, times and what became of the request are known at the stream's end, and its headers once more."""
    code = """
        def on_http_stream_done(self):
            request, response = properties.request, properties.response
            values = {
                "body": request.size, "all": request.total_size > request.size, "path": request.path,
                "times": (request.time > 1.7e18, 0 < request.duration < 60e9, response.backend_latency > 0),
                "response": (response.code, response.code_details, response.flags, response.size > 100),
                "header": (response.header("server"), response.header("absent")),
                "attempts": properties.upstream.request_attempt_count,
                "connection": properties.connection.id > 0,
            }
            log.info(f"end: {values}")
    """
    run(port, code, method="POST", path="/end", body=b"body")
    line = envoy.wait_for_log("end: {", 10).message.partition("end: ")[2]
    assert ast.literal_eval(line) == {
        "body": 4,
        "all": True,
        "path": "/end",
        "times": (True, True, True),
        "response": (200, "via_upstream", 0, True),
        "header": ("envoy", None),
        "attempts": 1,
        "connection": True,
    }


PLACES = {
    "xds.route_metadata": "route",
    "xds.virtual_host_metadata": "virtual host",
    "xds.listener_metadata": "listener",
    "xds.cluster_metadata": "cluster",
    "xds.upstream_host_metadata": "upstream host",
    "metadata": None,
}


@pytest.mark.parametrize("name", PLACES)
def test_metadata(port: int, name: str) -> None:
    """Metadata of every place are text, numbers, booleans, lists and maps, and can be nested."""
    code = f"""
        def on_http_response_headers(self, *_):
            values = [
                properties.{name}("test.namespace", "place").text(),
                properties.{name}("test.namespace", "text").text(),
                properties.{name}("test.namespace", "text").raw(),
                properties.{name}("test.namespace", "number").number(),
                properties.{name}("test.namespace", "flag").boolean(),
                properties.{name}("test.namespace", "list").list(),
                properties.{name}("test.namespace", "map").map(),
                properties.{name}("test.namespace", "nested", "deep", "er").text(),
                properties.{name}("test.namespace", "absent").boolean(),
                failure(properties.{name}("test.namespace", "text").number),
            ]
            self.response.headers["x-values"] = repr(values)
    """
    assert listed(run(port, code), "x-values") == [
        *(PLACES[name], "a", b"a", 1.5, True, [b"x", b"y"], {"k": b"v"}, "z", None),
        "ValueError: the property has 1 bytes where its type has 8",
    ]


def test_moved_properties_are_found_under_both_names(port: int) -> None:
    """What Envoy has under `xds` since 1.33 is found under its old name too."""
    for path in (["xds", "node", "id"], ["node", "id"]):
        assert evaluate(port, f"hostcalls.get_property({path})") == b"the node"
    old = ["cluster_metadata", "filter_metadata", "test.namespace", "map"]
    assert evaluate(port, f"hostcalls.get_property_map({old})") == [("k", "v")]
    assert evaluate(port, "hostcalls.get_property(['unknown'])") is None


def test_property_that_is_set(envoy: EnvoyProcess, port: int) -> None:
    """A property of one name is read back in later callbacks of its stream; one with several parts is not."""
    code = """
        def on_http_request_headers(self, *_):
            hostcalls.set_property(["mine"], b"a value")
            hostcalls.set_property(["two", "parts"], "lost")

        def on_http_response_headers(self, *_):
            values = [hostcalls.get_property([name]) for name in ("mine", "two")]
            values.append(hostcalls.get_property(["two", "parts"]))
            values.append(properties.filter_state("wasm.mine").text())
            self.response.headers["x-values"] = repr(values)
    """
    assert listed(run(port, code), "x-values") == [b"a value", None, None, "a value"]
    assert evaluate(port, "hostcalls.get_property(['mine'])") is None


def test_properties_without_a_stream(envoy: EnvoyProcess) -> None:
    """At a tick the node and the plugin are known, and nothing of a stream."""
    answer = value(request(envoy.listener_port("ticking")))
    assert answer == ("the node", "ticking", None, None)


def test_properties_of_a_connection(envoy: EnvoyProcess, upstream: EchoServer) -> None:
    """A TCP filter knows its upstream and its cluster."""
    request(envoy.listener_port("tcp"))
    envoy.wait_for_log(f"tcp: 127.0.0.1:{upstream.port} cluster", 10)
