"""What becomes of an exception that leaves a filter's callback: its traceback is logged, and the proxy lives on."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
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
    wasm_access_log,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.http1 import MessageError
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import Response, request
from tests.testing.test_errors import FAILING_POLICIES, PLACES, POLICIES, WAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

RUNNING = ("deny", "continue", "init", "init-continue", "new", "new-wrong", "new-none", "tick", "done", "turns")


@dataclass(frozen=True)
class Plugins:
    """One Envoy with a listener for each plugin of the module."""

    envoy: EnvoyProcess
    ports: dict[str, int]

    def ask(self, plugin: str, path: str = "/", *, chunked: bool = False) -> Response:
        """A request with a body, in one piece or chunked with a trailer."""
        if chunked:
            headers = [("transfer-encoding", "chunked"), ("trailer", "x-end")]
            return request(self.ports[plugin], "POST", path, headers, b"4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n")
        return request(self.ports[plugin], "POST", path, body=b"body")

    def tracebacks(self, plugin: str, path: str) -> list[str]:
        """What a request logs at level error; there is one worker, so it stands between two marks."""
        begin = self.mark()
        self.ask(plugin, path, chunked=True)
        end = self.mark()
        lines = [line.message for line in self.envoy.wasm_log() if line.level == "error" or "mark" in line.message]
        return [line for line in lines[lines.index(begin) + 1 : lines.index(end)] if "on_tick" not in line]

    def traceback(self, plugin: str, path: str) -> str:
        """The one traceback that a request logs."""
        (traceback,) = self.tracebacks(plugin, path)
        return traceback

    def mark(self) -> str:
        """A new line in the log."""
        mark = f"mark {next(_marks)}."
        self.ask("deny", "/" + mark.replace(" ", "/"))
        self.envoy.wait_for_log(mark, 5)
        return mark


_marks = count(1)


def listener(plugin: WasmPlugin) -> dict[str, Any]:
    """A listener of the plugin's name that lets request trailers pass."""
    config = http_listener([plugin], [route_to(UPSTREAM)], name=plugin.root_id)
    config["filter_chains"][0]["filters"][0]["typed_config"]["http_protocol_options"] = {"enable_trailers": True}
    return config


@pytest.fixture(scope="module")
def plugins(build_filter: FilterBuilder) -> Iterator[Plugins]:
    """All plugins that start; at the end all of them must still answer."""
    module = build_filter("raises").path
    with ExitStack() as stack:
        echo = stack.enter_context(EchoServer())
        listeners = [listener(WasmPlugin(module, root_id=name)) for name in RUNNING]
        envoy = stack.enter_context(EnvoyProcess(bootstrap(listeners, [cluster(UPSTREAM, "127.0.0.1", echo.port)])))
        running = Plugins(envoy, {name: envoy.listener_port(name) for name in RUNNING})
        yield running
        assert running.ask("deny", "/nowhere/value").status == 200
        assert not [line for line in envoy.wasm_log() if line.level == "critical"]
        assert "failed: Uncaught" not in envoy.log_text


CALLBACKS = ("on_http_request_headers", "on_http_request_body", "on_http_request_trailers", "on_http_response_headers")


@pytest.mark.parametrize("callback", CALLBACKS)
def test_exception_denies(plugins: Plugins, callback: str) -> None:
    """An exception before the response is on its way answers 500, without telling the client why."""
    response = plugins.ask("deny", f"/{callback}/value", chunked=True)
    assert response.status == 500
    assert b"text" not in response.body
    assert plugins.ask("deny", "/nowhere/value", chunked=True).status == 200


def test_exception_in_the_response_body_ends_the_response(plugins: Plugins) -> None:
    """When the response's headers are out, an exception in its body cannot answer 500: the response is cut off."""
    with pytest.raises((MessageError, ConnectionError)):
        plugins.ask("deny", "/on_http_response_body/value")
    assert plugins.ask("deny", "/nowhere/value").status == 200


def test_exception_after_the_stream_does_nothing(plugins: Plugins) -> None:
    """An exception in on_http_stream_done is logged, and the client has its answer."""
    assert plugins.ask("deny", "/on_http_stream_done/value").status == 200
    assert "uncaught exception in on_http_stream_done" in plugins.traceback("deny", "/on_http_stream_done/value")


@pytest.mark.parametrize("callback", [*CALLBACKS, "on_http_response_body", "on_http_stream_done"])
def test_on_error_continue(plugins: Plugins, callback: str) -> None:
    """With on_error="continue" an exception is logged and the stream goes on."""
    response = plugins.ask("continue", f"/{callback}/value", chunked=True)
    assert response.status == 200
    assert b'"body": "body"' in response.body
    tracebacks = plugins.tracebacks("continue", f"/{callback}/value")
    assert {text.partition("\n")[0] for text in tracebacks} == {f"continue: uncaught exception in {callback}"}


def test_traceback_names_the_users_lines(plugins: Plugins) -> None:
    """The log has plugin and callback, then file, line and function of every frame, and the exception."""
    assert re.fullmatch(
        r"""deny: uncaught exception in on_http_request_headers
Traceback \(most recent call last\):
  File "raises\.py", line \d+, in Raises\.on_http_request_headers
  File "raises\.py", line \d+, in Raises\.act
  File "raises\.py", line \d+, in <lambda>
  File "raises\.py", line \d+, in throw
ValueError: text""",
        plugins.traceback("deny", "/on_http_request_headers/value"),
    )


EXCEPTIONS = {
    "exit": r"\nSystemExit: 1$",
    "interrupt": r"\nKeyboardInterrupt$",
    "generator-exit": r"\nGeneratorExit$",
    "stop-iteration": r"\nStopIteration$",
    "bad-str": r"\nraises\.BadStr: <exception str\(\) failed>$",
    "no-text": r"\nraises\.NoText: <exception str\(\) failed>$",
    "surrogates": "\nValueError: \\\\ud800\\\\udc80\0$",
    "assertion": r"\nAssertionError$",
    "syntax": r"\nSyntaxError: invalid syntax \(made\.py, line 1\)$",
    "chained": r"\nKeyError: 'inner'\n\nThe above exception was the direct cause (?s:.*)\nValueError: outer$",
    "during": r"\nKeyError: 'inner'\n\nDuring handling of the above exception, (?s:.*)\nValueError: outer$",
    "noted": r"\nValueError: text\na note\n<note str\(\) failed>$",
    "grouped": r"ExceptionGroup: several \(2 sub-exceptions\)\n(?s:.*)\nValueError: first\n(?s:.*)\nTypeError: second$",
    "circular": r"\nTypeError: second\n\nDuring (?s:.*)\nValueError: first$",
    "deep": r"\n  … \d+ more frames …\n(?s:.*)\nValueError: deep$",
    "recursion": r"\nRecursionError: maximum recursion depth exceeded$",
    "memory": r"\nMemoryError$",
}


@pytest.mark.parametrize(("way", "expected"), EXCEPTIONS.items())
def test_every_exception_is_caught(plugins: Plugins, way: str, expected: str) -> None:
    """Whatever class of exception it is, and whatever its own methods do, it is logged and answered with 500."""
    assert re.search(expected, plugins.traceback("deny", f"/on_http_request_headers/{way}"))
    assert plugins.ask("deny", f"/on_http_request_headers/{way}").status == 500


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("text", "'abc'"),
        ("float", "3.5"),
        ("huge", "1" + "0" * 30),
        ("seven", "7"),
        ("negative", "-1"),
        ("list", "[1]"),
        ("true", "True"),
    ],
)
def test_wrong_answer_is_an_exception(plugins: Plugins, way: str, shown: str) -> None:
    """What a callback returns besides an Action or None is treated as an exception that shows it."""
    expected = f"TypeError: the callback returned {shown}, not an Action or None"
    assert plugins.traceback("deny", f"/on_http_request_headers/{way}").endswith(expected)
    assert plugins.ask("deny", f"/on_http_request_headers/{way}").status == 500
    assert plugins.ask("continue", f"/on_http_request_headers/{way}").status == 200


def test_answers_of_other_callbacks_do_not_matter(plugins: Plugins) -> None:
    """A callback without an answer may return anything; numbers that equal an Action are one."""
    assert plugins.ask("deny", "/on_http_stream_done/text").status == 200
    assert plugins.ask("deny", "/on_http_response_headers/zero").status == 200


@pytest.mark.parametrize(
    ("plugin", "place", "error"),
    [
        ("init", "AtInit()", "ValueError: in __init__"),
        ("new", "new_http_context", "SystemExit: in new_http_context"),
        (
            "new-wrong",
            "new_http_context",
            "TypeError: new_http_context and new_tcp_context return a context or None, not 'a text'",
        ),
    ],
)
def test_stream_without_context_is_denied(plugins: Plugins, plugin: str, place: str, error: str) -> None:
    """When a stream's context cannot be created, the request is answered with 500."""
    traceback = plugins.traceback(plugin, "/")
    assert traceback.startswith(f"{plugin}: uncaught exception in {place}\n")
    assert traceback.endswith(error)
    assert plugins.ask(plugin).status == 500


@pytest.mark.parametrize("plugin", ["init-continue", "new-none"])
def test_stream_without_context_can_go_on(plugins: Plugins, plugin: str) -> None:
    """With on_error="continue", or when the plugin wants no context, the stream goes on without it."""
    assert plugins.ask(plugin, chunked=True).status == 200


def test_an_exception_answers_its_own_stream(plugins: Plugins) -> None:
    """A callback that turned to another stream and then fails gets the 500 itself; the other stream goes on."""
    with ThreadPoolExecutor() as pool:
        first = pool.submit(plugins.ask, "turns")
        plugins.envoy.wait_for_log("the first waits", 5)
        assert plugins.ask("turns").status == 500
        assert first.result(timeout=10).status == 200


def test_exception_in_a_tick(plugins: Plugins) -> None:
    """An exception in on_tick is logged, and the next tick comes."""
    entry = plugins.envoy.wait_for_log("tick: uncaught exception in on_tick", 5)
    assert entry.message.endswith("ValueError: in tick 1")
    assert "in tick 3" not in plugins.envoy.log_text


def test_exception_at_the_end_of_a_plugin(build_filter: FilterBuilder) -> None:
    """An exception in on_plugin_done is logged and does not keep Envoy from ending."""
    with serve(build_filter("raises").path, root_id="done") as server:
        assert request(server.port).status == 200
    assert re.search(
        "done: uncaught exception in on_plugin_done\n(?s:.*)ValueError", server.envoy.wasm_log()[-1].message
    )


@pytest.mark.parametrize(
    ("plugin", "configuration", "reason"),
    [
        ("start", b"\xff", r"start: uncaught exception in on_plugin_start\n(?s:.*)configuration b'\\xff' is bad"),
        ("start", b"text", r"TypeError: the callback returned 'yes', not True, False or None"),
        ("start", b"refuse", "Unable to create Wasm plugin"),
        ("construct", b"", r"construct: uncaught exception in AtConstruct\(\)\n(?s:.*)ValueError: in the constructor"),
    ],
)
def test_plugin_that_cannot_start_is_refused(
    build_filter: FilterBuilder, plugin: str, configuration: bytes, reason: str
) -> None:
    """An exception or False at a plugin's start makes Envoy refuse the configuration, with the traceback in its log."""
    with (
        pytest.raises(ToolError, match=reason),
        serve(build_filter("raises").path, root_id=plugin, plugin_configuration=configuration),
    ):
        pass


# The filter that fails in every way and place, with the traffic of tests/testing/test_errors.py

OF_HTTP = ("deny", "continue", "busy", "function", "method", "decorated", "init", "init-busy", "elsewhere")


@dataclass(frozen=True)
class Failing:
    """One Envoy with a listener for each plugin of the filter that fails."""

    envoy: EnvoyProcess

    def ask(self, plugin: str, path: str, *headers: tuple[str, str]) -> Response:
        """A request with a body and a trailer."""
        fields = [("transfer-encoding", "chunked"), ("trailer", "x-end"), *headers]
        port = self.envoy.listener_port(plugin)
        return request(port, "POST", path, fields, b"4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n")

    def leave(self, plugin: str, path: str) -> None:
        """A client that goes away as soon as its request is being held."""
        begun = self.envoy.log_text.count("holding")
        with socket.create_connection(("127.0.0.1", self.envoy.listener_port(plugin)), timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: test.local\r\n\r\n".encode())
            self.envoy.wait_for_log("holding", 10, count=begun + 1)

    def count(self, plugin: str) -> int:
        """What the metric says."""
        name = re.escape(f"wasmcustom.pywasmfilter_exceptions_plugin={plugin}")
        found = re.search(rf"^{name}: (\d+)$", self.envoy.admin("/stats"), re.MULTILINE)
        return 0 if found is None else int(found[1])

    def wait_for_count(self, plugin: str, expected: int) -> None:
        """Until so many exceptions were counted, which ends the test if they are more, or too late."""
        deadline = time.monotonic() + 10
        while (found := self.count(plugin)) < expected:  # each look is a request, which takes its time
            assert time.monotonic() < deadline, f"{found} of {expected} exceptions were counted"
        assert found == expected

    def check(self) -> None:
        """The VM is the first one, and works."""
        assert self.ask("deny", "/nowhere/value").status == 200
        assert not [line for line in self.envoy.wasm_log() if line.level == "critical"]
        assert "Wasm VM failed" not in self.envoy.log_text

    def resident(self) -> int:
        """The memory of the whole process, in bytes."""
        status = Path(f"/proc/{self.envoy.pid}/status").read_text(encoding="ascii")
        (size,) = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(size) << 10


@pytest.fixture(scope="module")
def failing(build_filter: FilterBuilder) -> Iterator[Failing]:
    """All plugins that fail while they run; at the end the VM is still the first one."""
    module = build_filter("failing").path
    with ExitStack() as stack:
        echo = stack.enter_context(EchoServer())
        nobody = stack.enter_context(closing(socket.socket()))
        nobody.bind(("127.0.0.1", 0))
        clusters = [cluster(UPSTREAM, "127.0.0.1", echo.port), cluster("grpc", *nobody.getsockname(), http2=True)]
        listeners = [
            http_listener(
                [WasmPlugin(module, root_id=name)],
                [route_to(UPSTREAM)],
                name=name,
                trailers=True,
                access_logs=[wasm_access_log(WasmPlugin(module, root_id=name))] if name == "elsewhere" else [],
            )
            for name in OF_HTTP
        ]
        listeners += [
            tcp_listener([WasmPlugin(module, root_id=name)], UPSTREAM, name=name) for name in ("tcp", "tcp-continue")
        ]
        config = bootstrap(listeners, clusters, tags={"plugin": "(_plugin=([a-zA-Z0-9_.-]+))"})
        running = Failing(stack.enter_context(EnvoyProcess(config)))
        yield running
        running.check()


NOT_IN_ENVOY = {"grpc-metadata", "grpc-message"}  # its server does not answer


@pytest.mark.parametrize("place", [place for place in PLACES if place not in NOT_IN_ENVOY])
def test_every_place_in_envoy(failing: Failing, place: str) -> None:
    """An exception in each place has the client answered as in the emulated host, and is counted once."""
    before = failing.count("deny")
    assert failing.ask("deny", f"/{place}/value").status == PLACES[place][0]
    failing.wait_for_count("deny", before + 1)


@pytest.mark.parametrize("place", ["before", "after", "reply", "task"])
@pytest.mark.parametrize("way", [*WAYS, "interrupt", "memory", "exhausted", "nameless", "long"])
def test_every_exception_in_envoy(failing: Failing, place: str, way: str) -> None:
    """Of whatever class, and wherever: it is answered, and the VM goes on."""
    assert failing.ask("deny", f"/{place}/{way}").status == (200 if place == "task" else 500)
    failing.check()


@pytest.mark.parametrize("place", ["on_http_request_headers", "before", "after", "reply", "awaited"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_function_decides_in_envoy(failing: Failing, place: str, policy: str) -> None:
    """A function's answer is Envoy's, and what fails in it is counted too."""
    before = failing.count("function")
    response = failing.ask("function", f"/{place}/value", ("x-policy", policy))
    assert response.status == POLICIES[policy]
    failing.wait_for_count("function", before + (2 if policy in FAILING_POLICIES else 1))


@pytest.mark.parametrize("policy", ["close", "resume", "answer"])
@pytest.mark.parametrize(
    "place", ["on_http_request_headers", "after", "reply", "response-after", "on_http_response_body"]
)
def test_a_function_that_acts_on_the_stream(failing: Failing, place: str, policy: str) -> None:
    """Whatever a function does with the stream, once or twice, Envoy lives on."""
    with suppress(OSError, MessageError):
        failing.ask("function", f"/{place}/value", ("x-policy", policy))
    failing.check()


@pytest.mark.parametrize(("plugin", "status", "body"), [("busy", 503, b"later\n"), ("init-busy", 503, b"later\n")])
@pytest.mark.parametrize("place", ["on_http_request_headers", "after"])
def test_an_answer_of_its_own(failing: Failing, plugin: str, place: str, status: int, body: bytes) -> None:
    """A Deny is what the client gets."""
    response = failing.ask(plugin, f"/{place}/value")
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    ("plugin", "grpc_status", "message"), [("deny", b"2", b"Internal Server Error"), ("busy", b"14", b"later\n")]
)
@pytest.mark.parametrize("place", ["on_http_request_headers", "after"])
def test_what_a_grpc_client_sees(failing: Failing, plugin: str, place: str, grpc_status: bytes, message: bytes) -> None:
    """A status of gRPC: UNKNOWN, or what the Deny says, with the body as its message."""
    response = failing.ask(plugin, f"/{place}/value", ("content-type", "application/grpc"))
    assert response.status == 200
    assert response.header("grpc-status") == [grpc_status]
    assert response.header("grpc-message") == [message.replace(b"\n", b"%0A")]


def test_decorated_callbacks_in_envoy(failing: Failing) -> None:
    """@on_error counts before what the plugin says."""
    answers = {"headers": 200, "body": 503, "trailers": 418}
    found = {part: failing.ask("decorated", f"/on_http_request_{part}/value").status for part in answers}
    assert found == answers
    assert failing.ask("method", "/after/value").body == b"method ValueError\n"


@pytest.mark.parametrize(
    ("place", "message"), [("at-the-end", "ValueError: text"), ("stubborn", "ignored GeneratorExit")]
)
def test_a_client_that_leaves(failing: Failing, place: str, message: str) -> None:
    """What fails when the client is gone is logged."""
    failing.leave("continue", f"/{place}/value")
    assert failing.envoy.wait_for_log(message, 10)
    failing.check()


@pytest.mark.parametrize(
    ("plugin", "data", "answer"), [("tcp", b"raise", b""), ("tcp", b"close", b""), ("tcp", b"after", b"")]
)
def test_connections(failing: Failing, plugin: str, data: bytes, answer: bytes) -> None:
    """A TCP connection whose callback fails is closed, at once or after a wait, also if it was being closed."""
    before = failing.count(plugin)
    with socket.create_connection(("127.0.0.1", failing.envoy.listener_port(plugin)), timeout=30) as connection:
        connection.sendall(data)
        assert connection.recv(100) == answer
    failing.wait_for_count(plugin, before + 1)


def test_connections_that_go_on(failing: Failing) -> None:
    """With "continue" the upstream, which speaks HTTP, gets to see the data and answers."""
    port = failing.envoy.listener_port("tcp-continue")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"raise")
        failing.wait_for_count("tcp-continue", 1)
        connection.sendall(b" / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(4) == b"HTTP"


def test_without_a_stream_in_envoy(failing: Failing) -> None:
    """Tasks, ticks, @every, queues and the access log: each is logged by its name, and counted."""
    failing.ask("elsewhere", "/nowhere/value")
    names = ["the task Elsewhere.work", "on_tick", "repeat", "work_on", "on_queue_ready", "on_log"]
    for name in names:
        failing.envoy.wait_for_log(re.compile(rf"elsewhere: uncaught exception in (the task Elsewhere\.)?{name}\n"), 20)
    assert failing.count("elsewhere") >= len(names)


def test_the_metric_in_prometheus(failing: Failing) -> None:
    """With the tag that docs/errors.md shows, an alert can name the plugin."""
    failing.ask("init-busy", "/nowhere/value")
    wanted = f'pywasmfilter_exceptions{{plugin="init-busy"}} {failing.count("init-busy")}'
    assert wanted in failing.envoy.admin("/stats/prometheus").splitlines()


ATTACKS = [
    *(f"/{place}/value" for place in PLACES if place != "awaits-a-generator"),
    *(f"/after/{way}" for way in [*WAYS, "interrupt", "memory", "nameless", "long"]),
    *(f"/on_http_request_headers/named-{number}" for number in range(40)),
    *(f"/visits/{number}" for number in range(0, 400, 10)),
    "/task-in-the-deep/value",
    "/flood/value",
    "/shared/value",
    "/awaits-nonsense/value",
    "/two-tasks-of-one/value",
    "/stubborn/value",
]


def attack(failing: Failing, rounds: int) -> None:
    """Everything at once, by several clients."""

    def send(path: str) -> None:
        with suppress(OSError, MessageError):
            request(
                failing.envoy.listener_port("deny"),
                "POST",
                path,
                body=b"body",
                timeout=0.5 if "stubborn" in path else 20,
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, ATTACKS * rounds))


def test_under_attack(failing: Failing) -> None:
    """After thousands of exceptions of all kinds Envoy's memory is what it was after the first, and so is its log."""
    attack(failing, 6)
    failing.check()
    memory, lines, exceptions = failing.resident(), len(failing.envoy.wasm_log()), failing.count("deny")
    begun = time.monotonic()
    attack(failing, 12)
    failing.check()
    windows = (time.monotonic() - begun) / 10 + 2
    assert failing.resident() - memory < 8 << 20
    assert failing.count("deny") - exceptions > 12 * len(ATTACKS)
    assert len(failing.envoy.wasm_log()) - lines < windows * 200
