"""What becomes of an exception that leaves a filter's callback: its traceback is logged, and the proxy lives on."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.bootstrap import UPSTREAM, WasmPlugin, bootstrap, cluster, http_listener, route_to
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.http1 import MessageError
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import Response, request

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
