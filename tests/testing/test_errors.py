"""Exceptions in every place, in both bodies: what the client gets, what the log says, and that each one is counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pywasmfilter import StreamType
from pywasmfilter.testing import Body, Host, HttpStream, LogLine, Response
from tests.e2e.conftest import FILTERS

FAILING = FILTERS / "failing.py"
VALUE = "ValueError: text"
NewFailing = Callable[..., Host]


@pytest.fixture(params=["python", "wasm"])
def body(request: pytest.FixtureRequest) -> Body:
    chosen: Body = request.param
    return chosen


@pytest.fixture
def failing(body: Body) -> Iterator[NewFailing]:
    """Starts a plugin of the filter."""
    hosts: list[Host] = []

    def start(plugin: str = "deny", **options: Any) -> Host:
        host = Host(FAILING, body=body, plugin=plugin, **options)
        host.clusters["upstream"] = host.clusters["grpc"] = None
        hosts.append(host)
        return host

    yield start
    for host in hosts:
        host.close()


def send(host: Host, path: str, policy: str = "") -> HttpStream:
    """A request with a body and trailers; what it calls answers, and half a second passes."""
    stream = host.request("POST", path, {"x-policy": policy}, b"body", {"x-end": "1"})
    for http_call in list(host.http_calls):
        http_call.reply(Response(200))
    for grpc_call in list(host.grpc_calls):
        if "grpc-metadata" in path:
            grpc_call.send_initial_metadata({"a": "1"})
        elif "grpc-close" in path:
            grpc_call.close(14, "bye")
        else:
            grpc_call.send_message(b"message")
    host.advance(0.5)
    return stream


def reports(host: Host) -> list[LogLine]:
    return [line for line in host.log if line.level >= 3]


def report(host: Host) -> str:
    (line,) = reports(host)
    return line.message


def count(host: Host, plugin: str = "deny") -> int:
    metric = host.metrics.get(f"pywasmfilter_exceptions_plugin={plugin}")
    return 0 if metric is None else metric.value


# Where it fails, and what the client of a plugin that denies gets

PLACES = {
    "on_http_request_headers": (500, "on_http_request_headers", VALUE),
    "on_http_request_body": (500, "on_http_request_body", VALUE),
    "on_http_request_trailers": (500, "on_http_request_trailers", VALUE),
    "on_http_response_headers": (500, "on_http_response_headers", VALUE),
    "on_http_stream_done": (200, "on_http_stream_done", VALUE),
    "on_delete": (200, "on_delete", VALUE),
    "done-after": (200, "on_http_stream_done", VALUE),
    "before": (500, "on_http_request_headers", VALUE),
    "after": (500, "on_http_request_headers", VALUE),
    "response-after": (500, "on_http_response_headers", VALUE),
    "body": (500, "on_http_request_headers", VALUE),
    "body-after": (500, "on_http_request_body", VALUE),
    "awaited": (500, "on_http_request_headers", VALUE),
    "nonsense": (500, "on_http_request_headers", "TypeError: the callback returned 'nonsense', not an Action or None"),
    "reply": (500, "the callback of an HTTP call", VALUE),
    "decorated-reply": (503, "the callback of an HTTP call", VALUE),
    "async-reply": (500, "on_http_request_headers", "coroutines await http_call, grpc_call and grpc_stream instead"),
    "grpc-metadata": (504, "a callback of a gRPC stream", VALUE),
    "grpc-message": (500, "a callback of a gRPC stream", VALUE),
    "grpc-close": (500, "a callback of a gRPC stream", VALUE),
    "grpc-call": (500, "the callback of a gRPC call", VALUE),
    "answered": (403, "on_http_request_headers", VALUE),
    "answered-after": (403, "on_http_request_headers", VALUE),
    "task": (200, "the task before", VALUE),
    "plugin-task": (200, "the task after", VALUE),
    "given-up": (200, "the task slowly", VALUE),
    "gathered": (500, "on_http_request_headers", VALUE),
    "gathered-stubborn": (200, "a coroutine in gather", "LookupError: stubborn"),
    "gathered-in-vain": (200, "gather", VALUE),
    "when-done": (200, "a function of when_done", VALUE),
    "task-at-the-end": (200, "the task at_the_end", VALUE),
    "cancels-itself": (500, "on_http_request_headers", "CancelledError: the task was cancelled"),
    "awaits-what-yields": (500, "on_http_request_headers", "RuntimeError: a filter cannot await a int: "),
    "awaits-twice": (500, "on_http_request_headers", "RuntimeError: cannot reuse already awaited coroutine"),
    "deep": (500, "on_http_request_headers", "RecursionError: maximum recursion depth exceeded"),
    "unraisable": (200, "a finalizer", "LookupError: del"),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_place(failing: NewFailing, place: str) -> None:
    """An exception is logged with its place and its traceback, is counted, and the next request works."""
    status, name, message = PLACES[place]
    host = failing()
    assert send(host, f"/{place}/value").status == status
    assert report(host).startswith(f"deny: uncaught exception in {name}\nTraceback (most recent call last):\n")
    assert message in report(host)
    assert count(host) == 1
    assert send(host, "/nowhere/value").status == 200
    assert len(reports(host)) == 1


def test_an_awaitable_that_fails(failing: NewFailing) -> None:
    """What an object's own `__await__` raises is the callback's exception; its `__del__` then raises another one."""
    host = failing()
    assert send(host, "/awaits-nonsense/value").status == 500
    assert [line.message.rpartition("\n")[2] for line in reports(host)] == ["LookupError: await", "LookupError: del"]
    assert count(host) == 2


def test_a_stream_that_was_closed_stays_closed(failing: NewFailing) -> None:
    """An exception after the callback has closed its stream adds no answer."""
    host = failing()
    stream = send(host, "/closed/value")
    assert (stream.reset, stream.local_response, count(host)) == (True, None, 1)


def test_the_client_has_left(failing: NewFailing) -> None:
    """What a `finally` block raises when the stream is gone is logged, and answers nobody."""
    host = failing()
    stream = host.request("GET", "/at-the-end/value")
    stream.abort()
    assert report(host).startswith("deny: uncaught exception in on_http_request_headers\n")
    assert report(host).endswith(VALUE)
    assert (stream.local_response, count(host)) == (None, 1)


def test_a_coroutine_that_does_not_want_to_end(failing: NewFailing) -> None:
    """A coroutine that catches everything and goes on to wait is dropped with its stream, and does not hang."""
    host = failing()
    host.request("GET", "/stubborn/value").abort()
    assert "RuntimeError: coroutine ignored GeneratorExit" in reports(host)[0].message
    assert send(host, "/nowhere/value").status == 200


def test_an_exception_that_is_handled(failing: NewFailing) -> None:
    """What somebody awaits and catches is neither logged as uncaught nor counted."""
    host = failing()
    assert send(host, "/heard/value").status == 200
    assert host.messages == ["heard ValueError"]
    assert count(host) == 0


def test_one_exception_for_two(failing: NewFailing) -> None:
    """Two tasks that wait for a third and let its exception out: each counts, and each has its own traceback."""
    host = failing()
    assert send(host, "/shared/value").status == 200
    assert report(host).count("shared.<locals>.waits") == 2  # the name of the task, and its frame
    assert "StopIteration" not in report(host)
    assert count(host) == 2


@pytest.mark.filterwarnings("default")
def test_nobody_awaits_a_coroutine(failing: NewFailing) -> None:
    """Python's own warnings are in the log: here of a coroutine that was never awaited."""
    host = failing()
    assert send(host, "/never-awaited/value").status == 200
    assert re.fullmatch(r".*failing.py:\d+: RuntimeWarning: coroutine 'wait' was never awaited", report(host))


def test_too_large_a_body(failing: NewFailing) -> None:
    """A body that is too large is the client's fault: one line, without a traceback."""
    host = failing()
    assert send(host, "/too-large/value").status == 413
    assert report(host) == "deny: the body of the request has 4 bytes or more, and the filter takes 3"
    assert count(host) == 1


# What fails

WAYS = {
    "exit": "SystemExit: 1",
    "generator-exit": "GeneratorExit",
    "cancelled": "pywasmfilter.exceptions.CancelledError: by hand",
    "stop-async-iteration": "StopAsyncIteration",
    "group": "BaseExceptionGroup: several (2 sub-exceptions)",
    "wide-group": "\n… 85 more exceptions in the group …",
    "bad-str": "failing.BadStr: <exception str() failed>",
    "bad-notes": "failing.BadNotes: x\n<notes failed>",
    "bad-runtime-error": "failing.BadRuntimeError: <exception str() failed>",
    "property": "LookupError: property",
    "recursion": "RecursionError: maximum recursion depth exceeded",
}
ONLY_IN_A_MODULE = {"interrupt": "KeyboardInterrupt", "memory": "MemoryError", "exhausted": "MemoryError"}


@pytest.mark.parametrize("place", ["on_http_request_headers", "before", "after", "reply", "task"])
@pytest.mark.parametrize("way", WAYS | ONLY_IN_A_MODULE)
def test_every_exception(failing: NewFailing, body: Body, place: str, way: str) -> None:
    """Of whatever class an exception is, and whatever its methods do, it is logged, counted and answered."""
    if body == "python" and way in ONLY_IN_A_MODULE:
        pytest.skip("under a plain Python that is the machine's, or the test's")
    host = failing()
    silent = place == "task" and way == "cancelled"  # that is how a task ends that nobody wants any more
    assert send(host, f"/{place}/{way}").status == (200 if place == "task" else 500)
    assert count(host) == (0 if silent else 1)
    if not silent:
        message = (WAYS | ONLY_IN_A_MODULE)[way]
        assert message.replace("failing.", "") in re.sub(r"\b\w*failing\w*\.", "", report(host))
    assert send(host, "/nowhere/value").status == 200


@pytest.mark.parametrize("place", ["on_http_request_headers", "after"])
def test_an_exception_without_a_name(failing: NewFailing, place: str) -> None:
    """What cannot be described at all is answered and counted, and the log says how many there were."""
    host = failing()
    for _ in range(3):
        assert send(host, f"/{place}/nameless").status == 500
    host.advance(11)
    assert [line.message for line in reports(host)] == [
        "deny: uncaught exceptions that cannot be described: 1",
        "deny: uncaught exceptions that cannot be described: 2",
    ]
    assert count(host) == 3


def test_memory_that_stays_used_up(failing: NewFailing, body: Body) -> None:
    """Where the filter itself keeps all memory, requests are answered with 500, and the reason is logged."""
    if body == "python":
        pytest.skip("there is no bound on the memory of a plain Python")
    host = failing()
    for _ in range(3):
        assert send(host, "/hoards/value").status == 500
    assert "MemoryError" in reports(host)[0].message


def test_no_stack_to_report_with(failing: NewFailing, body: Body) -> None:
    """Tasks that fail in the deepest recursion are counted, even where there is no stack left to describe them."""
    if body == "python":
        pytest.skip("the emulated proxy would need the same stack")
    host = failing()
    assert send(host, "/task-in-the-deep/value").status == 500
    host.advance(11)
    *_, summary = [line.message for line in reports(host) if "more times" in line.message]
    told = re.fullmatch(r"deny: uncaught exception in the task before, (\d+) more times in 10 seconds: .*", summary)
    assert told is not None
    assert int(told[1]) > 500
    assert count(host) > int(told[1])


# What becomes of the stream

POLICIES = {
    "none": 200,
    "continue": 200,
    "answer": 418,
    "answer, none": 418,
    "answer, continue": 418,
    "answer, raise": 418,
    "raise": 500,
    "raise again": 500,
    "exit": 500,
    "recurse": 500,
    "text": 500,
    "true": 500,
    "seven": 500,
    "bad": 500,
    "coroutine": 500,
    "answer later": 418,
    "resume later": 200,
}
FAILING_POLICIES = {"answer, raise", *(policy for policy, status in POLICIES.items() if status == 500)}


@pytest.mark.parametrize("place", ["on_http_request_headers", "before", "after", "reply", "awaited"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_function_decides(failing: NewFailing, place: str, policy: str) -> None:
    """A function may answer, let go on or wait; if it fails itself, or says nothing sensible, the stream is denied."""
    host = failing("function")
    stream = send(host, f"/{place}/value", policy)
    assert stream.status == POLICIES[policy]
    assert stream.status != 418 or stream.text == f"{place} ValueError\n"
    assert "policy for ValueError" in host.messages
    assert any("uncaught exception in on_error\n" in line.message for line in reports(host)) == (
        policy in FAILING_POLICIES
    )
    assert count(host, "function") == (2 if policy in FAILING_POLICIES else 1)


@pytest.mark.parametrize("place", ["on_http_response_headers", "response-after"])
@pytest.mark.parametrize(("policy", "status"), [("answer", 418), ("continue", 200), ("raise", 500)])
def test_a_function_decides_on_a_response(failing: NewFailing, place: str, policy: str, status: int) -> None:
    """The same when it is the response's callback that fails."""
    assert send(failing("function"), f"/{place}/value", policy).status == status


@pytest.mark.parametrize("place", ["on_http_request_headers", "after", "reply"])
def test_a_function_closes(failing: NewFailing, place: str) -> None:
    """A function may also break the stream off."""
    host = failing("function")
    stream = send(host, f"/{place}/value", "close")
    assert (stream.reset, stream.local_response) == (True, None)


@pytest.mark.parametrize("place", ["on_http_request_headers", "before", "after", "response-after", "reply"])
def test_an_answer_of_its_own(failing: NewFailing, place: str) -> None:
    """A Deny is the answer to every exception, with its headers, its gRPC status and its details."""
    stream = send(failing("busy"), f"/{place}/value")
    assert (stream.status, stream.text, stream.headers["retry-after"]) == (503, "later\n", "1")
    assert stream.local_response is not None
    assert (stream.local_response.details, stream.local_response.grpc_status) == ("busy", 14)


@pytest.mark.parametrize("place", ["on_http_request_headers", "before", "after", "on_http_response_headers", "reply"])
def test_continue(failing: NewFailing, place: str) -> None:
    """The stream goes on as if the callback had answered CONTINUE, and the upstream sees all of the request."""
    host = failing("continue")
    stream = send(host, f"/{place}/value")
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.body == b"body"
    assert count(host, "continue") == 1


def test_a_method_of_the_plugin(failing: NewFailing) -> None:
    """The plugin's own `on_error` gets the stream and the exception."""
    stream = send(failing("method"), "/after/value")
    assert (stream.status, stream.text) == (418, "method ValueError\n")


@pytest.mark.parametrize(
    ("place", "status", "text"),
    [
        ("on_http_request_headers", 200, None),
        ("on_http_request_body", 503, "body\n"),
        ("on_http_request_trailers", 418, "on_http_request_trailers ValueError\n"),
        ("on_http_response_headers", 500, None),
    ],
)
def test_each_callback_may_say_so_itself(failing: NewFailing, place: str, status: int, text: str | None) -> None:
    """@on_error counts before the plugin's own, for coroutines too, and in classes that are inherited from."""
    stream = send(failing("decorated"), f"/{place}/value")
    assert stream.status == status
    assert text in {None, stream.text}


@pytest.mark.parametrize(("plugin", "status", "text"), [("init", 500, None), ("init-busy", 503, "later\n")])
def test_a_context_that_cannot_be_made(failing: NewFailing, plugin: str, status: int, text: str | None) -> None:
    """The stream is answered, with the plugin's own Deny if it has one, and the upstream hears nothing of it."""
    host = failing(plugin)
    stream = send(host, "/nowhere/value")
    assert stream.status == status
    assert text in {None, stream.text}
    assert stream.sent is None
    assert count(host, plugin) == 1


def test_a_function_needs_a_context(failing: NewFailing) -> None:
    """Where there is no context to ask it about, a function is not asked, and the stream is denied."""
    host = failing("init-function")
    assert send(host, "/nowhere/value", "continue").status == 500
    assert len(host.log) == 1


def test_tcp(failing: NewFailing) -> None:
    """The connection of a client is closed, after a wait too; what the callback has closed itself stays closed."""
    host = failing("tcp")
    for data in (b"raise", b"close", b"after"):
        connection = host.connect()
        connection.from_client(data)
        host.advance(0.1)
        assert (connection.ended, connection.to_upstream) == (True, b""), data
    assert count(host, "tcp") == 3


def test_tcp_that_continues(failing: NewFailing) -> None:
    """With "continue" the data go on, after a wait too."""
    host = failing("tcp-continue")
    connection = host.connect()
    for data in (b"raise", b"after"):
        connection.from_client(data)
        host.advance(0.1)
    assert (connection.ended, connection.to_upstream) == (False, b"raiseafter")


def test_without_a_stream(failing: NewFailing) -> None:
    """What fails in tasks, ticks, @every, @on_queue, queues and the access log is logged and counted, nothing else."""
    host = failing("elsewhere")
    host.advance(1.5)
    host.plugin.log_request()
    host.advance(1.5)
    names = ["the task Elsewhere.work", "on_tick", "repeat", "work_on", "on_queue_ready", "on_log"]
    told = [re.match("elsewhere: uncaught exception in (.*)\n", line.message) for line in reports(host)]
    assert sorted(match[1] for match in told if match) == sorted(
        "the task Elsewhere.repeat" if name == "repeat" else "the task Elsewhere.work_on" if name == "work_on" else name
        for name in names
    )
    assert count(host, "elsewhere") == len(names)


# How much is logged


def test_one_place_is_logged_once(failing: NewFailing) -> None:
    """Of a thousand exceptions from one place one is logged, and after ten seconds how many others there were."""
    host = failing()
    for _ in range(1000):
        host.request("GET", "/on_http_request_headers/value")
    assert len(reports(host)) == 1
    host.advance(11)
    assert re.fullmatch(
        r"deny: uncaught exception in on_http_request_headers, 999 more times in 10 seconds: "
        r'ValueError, File ".*failing\.py", line \d+',
        reports(host)[1].message,
    )
    host.request("GET", "/on_http_request_headers/value")
    assert VALUE in reports(host)[2].message
    assert count(host) == 1001


def test_a_single_exception_is_not_counted_again(failing: NewFailing) -> None:
    """Where there was no second one, nothing is logged later, and no timer is set."""
    host = failing()
    send(host, "/on_http_request_headers/value")
    host.advance(60)
    assert len(reports(host)) == 1


def test_many_places(failing: NewFailing) -> None:
    """Exceptions whose places and classes a client makes up are told apart up to a bound, and counted beyond it."""
    host = failing()
    for number in range(300):
        host.request("GET", f"/on_http_request_headers/named-{number}")
    assert len(reports(host)) == 65
    host.advance(11)
    assert reports(host)[-1].message == (
        "deny: uncaught exception in more than 64 places, 235 more times in 10 seconds: "
        "the last traceback is of one of them"
    )
    assert count(host) == 300


def test_ways_through_a_recursion_are_one_place(failing: NewFailing) -> None:
    """A recursion whose way depends on the request cannot be used to have each request logged."""
    host = failing()
    for way in range(300):
        host.request("GET", f"/visits/{way}")
    assert len(reports(host)) <= 10
    assert count(host) == 300


def test_a_long_message(failing: NewFailing) -> None:
    """Of a message of a megabyte the beginning and the end are logged."""
    host = failing()
    send(host, "/on_http_request_headers/long")
    assert len(report(host)) < 17_000
    assert re.search(r"x\n… \d+ characters …\nx", report(host))


def test_where_metrics_and_timers_are_forbidden(failing: NewFailing) -> None:
    """In a proxy that allows neither, the log is as ever, but the number of exceptions comes with the next one."""
    host = failing()
    for function in ("define_metric", "set_tick_period_milliseconds"):
        host.fail(function, times=1000)
    for _ in range(3):
        host.request("GET", "/on_http_request_headers/value")
    host.advance(60)
    assert len(reports(host)) == 1
    host.request("GET", "/on_http_request_headers/value")
    assert ", 2 more times in 60 seconds: " in reports(host)[1].message
    assert VALUE in reports(host)[2].message
    assert host.metrics == {}


def test_an_answer_that_the_proxy_refuses(failing: NewFailing) -> None:
    """If not even the refusal is allowed, the request waits, and never passes."""
    host = failing()
    host.fail("send_local_response", times=1000)
    for place in ("on_http_request_headers", "after"):
        stream = send(host, f"/{place}/value")
        assert stream.sent is None
        assert stream.paused == StreamType.HTTP_REQUEST


def test_a_metric_that_comes_late(failing: NewFailing) -> None:
    """What could not be counted at once is counted with the next exception."""
    host = failing()
    host.fail("define_metric")
    send(host, "/on_http_request_headers/value")
    assert count(host) == 0
    send(host, "/after/value")
    assert count(host) == 2
