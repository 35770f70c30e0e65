"""What proxies do that is easy to get wrong, and that the SDK gets right: docs/proxies.md has the same for users."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pytest
from pywasmfilter_compiler.envoy.binary import envoy_path
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    FailurePolicy,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    route_to,
    tcp_listener,
    wasm_service,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import Response, exchange, request
from tests.e2e.scripting import INCLUDED, evaluate, eventually, failure, logged, run, script, script_header, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

LIFE = script("""
    def on_plugin_start(self, plugin_configuration_size):
        shared.setdefault("plugins", []).append(properties.plugin.name)
        log.info(f"life of {properties.plugin.name}: start as {self.context_id}, {shared['plugins']}")
        hostcalls.set_tick_period_milliseconds(20)

    def on_tick(self):
        hostcalls.set_tick_period_milliseconds(0)
        log.info(f"life of {properties.plugin.name}: tick")

    def on_plugin_done(self):
        log.info(f"life of {properties.plugin.name}: done")

    def on_delete(self):
        log.info(f"life of {properties.plugin.name}: delete")
""")

STREAM = script("""
    def on_http_request_headers(self, num_headers, end_of_stream):
        log.info("stream: request headers")

    def on_http_stream_done(self):
        log.info(f"stream: done {properties.response.code} {properties.response.code_details}")

    def on_delete(self):
        log.info("stream: delete")
""")

TICKING = script("""
    def on_plugin_start(self, plugin_configuration_size):
        hostcalls.set_tick_period_milliseconds(20)

    def on_tick(self):
        for function in shared.pop("at tick", []):
            function()
""")
"""A request's script puts functions into the list."""

CONNECTION = script("""
    def on_new_connection(self):
        log.info("connection: new")

    def on_downstream_data(self, data_size, end_of_stream):
        log.info(f"connection: downstream data {end_of_stream}")

    def on_upstream_data(self, data_size, end_of_stream):
        log.info(f"connection: upstream data {end_of_stream}")

    def on_downstream_close(self, peer_type):
        log.info(f"connection: downstream close {PeerType(peer_type).name}")

    def on_upstream_close(self, peer_type):
        log.info(f"connection: upstream close {PeerType(peer_type).name}")

    def on_stream_done(self):
        log.info("connection: done")

    def on_delete(self):
        log.info("connection: delete")
""")


@pytest.fixture(scope="module")
def module(build_filter: FilterBuilder) -> Path:
    """One module for all plugins."""
    return build_filter("scripted", include=INCLUDED).path


@pytest.fixture(scope="module")
def envoy(module: Path, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """Plugins that share one VM per thread, each behind a listener; at the end no VM may have failed."""
    routes = [direct_response(200, "other", prefix="/other"), route_to(UPSTREAM)]
    plugins = {"http": b"", "stream": STREAM, "ticking": TICKING}
    config = bootstrap(
        [
            *(http_listener([life(module, name)], routes, name=f"life {name}") for name in ("first", "second")),
            *(
                http_listener(
                    [WasmPlugin(module, root_id="http", configuration=code)], routes, name=name, trailers=True
                )
                for name, code in plugins.items()
            ),
            tcp_listener([WasmPlugin(module, root_id="tcp", configuration=CONNECTION)], UPSTREAM, name="tcp"),
        ],
        [cluster(UPSTREAM, "127.0.0.1", upstream.port)],
        [wasm_service(life(module, "service", vm_id="service"))],
    )
    with EnvoyProcess(config, component_log_level="wasm:debug") as process:
        yield process
        assert request(process.listener_port("http")).status == 200
        assert "Uncaught" not in process.log_text


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    """The listener whose plugin does what requests bring."""
    return envoy.listener_port("http")


def life(module: Path, name: str, *, vm_id: str = "") -> WasmPlugin:
    return WasmPlugin(module, name=name, root_id="http", vm_id=vm_id, configuration=LIFE)


# Virtual machines and their start


def test_plugins_are_created_before_the_vm_starts(envoy: EnvoyProcess) -> None:
    """A plugin's constructor runs before on_vm_start, in every VM."""
    envoy.wait_for_log("VM.on_vm_start", 10, count=VMS)
    lines = [line.message for line in envoy.wasm_log() if line.message in {"Scripted.__init__", "VM.on_vm_start"}]
    assert lines[:2] == ["Scripted.__init__", "VM.on_vm_start"]
    assert lines.count("VM.on_vm_start") == VMS


VMS = 6 + len(("main thread", "worker")) + len(("trial of the service", "service"))
"""Six plugins of streams are tried out, each in a VM of its own, and then share one per thread."""


def test_start_happens_at_least_three_times(envoy: EnvoyProcess) -> None:
    """A plugin starts in a VM that only tries it out, on the main thread, and in each worker."""
    envoy.wait_for_log("life of first: start", 10, count=3)
    assert len([line for line in logged(envoy, "life of first: ") if line.startswith("start")]) == 3


def test_equal_plugins_share_a_vm(envoy: EnvoyProcess) -> None:
    """The second plugin of a VM has another id, and sees what the first one left in the module."""
    envoy.wait_for_log("life of second: start", 10, count=3)
    starts = sorted(line for line in logged(envoy, "life of second: ") if line.startswith("start"))
    assert starts == ["start as 1, ['second']", *["start as 2, ['first', 'second']"] * 2]


def test_ticks_come_on_the_main_thread_too(envoy: EnvoyProcess) -> None:
    """A plugin of streams ticks on the main thread and in the worker; the trial VM is gone before."""
    envoy.wait_for_log("life of first: tick", 10, count=2)
    assert logged(envoy, "life of first: ").count("tick") == 2


def test_service_lives_on_the_main_thread(envoy: EnvoyProcess) -> None:
    """A singleton service is tried out, and then starts and ticks once, whatever the number of workers."""
    envoy.wait_for_log("life of service: tick", 10)
    assert len([line for line in logged(envoy, "life of service: ") if line.startswith("start")]) == 2


def test_trial_vm_is_not_told_that_it_ends(module: Path) -> None:
    """At the proxy's end each plugin hears it, once in each VM but the one for trial; then it is deleted."""
    config = bootstrap([http_listener([life(module, "ending")], [direct_response(200, "direct")])])
    with EnvoyProcess(config) as envoy:
        envoy.wait_for_log("life of ending: start", 10, count=3)
    assert [line for line in logged(envoy, "life of ending: ") if line in {"done", "delete"}] == ["done", "delete"] * 2


def test_start_that_is_refused_is_no_runtime_failure(module: Path) -> None:
    """A plugin that refuses to start stops the proxy from starting, also where a failing filter may be skipped."""
    code = script("def on_plugin_start(self, size):\n    return False")
    plugin = WasmPlugin(module, root_id="http", configuration=code, failure_policy="FAIL_OPEN")
    config = bootstrap([http_listener([plugin], [direct_response(200, "direct")])])
    with pytest.raises(ToolError, match="Unable to create Wasm plugin"), EnvoyProcess(config):
        pass


UPDATED = script("""
    def on_plugin_start(self, plugin_configuration_size):
        log.info(f"updated {properties.plugin.name}: {shared}")
        shared["before"] = properties.plugin.name
        hostcalls.set_tick_period_milliseconds(20)

    def on_plugin_done(self):
        shared["done"] = True
        return False

    def on_tick(self):
        if "done" in shared:
            hostcalls.done()
            log.info(f"{shared['before']} deleted the one before")
""")


def test_update_of_the_configuration(module: Path, tmp_path: Path) -> None:
    """A new configuration gets a plugin of its own, in the VM of the old one while module, vm_id and VM configuration
    stay; the old one ends when its listener has drained, and may delay that.
    """
    envoy_script = tmp_path / "envoy"
    envoy_script.write_text(f'#!/bin/sh\nexec {envoy_path()} --drain-time-s 1 --drain-strategy immediate "$@"\n')
    envoy_script.chmod(0o755)
    listeners = tmp_path / "listeners.json"
    config = bootstrap([])
    config["node"] = {"id": "test", "cluster": "test"}
    config["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": str(listeners)}}}
    write_listeners(listeners, module, "old")
    with EnvoyProcess(config, executable=envoy_script) as envoy:
        write_listeners(listeners, module, "new")
        envoy.wait_for_log("new deleted the one before", 30, count=2)
    assert logged(envoy, "updated old: ") == ["{}"] * 3
    assert sorted(logged(envoy, "updated new: ")) == ["{'before': 'old'}"] * 2 + ["{}"]


def write_listeners(file: Path, module: Path, name: str) -> None:
    """Let the file, which Envoy watches, have one listener with one plugin."""
    plugin = WasmPlugin(module, name=name, root_id="http", configuration=UPDATED)
    listener = http_listener([plugin], [direct_response(200, "direct")])
    listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"resources": [listener]}))
    new.rename(file)


# The order of callbacks


def test_order_of_http_callbacks(envoy: EnvoyProcess, port: int) -> None:
    """Headers, body and their end come in order, and on_delete is the last; a message without body has none."""
    code = """
        def on_http_request_headers(self, *arguments): log.info(f"order: request headers {arguments[1]}")
        def on_http_request_body(self, *arguments): log.info("order: request body")
        def on_http_response_headers(self, *arguments): log.info(f"order: response headers {arguments[1]}")
        def on_http_response_body(self, *arguments): log.info("order: response body")
        def on_http_stream_done(self):
            log.info(f"order: done {self.request.path} {self.response.status} {self.context_id in contexts}")
        def on_delete(self): log.info("order: delete")
    """
    for body in (b"", b"body"):
        run(port, code, method="POST", path="/order", body=body)
    envoy.wait_for_log("order: delete", 10, count=2)
    end = ["response headers False", "response body", "done /order 200 True", "delete"]
    lines = logged(envoy, "order: ")
    assert [line for line, before in zip(lines, ["", *lines], strict=False) if line != before] == [
        *("request headers True", *end),
        *("request headers False", "request body", *end),
    ]


@pytest.mark.parametrize(
    ("message", "end"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "done 400 missing_host_header"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nbad\0: x\r\n\r\n", "done 400 http1.invalid_characters"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx-large: %s\r\n\r\n" % (b"x" * 70_000), "done 431 http1.headers_too_large"),
    ],
)
def test_request_that_the_proxy_answers_has_only_an_end(envoy: EnvoyProcess, message: bytes, end: str) -> None:
    """What the proxy refuses before any filter saw it is logged and deleted, and nothing else."""
    assert exchange(envoy.listener_port("stream"), message).status in {400, 431}
    envoy.wait_for_log(f"stream: {end}", 10)
    assert request(envoy.listener_port("stream")).status == 200
    assert eventually(lambda: around(logged(envoy, "stream: "), end), (True, "delete")) == (True, "delete")


def around(lines: list[str], end: str) -> tuple[bool, str]:
    """Whether a stream's end is the first of its lines, and what comes after it."""
    index = lines.index(end)
    return index == 0 or lines[index - 1] == "delete", "".join(lines[index + 1 : index + 2])


def test_order_of_tcp_callbacks(envoy: EnvoyProcess) -> None:
    """A connection is new, has data both ways and is closed; done, log and delete come as one end, in that order."""
    request(envoy.listener_port("tcp"), headers=[("connection", "close")])
    envoy.wait_for_log("connection: delete", 10)
    lines = logged(envoy, "connection: ")
    assert lines[:2] == ["new", "downstream data False"]
    assert lines[2].startswith("upstream data")
    assert lines[-3:] == ["downstream close REMOTE", "done", "delete"]
    assert "upstream close UNKNOWN" in lines


def test_what_headers_say_cannot_be_asked_for_later(port: int) -> None:
    """The request's headers are not there when the response comes, and an error says so; an attribute is."""
    code = """
        def on_http_request_headers(self, *_):
            self.path = self.request.path

        def on_http_response_headers(self, *_):
            self.response.headers["x-path"] = self.path
            self.response.headers["x-result"] = failure(self.request.headers.items)
            self.response.headers["x-property"] = repr(properties.request.path)
    """
    response = run(port, code, path="/kept")
    assert response.header("x-path") == [b"/kept"]
    assert response.header("x-property") == [b"None"]
    (result,) = response.header("x-result")
    assert result.startswith(b"BadArgument: proxy_get_header_map_value: BAD_ARGUMENT (2); headers and trailers can be")


# Pausing


@dataclass
class Halves:
    """A request whose body comes in two parts, the second one when the test wants."""

    port: int
    code: str

    def __enter__(self) -> Self:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        name, code = (text.decode() if isinstance(text, bytes) else text for text in script_header(self.code))
        head = f"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8\r\n{name}: {code}\r\n\r\n"
        self.connection.sendall(head.encode() + b"one-")
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def finish(self) -> bytes:
        """The answer, as it comes."""
        self.connection.sendall(b"two.")
        return b"".join(iter(lambda: self.connection.recv(65536), b""))


def test_pause_from_headers_holds_the_body_back(envoy: EnvoyProcess) -> None:
    """No body comes until the request is resumed; then it comes with all that was read meanwhile."""
    code = """
        def on_http_request_headers(self, *_):
            log.info("held: headers")
            shared.setdefault("at tick", []).append(self.go_on)
            return Action.PAUSE
        def on_http_request_body(self, body_size, end_of_stream):
            log.info(f"held: {body_size} {end_of_stream}")
    """
    code = code.replace("self.go_on", "lambda: (log.info('held: resumed'), self.resume_http_request())")
    with Halves(envoy.listener_port("ticking"), code) as halves:
        envoy.wait_for_log("held: headers", 10)
        assert b'"body": "one-two."' in halves.finish()
    envoy.wait_for_log(re.compile("held: . True"), 10)
    assert logged(envoy, "held: ")[:2] == ["headers", "resumed"]


def test_pause_from_a_body_keeps_it(envoy: EnvoyProcess, port: int) -> None:
    """Each callback sees all that was held back, from its first byte on, and what is replaced then is all of it."""
    code = """
        def on_http_request_headers(self, *_):
            self.request.headers.remove("content-length")

        def on_http_request_body(self, body_size, end_of_stream):
            log.info(f"kept: {body_size} {len(self.request.buffer)} {self.request.buffer.read()} {end_of_stream}")
            if not end_of_stream:
                return Action.PAUSE
            self.request.buffer.replace(b"three")
    """
    with Halves(port, code) as halves:
        envoy.wait_for_log("kept: 4 4 b'one-' False", 10)
        assert b'"body": "three"' in halves.finish()
    envoy.wait_for_log("kept: 8 8 b'one-two.' True", 10)
    assert set(logged(envoy, "kept: ")[1:]) <= {"8 8 b'one-two.' False", "8 8 b'one-two.' True"}


def test_body_that_was_let_through_is_gone(envoy: EnvoyProcess, port: int) -> None:
    """Without PAUSE each callback sees the bytes that came since the last one."""
    code = """
        def on_http_request_body(self, body_size, end_of_stream):
            log.info(f"let through: {self.request.buffer.read()}")
    """
    with Halves(port, code) as halves:
        envoy.wait_for_log("let through: b'one-'", 10)
        assert b'"body": "one-two."' in halves.finish()
    envoy.wait_for_log("let through: b'two.'", 10)


def test_too_large_a_body_is_answered_by_the_proxy(envoy: EnvoyProcess, port: int) -> None:
    """A body beyond the connection's buffer limit cannot be held back: the client gets 413, and the filter its end."""
    code = """
        def on_http_request_body(self, body_size, end_of_stream):
            return Action.PAUSE
        def on_http_stream_done(self):
            log.info(f"too large: {properties.response.code} {properties.response.code_details} {self.answered}")
    """
    # The rest of the body is of no interest to the proxy, which closes the connection: it may never be read.
    response = run(port, code, method="POST", headers=[("content-length", "3000000")], body=b"x" * 2_000_000)
    assert response.status == 413
    envoy.wait_for_log("too large: 413 request_payload_too_large False", 10)


def test_content_length_must_go_before_the_body_changes(port: int) -> None:
    """With the header removed in time a changed body arrives whole; with it the receiver goes by the old length."""
    change = """
        def on_http_response_body(self, body_size, end_of_stream):
            if end_of_stream:
                self.response.buffer.append(b"!")
    """
    remove = """
        def on_http_response_headers(self, num_headers, end_of_stream):
            self.response.headers.remove("content-length")
    """
    assert run(port, change).body.endswith(b"}")
    changed = run(port, change + remove)
    assert changed.body.endswith(b"}!")
    assert changed.header("content-length") == []


def test_trailers_are_made_at_the_end_of_a_body(envoy: EnvoyProcess, port: int) -> None:
    """The last callback of a body can add trailers to a message that had none, which are there at the stream's end."""
    code = """
        def on_http_response_headers(self, *_):
            self.response.headers.remove("content-length")

        def on_http_response_body(self, body_size, end_of_stream):
            if end_of_stream:
                self.response.trailers.add("x-end", "1")

        def on_http_stream_done(self):
            log.info(f"trailers: {self.response.trailers.items()}")
    """
    assert run(port, code).trailers == [(b"x-end", b"1")]
    envoy.wait_for_log("trailers: [('x-end', '1')]", 10)


def test_headers_are_gone_once_the_request_is_resumed(envoy: EnvoyProcess) -> None:
    """While the request is paused its headers can be changed, also from a tick, but not after it was resumed."""
    code = """
        def on_http_request_headers(self, *_):
            shared.setdefault("at tick", []).append(lambda: at_tick(self))
            return Action.PAUSE

        def at_tick(self):
            with hostcalls.effective_context(self.context_id):
                self.request.headers["x-tick"] = "before"
                hostcalls.resume_http_request()
                log.info(f"resumed: {failure(self.request.headers.add, 'x-tick', 'after')}")
    """
    response = run(envoy.listener_port("ticking"), code)
    assert ["x-tick", "before"] in upstream_saw(response)["headers"]
    envoy.wait_for_log("resumed: BadArgument: proxy_add_header_map_value: BAD_ARGUMENT (2)", 10)


def test_changed_headers_choose_the_route_anew(port: int) -> None:
    """A request whose path a filter changes goes where the new path leads."""
    code = """
        def on_http_request_headers(self, *_):
            self.request.headers[":path"] = "/other"
    """
    assert run(port, code).body == b"other"


# Answers of the filter itself


def test_answer_passes_the_response_callbacks(port: int) -> None:
    """The filter's own answer comes by as any response does, with `answered` set; the upstream's without."""
    code = """
        def on_http_request_headers(self, *_):
            if self.request.path == "/answer":
                return self.send_http_response(418, body=b"mine")

        def on_http_response_headers(self, *_):
            self.response.headers["x-answered"] = str(self.answered)
            self.response.headers.remove("content-length")

        def on_http_response_body(self, body_size, end_of_stream):
            self.response.buffer.append(b"!")
    """
    answer = run(port, code, path="/answer")
    assert (answer.status, answer.body, answer.header("x-answered")) == (418, b"mine!", [b"True"])
    assert run(port, code).header("x-answered") == [b"False"]


def test_answer_from_response_headers_replaces_the_response(envoy: EnvoyProcess, port: int) -> None:
    """The filter can answer in place of a response that has not begun; that answer passes no callbacks."""
    code = """
        def on_http_response_headers(self, *_):
            log.info("in place: headers")
            return self.send_http_response(418, [("x-mine", "1")], b"mine")
        def on_http_response_body(self, *_):
            log.info("in place: body")
        def on_http_stream_done(self):
            log.info("in place: done")
    """
    response = run(port, code)
    assert (response.status, response.body, response.header("x-mine")) == (418, b"mine", [b"1"])
    envoy.wait_for_log("in place: done", 10)
    assert logged(envoy, "in place: ") == ["headers", "done"]


def test_answer_wins_over_the_action(envoy: EnvoyProcess, port: int) -> None:
    """Once the filter has answered, CONTINUE does not send the request on."""
    code = """
        def on_http_request_headers(self, *_):
            self.send_http_response(418)
            return Action.CONTINUE
        def on_http_stream_done(self):
            log.info(f"wins: {properties.response.code} {properties.upstream.address}")
    """
    assert run(port, code).status == 418
    envoy.wait_for_log("wins: 418 None", 10)


@pytest.mark.parametrize(
    ("argument", "expected"), [("", []), (", grpc_status=0", [b"0"]), (", grpc_status=16", [b"16"])]
)
def test_grpc_status_of_an_answer(port: int, argument: str, expected: list[bytes]) -> None:
    """A gRPC client finds the status that the filter gives, 0 too; another client finds none unless it is given."""
    code = f"""
        def on_http_request_headers(self, *_):
            return self.send_http_response(200, body=b"why"{argument})
    """
    grpc = run(port, code, headers=[("content-type", "application/grpc"), ("te", "trailers")])
    assert (grpc.status, grpc.header("grpc-status")) == (200, expected or [b"2"])
    assert grpc.header("grpc-message") == [b"why"]


def test_details_of_an_answer_are_for_the_log(envoy: EnvoyProcess, port: int) -> None:
    """`details` is what the proxy calls the response's code details, with underscores for spaces."""
    code = """
        def on_http_request_headers(self, *_):
            return self.send_http_response(403, details="not on the list")
        def on_http_stream_done(self):
            log.info(f"details: {properties.response.code_details}")
    """
    assert run(port, code).status == 403
    envoy.wait_for_log("details: not_on_the_list", 10)


# Contexts


def test_effective_context_is_restored(envoy: EnvoyProcess) -> None:
    """A plugin acts on a stream inside the block, also if it fails there, and on itself after it."""
    code = """
        def on_http_request_headers(self, *_):
            shared.setdefault("at tick", []).append(lambda: at_tick(self))
            return Action.PAUSE

        def at_tick(self):
            plugin = hostcalls._abi.host.get_effective_context()
            try:
                with hostcalls.effective_context(self.context_id):
                    assert self.request.path == "/paused"
                    with hostcalls.effective_context(plugin):
                        assert properties.request.path is None
                    assert self.request.path == "/paused"
                    raise KeyError("inside")
            except KeyError:
                pass
            values = hostcalls._abi.host.get_effective_context() == plugin == self.plugin.context_id
            self.send_http_response(200, body=repr((values, properties.request.path)))
    """
    assert value(run(envoy.listener_port("ticking"), code, path="/paused")) == (True, None)


def test_context_that_is_gone(envoy: EnvoyProcess) -> None:
    """Acting on a stream that has ended raises BadArgument, and what the plugin does next still works."""
    code = """
        def on_http_request_headers(self, *_):
            shared["old"] = self
            return self.send_http_response(200)

        def on_delete(self):
            log.info("gone: deleted")
    """
    asking = """
        def on_http_request_headers(self, *_):
            shared.setdefault("at tick", []).append(lambda: at_tick(self))
            return Action.PAUSE

        def at_tick(self):
            old = shared.pop("old")
            failures = [failure(method) for method in (old.resume_http_request, old.close_http_request)]
            self.send_http_response(200, body=repr(failures))
    """
    port = envoy.listener_port("ticking")
    run(port, code)
    envoy.wait_for_log("gone: deleted", 10)
    message = "BadArgument: proxy_set_effective_context: BAD_ARGUMENT (2); there is no context with this id any more"
    assert value(run(port, asking)) == [message] * 2


def test_plugin_does_not_keep_its_streams(port: int) -> None:
    """A stream's context is forgotten when it ends."""
    count = "sum(type(context).__name__ == 'Http' for context in contexts.values())"
    code = "def on_http_request_headers(self, *_):\n    return self.send_http_response(200)"
    for _ in range(20):
        run(port, code)
    assert evaluate(port, count) <= 3  # this stream, and what the proxy has not deleted yet


# Calls at the wrong time

_MISUSE = "MisuseError: proxy_{}_stream of a stream of type {} in a callback of {}, which has none; use the stream's"
_NO_CONFIGURATION = "NotFound: proxy_get_buffer_bytes: NOT_FOUND (1); a plugin's configuration can be read in"
_NOT_TO_BE_READ = "BadArgument: proxy_get_header_map_value: BAD_ARGUMENT (2); headers and trailers can be read in"
_NOT_TO_BE_CHANGED = "BadArgument: proxy_add_header_map_value: BAD_ARGUMENT (2); headers and trailers can be changed in"
_NO_BODY = "BadArgument: proxy_set_buffer_bytes: BAD_ARGUMENT (2); a body can be changed in its own callback"

WRONG_AT_A_TICK = {
    "hostcalls.resume_http_request()": _MISUSE.format("continue", "HTTP_REQUEST", "ForHttp"),
    "hostcalls.close_downstream()": _MISUSE.format("close", "DOWNSTREAM", "ForHttp"),
    "hostcalls.send_http_response(200)": "MisuseError: proxy_send_local_response of a stream of type HTTP_REQUEST",
    "hostcalls.get_http_request_headers()": _NOT_TO_BE_READ,
    "hostcalls.replace_http_request_body(b'')": _NO_BODY,
    "hostcalls.set_property(['a'], 'b')": "NotFound: proxy_set_property: NOT_FOUND (1); properties can be set in",
    "hostcalls.get_plugin_configuration()": _NO_CONFIGURATION,
    "hostcalls.get_http_call_response_body()": "NotFound: proxy_get_buffer_bytes: NOT_FOUND (1)",
    "hostcalls.set_effective_context(4711)": "BadArgument: proxy_set_effective_context: BAD_ARGUMENT (2); there is no",
    "hostcalls.done()": "NotFound: proxy_done: NOT_FOUND (1); it ends a plugin whose on_plugin_done returned False",
}


def test_wrong_calls_at_a_tick(envoy: EnvoyProcess) -> None:
    """What needs a stream, or another callback, raises at a tick and says where it works."""
    code = f"""
        def on_http_request_headers(self, *_):
            shared.setdefault("at tick", []).append(lambda: at_tick(self))
            return Action.PAUSE

        def at_tick(self):
            failures = {{expression: failure(lambda: eval(expression)) for expression in {list(WRONG_AT_A_TICK)}}}
            self.send_http_response(200, body=repr(failures))
    """
    failures: dict[str, str] = value(run(envoy.listener_port("ticking"), code))
    assert {name: failures[name][: len(message)] for name, message in WRONG_AT_A_TICK.items()} == WRONG_AT_A_TICK


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("hostcalls.get_plugin_configuration()", _NO_CONFIGURATION),
        ("self.response.headers.add('x-early', '1')", _NOT_TO_BE_CHANGED),
        ("self.request.trailers.add('x-early', '1')", _NOT_TO_BE_CHANGED),
        ("self.response.headers.get('x-early')", _NOT_TO_BE_READ),
        ("self.request.buffer.append(b'early')", _NO_BODY),
        ("hostcalls.resume_downstream()", _MISUSE.format("continue", "DOWNSTREAM", "Http")),
        ("hostcalls.get_property(['request'])", "SerializationFailure: proxy_get_property"),
    ],
)
def test_wrong_calls_in_request_headers(port: int, expression: str, message: str) -> None:
    """What is not there yet, or belongs to another kind of stream, raises and says where it works."""
    assert failure(port, expression).startswith(message)


def test_body_is_empty_where_there_is_none(port: int) -> None:
    """Reading a body outside of its callbacks gives nothing, its length is 0, and no call has response headers."""
    assert evaluate(port, "hostcalls.get_http_call_response_headers()") == []
    assert evaluate(port, "[(b.read(), len(b)) for b in (self.request.buffer, self.response.buffer)]") == [(b"", 0)] * 2


# Limits


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("[('x', '')] * 1025", "ValueError: 1025 header pairs, a proxy takes 1024 at most"),
        (
            "[('x', 'y' * (2**20 - 14))]",
            f"ValueError: header pairs of {2**20 + 1} bytes, a proxy takes {2**20} at most",
        ),
        ("[('x', 'a\\nb')]", "ValueError: a header must not contain a line break or NUL: 'a\\nb'"),
    ],
)
@pytest.mark.parametrize("call", ["self.request.headers.replace_all({})", "self.send_http_response(200, {})"])
def test_headers_that_a_proxy_would_drop_are_refused(port: int, call: str, pairs: str, message: str) -> None:
    """Too many pairs, or too large ones, which would clear the map without an error, raise and change nothing."""
    code = f"""
        def on_http_request_headers(self, *_):
            before = self.request.headers.items()
            result = failure(lambda: {call.format(pairs)})
            self.send_http_response(200, body=repr((result, self.request.headers.items() == before)))
    """
    assert value(run(port, code)) == (message, True)


def test_as_many_headers_as_a_proxy_takes(port: int) -> None:
    """1024 pairs in 1 MiB pass."""
    code = """
        def on_http_request_headers(self, *_):
            pairs = self.request.headers.items()
            fill = [("x-fill", "")] * (1024 - len(pairs) - 1)
            used = sum(10 + len(key) + len(value) for key, value in [*pairs, *fill]) + 4 + 10
            self.request.headers.replace_all([*pairs, *fill, ("x-large", "y" * (2**20 - used - 7))])
            size = len(self.request.headers), len(self.request.headers["x-large"]) > 1_000_000
            return self.send_http_response(200, body=repr(size))
    """
    assert value(run(port, code)) == (1024, True)


# Failures


def test_exceptions_are_no_traps(port: int) -> None:
    """Whatever Python does wrong is an exception: the client gets a 500, and the VM answers the next request."""
    for statement in ("1 / 0", "raise SystemExit", "raise KeyboardInterrupt", "[0] * 2**31", "exec('(' * 9999)"):
        code = f"def on_http_request_headers(self, *_):\n    {statement}"
        assert run(port, code).status == 500
        assert evaluate(port, "1 + 1") == 2


CRASH = """
    def on_http_request_headers(self, *_):
        import dis
        name = lambda text: dis.opmap[text]
        far = name("EXTENDED_ARG"), 48, name("EXTENDED_ARG"), 0, name("EXTENDED_ARG"), 0, name("LOAD_CONST"), 0
        exec((lambda: 0).__code__.replace(co_code=bytes([name("RESUME"), 0, *far, name("RETURN_VALUE"), 0])))
"""
"""Bytecode that no compiler makes: the only way for Python code to break its VM."""


POLICIES: dict[FailurePolicy, int] = {"FAIL_CLOSED": 503, "FAIL_OPEN": 200, "FAIL_RELOAD": 200}


@pytest.fixture(scope="module")
def breaking(module: Path, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """A listener for each failure policy, with a VM of its own."""
    listeners = [
        http_listener(
            [WasmPlugin(module, root_id="http", vm_id=policy, failure_policy=policy)], [route_to(UPSTREAM)], name=policy
        )
        for policy in POLICIES
    ]
    with EnvoyProcess(bootstrap(listeners, [cluster(UPSTREAM, "127.0.0.1", upstream.port)])) as process:
        yield process


@pytest.mark.parametrize(("policy", "later"), POLICIES.items())
def test_failure_policies(breaking: EnvoyProcess, policy: FailurePolicy, later: int) -> None:
    """When a VM breaks its stream gets 503; later ones too, or they pass, or a new VM comes; shared data stay."""
    port = breaking.listener_port(policy)
    failed = "Function: proxy_on_request_headers failed: Uncaught RuntimeError"
    before = breaking.log_text.count(failed)
    evaluate(port, "hostcalls.set_shared_data('kept', 'value')")
    assert evaluate(port, "shared.setdefault('lost', 1)") == 1
    assert run(port, CRASH).status == 503
    assert eventually(lambda: request(port).status, later) == later
    if policy == "FAIL_RELOAD":
        assert evaluate(port, "(hostcalls.get_shared_data('kept')[0], shared)") == (b"value", {})
    breaking.wait_for_log(failed, 10, count=before + 1)


def upstream_saw(response: Response) -> Any:
    """The request as the upstream received it."""
    assert response.status == 200, response
    return json.loads(response.body)
