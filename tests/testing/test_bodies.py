"""A filter's two bodies are the same filter: each VM begins afresh, and finds the same things around it."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from pywasmfilter_compiler import build

from pywasmfilter import _state, registry
from pywasmfilter.testing import Body, Host, Refused, Response, Unfinished, compiled
from pywasmfilter.types import LogLevel, Status

MakeHost = Callable[..., Host]

COUNTING = """
from pywasmfilter import HttpContext, http_filter
import neighbour

@http_filter("counting")
class Counting(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        import late_neighbour
        neighbour.count += 1
        late_neighbour.names.append(self.request.path)
        return self.send_http_response(200, body=f"{neighbour.count} {late_neighbour.names}")
"""
NEIGHBOURS = {"neighbour.py": "count = 0\n", "late_neighbour.py": "names = []\n"}


@pytest.fixture(params=["python", "wasm"])
def body(request: pytest.FixtureRequest) -> Body:
    """Each body."""
    found: Body = request.param
    return found


@pytest.fixture
def make(tmp_path: Path, body: Body) -> MakeHost:
    """A function that starts a host with a filter given as text."""

    def start(code: str, files: dict[str, str] | None = None, **options: Any) -> Host:
        for name, text in {"filter.py": code, **(files or {})}.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return Host(tmp_path / "filter.py", body=body, **options)

    return start


def answering(expression: str, top: str = "") -> str:
    """A filter that answers requests with the value of an expression."""
    return (
        f"{top}\nfrom pywasmfilter import HttpContext, http_filter\n\n"
        "@http_filter('answering')\nclass Answering(HttpContext):\n"
        "    def on_http_request_headers(self, *_):\n"
        f"        return self.send_http_response(200, body=repr({expression}))\n"
    )


ASYNC_VM = """
from pywasmfilter import VMContext, vm

@vm
class VM(VMContext):
    async def on_vm_start(self, size):
        pass
"""


def test_each_vm_begins_afresh(make: MakeHost) -> None:
    """Modules of the filter, imported at once or late, are a VM's own; hosts do not see each other's."""
    first = make(COUNTING, NEIGHBOURS)
    assert [first.request("GET", path).text for path in ("/a", "/b")] == ["1 ['/a']", "2 ['/a', '/b']"]
    second = make(COUNTING, NEIGHBOURS)
    assert second.request("GET", "/c").text == "1 ['/c']"
    assert first.request("GET", "/d").text == "3 ['/a', '/b', '/d']"


def test_packages_of_the_filter(make: MakeHost, tmp_path: Path) -> None:
    """Packages beside the filter are found, with and without an __init__.py, and the SDK is the one that tests use."""
    for folder in ("regular", "namespace"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "inner.py").write_text(f"NAME = {folder!r}\n", encoding="utf-8")
    (tmp_path / "regular" / "__init__.py").write_text("from . import inner\n", encoding="utf-8")
    top = "import regular, namespace.inner"
    host = make(answering("(regular.inner.NAME, namespace.inner.NAME)", top))
    assert host.request().text == "('regular', 'namespace')"


def test_plugins_share_a_vm_or_not(make: MakeHost) -> None:
    """Plugins with equal filter, vm_id and configuration share a VM; another vm_id, or `new_vm`, gives another."""
    host = make(COUNTING, NEIGHBOURS)
    plugins = [host.start(**options) for options in ({}, {"vm_id": "other"}, {"new_vm": True})]
    assert [plugin.request("GET", "/").text[0] for plugin in (host.plugin, *plugins)] == ["1", "2", "1", "1"]
    assert [plugin.context_id for plugin in (host.plugin, *plugins)] == [1, 2, 1, 1]


def process() -> tuple[object, ...]:
    """What a filter could leave changed in the test's process."""
    streams = sys.stdout, sys.stderr
    return *streams, time.time, time.sleep, warnings.showwarning, dict(os.environ), list(sys.meta_path)


def test_the_process_is_left_as_it_was(make: MakeHost) -> None:
    """After a callback nothing of the filter is in the test's process: modules, streams, clock, environment, state."""
    before = process()
    handlers, level, modules = list(logging.root.handlers), logging.root.level, set(sys.modules)
    host = make(COUNTING, NEIGHBOURS, environment={"COLOUR": "blue"})
    host.request("GET", "/")
    assert process() == before
    assert (logging.root.handlers, logging.root.level) == (handlers, level)
    assert {"filter", "neighbour", "late_neighbour"} & (set(sys.modules) - modules) == set()
    assert (registry.plugins, _state.contexts) == ({}, {})


def test_the_clock_is_the_hosts(make: MakeHost) -> None:
    """Filters see the time that the test makes; it stands still until `advance`."""
    host = make(answering("(time.time(), time.time_ns(), time.monotonic_ns() - start)", "import time\nstart = 0"))
    host.clock.nanoseconds = 1_500_000_000_000_000_000
    host.advance(1.5)
    now = 1_500_000_001_500_000_000
    assert host.request().text == f"({now / 1e9!r}, {now}, {now})"


@pytest.mark.parametrize("expression", ["datetime.now().isoformat()", "date.today().isoformat()", "time.gmtime()[:6]"])
def test_dates_are_the_hosts(make: MakeHost, expression: str) -> None:
    """So is everything else that says what time it is; local time is UTC."""
    host = make(answering(expression, "import time\nfrom datetime import date, datetime"))
    host.clock.nanoseconds = 1_500_000_000_000_000_000
    expected = {"d": "'2017-07-14", "t": "(2017, 7, 14, 2, 40, 0)"}[expression[0]]
    assert host.request().text.startswith(expected)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('out')", (LogLevel.INFO, "out")),
        ("print('err', file=sys.stderr)", (LogLevel.ERROR, "err")),
        ("logging.getLogger('a').warning('logged')", (LogLevel.WARN, "a: logged")),
        ("log.trace('traced')", (LogLevel.TRACE, "traced")),
    ],
)
def test_what_reaches_the_log(make: MakeHost, code: str, line: tuple[LogLevel, str]) -> None:
    """Standard streams, `logging` and the SDK's own functions log with their levels."""
    host = make(answering(code, "import logging, sys\nfrom pywasmfilter import log"))
    assert host.request().status == 200
    assert host.log == [line]


def test_warnings_are_logged(make: MakeHost) -> None:
    """A warning is a line of the log, with the file that it is about."""
    host = make(answering("warnings.warn('careful')", "import warnings\nwarnings.simplefilter('always')"))
    assert host.request().status == 200
    assert [(level, text.endswith("UserWarning: careful")) for level, text in host.log] == [(LogLevel.WARN, True)]


def test_nobody_sleeps(make: MakeHost) -> None:
    """A filter that sleeps gets an error, which is a 500."""
    host = make(answering("time.sleep(1)", "import time"))
    assert host.request().status == 500
    assert host.logged("sleep is not available")


def test_environment_of_the_vm(make: MakeHost) -> None:
    """The variables that the proxy gives are in os.environ."""
    host = make(answering("dict(os.environ)", "import os"), environment={"COLOUR": "blue"})
    assert host.request().text == "{'COLOUR': 'blue'}"
    with pytest.raises(ValueError, match="no variable of an environment: ''='x'"):
        make(answering("1"), environment={"": "x"})
    assert process() == process()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1", "registers no plugin"),
        ("x = (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        (answering("1").replace("on_http_request_headers", "on_request_headers"), "is no callback of HttpContext"),
        (answering("1").replace("return ", "yield "), "is a generator, which does nothing when it is called"),
        (answering("1") + ASYNC_VM, "is async; the callbacks of VMContext are plain functions"),
        ("import no_such_module", "No module named 'no_such_module'"),
        (
            "from pywasmfilter import log\nlog.info('too early')",
            r"filter.py:2: (\S+\.)?MisuseError: proxy_log was called while",
        ),
    ],
)
def test_what_no_build_would_take(make: MakeHost, code: str, message: str) -> None:
    """A filter that cannot be built is refused in both bodies, with the same reason."""
    with pytest.raises(Refused, match=message):
        make(code)
    assert registry.plugins == {}


def test_no_filter_there(tmp_path: Path, body: Body) -> None:
    """So is a path where there is none."""
    with pytest.raises(Refused, match="no such file or folder"):
        Host(tmp_path / "filter.py", body=body)


def test_a_plugin_that_does_not_start(make: MakeHost) -> None:
    """The test gets an error with what was logged, and another host can be made."""
    code = "from pywasmfilter import PluginContext, plugin\n\n@plugin('p')\nclass P(PluginContext):\n"
    with pytest.raises(Refused, match=r"(?s)the plugin does not start.*KeyError: 'no'"):
        make(code + "    def on_plugin_start(self, size):\n        raise KeyError('no')\n")
    make(code + "    pass\n")


@pytest.mark.parametrize("where", ["upstream", "service", "foreign function"])
def test_errors_of_the_test_reach_the_test(make: MakeHost, where: str) -> None:
    """An exception in what a test puts in the proxy's place is the test's own, and not taken for the filter's."""

    def broken(*_: object) -> Any:
        raise LookupError("of the test")

    code = {
        "upstream": "None",
        "service": "self.dispatch_http_call('other', self.request.headers.items(), print)",
        "foreign function": "foreign_functions.call_foreign_function('other', b'')",
    }[where]
    top = "from pywasmfilter import foreign_functions"
    host = make(
        answering(code, top).replace("return self.send_http_response(200, body=repr", "return (lambda _: None)(")
    )
    host.upstream = broken
    host.clusters["other"] = broken
    host.foreign_functions["other"] = broken
    with pytest.raises(LookupError, match="of the test"):
        host.request()


def test_host_calls_fail_on_demand(make: MakeHost) -> None:
    """A host call fails as often as asked, with the exception of its status, and works again."""
    host = make(answering("hostcalls.get_log_level()", "from pywasmfilter import hostcalls"))
    host.fail("get_log_level", Status.INTERNAL_FAILURE, times=2)
    assert [host.request().status for _ in range(3)] == [500, 500, 200]
    assert host.logged("InternalFailure: proxy_get_log_level: INTERNAL_FAILURE (10)")


def test_delayed_answers_and_timeouts(make: MakeHost) -> None:
    """Answers come when their time has come on the host's clock; a call whose time is over gets the proxy's 504."""
    code = """
from pywasmfilter import Action, HttpContext, hostcalls, http_filter

@http_filter("asking")
class Asking(HttpContext):
    def on_http_request_headers(self, *_):
        self.dispatch_http_call("slow", self.request.headers.items(), self.on_answer, timeout_milliseconds=1000)
        return Action.PAUSE

    def on_answer(self, *_):
        self.send_http_response(200, body=dict(hostcalls.get_http_call_response_headers())[":status"])
"""
    host = make(code)
    host.clusters["slow"] = [Response(201, delay=0.25), Response(202, delay=2)]
    first, second = host.request(), host.request()
    with pytest.raises(Unfinished, match=r"holds the request back, and these calls are open: <HttpCall to 'slow'"):
        _ = first.status
    host.advance(0.25)
    assert (first.text, second.ended) == ("201", False)
    host.advance(0.75)
    assert second.text == "504"
    host.advance(5)
    assert host.http_calls == []


def test_a_changed_filter_needs_no_compiling(tmp_path: Path) -> None:
    """Modules of one runtime image run on the same compiled code, with their own exports and memory."""
    modules = []
    for number, callback in enumerate(["on_http_request_headers", "on_http_response_headers"]):
        file = tmp_path / f"{number}.py"
        file.write_text(answering(str(number)).replace("on_http_request_headers", callback), encoding="utf-8")
        modules.append(build(file, file.with_suffix(".wasm")).path)
    first, second = map(compiled.load, modules)
    assert first.module is second.module
    assert first.names ^ second.names == {"proxy_on_request_headers", "proxy_on_response_headers"}
    assert None not in (first.memory, second.memory)
    assert [Host(module).request().text for module in modules] == ["0", "1"]


def test_other_modules_are_compiled_as_they_are(tmp_path: Path) -> None:
    """A module that is none of the image's brings its own memory and code."""
    module = tmp_path / "other.wasm"
    text = '(module (memory (export "memory") 1) (data (i32.const 8) "x") (func (export "proxy_abi_version_0_2_1")))'
    module.write_bytes(wasmtime.wat2wasm(text))
    assert compiled.load(module).memory is None


def test_ticks_come_with_the_clock(make: MakeHost) -> None:
    """Ticks come one period after each other, until the filter wants no more of them."""
    code = """
from pywasmfilter import PluginContext, hostcalls, log, plugin

@plugin("ticking")
class Ticking(PluginContext):
    ticks = 0

    def on_plugin_start(self, size):
        hostcalls.set_tick_period_milliseconds(100)

    def on_tick(self):
        self.ticks += 1
        log.info(f"tick {hostcalls.get_current_time_nanoseconds() // 1_000_000 % 1000}")
        if self.ticks == 3:
            hostcalls.set_tick_period_milliseconds(0)
"""
    host = make(code)
    host.clock.nanoseconds = 0
    host = make(code)
    start = host.clock.nanoseconds // 1_000_000
    host.advance(1)
    assert host.messages == [f"tick {(start + period) % 1000}" for period in (100, 200, 300)]


def test_callbacks_and_calls_are_traced(make: MakeHost) -> None:
    """The trace has each callback with its answer and time, and the host calls it made, in both bodies the same."""
    host = make(answering("self.request.path"))
    host.request("GET", "/seen")
    headers = next(callback for callback in host.trace if callback.name == "proxy_on_request_headers")
    assert (headers.context_id, headers.arguments, headers.answer) == (2, (6, 1), 1)
    assert headers.seconds > 0
    assert [str(call) for call in headers.calls] == [
        "get_header_map_value(HTTP_REQUEST_HEADERS, ':path') → '/seen'",
        "send_local_response(200, '', \"'/seen'\", [], 4294967295)",
    ]


def test_closing_a_host_ends_its_plugins(make: MakeHost) -> None:
    """At the end of the `with` block streams end first, and then the plugin hears of it, once."""
    code = """
from pywasmfilter import HttpContext, PluginContext, log, plugin

class Stream(HttpContext):
    def on_http_stream_done(self):
        log.info("stream done")

@plugin("ending")
class Ending(PluginContext):
    http_context = Stream

    def on_plugin_done(self):
        log.info("plugin done")

    def on_delete(self):
        log.info("plugin deleted")
"""
    with make(code) as host:
        host.open_http().send_headers({":method": "GET", ":path": "/"})
        assert host.messages == []
    host.close()
    assert host.messages == ["stream done", "plugin done", "plugin deleted"]


def test_streams_that_no_class_is_for(make: MakeHost) -> None:
    """A filter for TCP lets HTTP pass, and one for HTTP lets TCP pass: a proxy does not make such callbacks."""
    assert make(answering("1").replace("on_http_request_headers", "on_http_response_headers")).connect().ended is False
    code = "from pywasmfilter import TcpContext, tcp_filter\n\n@tcp_filter('tcp')\nclass Tcp(TcpContext):\n"
    host = make(code + "    def on_downstream_data(self, size, end):\n        return None\n")
    assert host.request().status == 200
    assert host.messages == []


FOREIGN = "foreign_functions.call_foreign_function('other', b'').decode()"


def test_the_tests_own_code_is_not_the_filters(make: MakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    """What functions of the test print is not the filter's log, and they may use other hosts."""
    host = make(answering(FOREIGN, "from pywasmfilter import foreign_functions"))
    other = make(answering("'of the other'"))

    def function(_: bytes) -> bytes:
        sys.stdout.write("of the test\n")
        return other.request().text.encode()

    host.foreign_functions["other"] = function
    assert host.request().text == repr("'of the other'")
    assert (host.messages, other.messages, capsys.readouterr().out) == ([], [], "of the test\n")


def test_what_breaks_off_is_over(make: MakeHost) -> None:
    """An error of the test's own code ends the callback, and neither it nor an answer hits the next request."""
    top = "from pywasmfilter import foreign_functions, log"
    host = make(answering(f"self.send_http_response(418) and {FOREIGN}", top))

    def broken(_: bytes) -> bytes:
        raise LookupError("of the test")

    host.foreign_functions["other"] = broken
    with pytest.raises(LookupError):
        host.request()
    host.foreign_functions["other"] = lambda _: b"fine"
    assert host.request().status == 418
    assert process() == process()


def test_all_plugins_end_whatever_happens(make: MakeHost) -> None:
    """A test's own error in a plugin's last callback is raised when all others have heard of the end, and only once."""
    code = """
from pywasmfilter import PluginContext, foreign_functions, log, plugin

@plugin("ending")
class Ending(PluginContext):
    def on_plugin_done(self):
        log.info("done")
        foreign_functions.call_foreign_function("other", b"")
"""
    host = make(code)
    host.start()

    def broken(_: bytes) -> bytes:
        raise LookupError("of the test")

    host.foreign_functions["other"] = broken
    with pytest.raises(LookupError):
        host.close()
    host.close()
    assert host.messages.count("done") == 2


def test_outcomes_of_pytest_pass_through_a_filter(tmp_path: Path) -> None:
    """What ends a test, such as a debugger that is left, is not taken for an exception of the filter."""
    (tmp_path / "filter.py").write_text(answering("pytest.fail('ended')", "import pytest"), encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="ended"):
        Host(tmp_path / "filter.py").request()


def test_a_failure_of_the_failure(make: MakeHost) -> None:
    """If even the answer to an exception fails, the request does not pass."""
    host = make(answering("1 / 0"))
    host.fail("set_effective_context")
    stream = host.request()
    assert (stream.status, stream.sent) == (500, None)
    assert host.logged("a callback failed, and so did the handling of its exception", LogLevel.CRITICAL)


def test_mistakes_in_tests_are_said(make: MakeHost) -> None:
    """A host function that there is not, and time that goes back, are no tests of anything."""
    host = make(answering("1"))
    with pytest.raises(ValueError, match="no host function 'set_sharred_data'"):
        host.fail("set_sharred_data")
    with pytest.raises(ValueError, match="0 or more seconds, not by -1"):
        host.advance(-1)
