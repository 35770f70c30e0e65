"""What `on_error` can be and where it can stand, and which exceptions are logged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import (
    Action,
    Deny,
    GrpcStream,
    HttpContext,
    LogLevel,
    PluginContext,
    TcpContext,
    VMContext,
    _callbacks,
    _errors,
    every,
    hostcalls,
    http_filter,
    on_error,
    plugin,
    tcp_filter,
)
from pywasmfilter._dispatcher import on_exception
from pywasmfilter._traceback import ends
from tests.sdk.conftest import MemoryHost, begin
from tests.sdk.test_callouts import run_in

HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "web")]


def fails(*_: object) -> Any:
    """A callback that fails."""
    raise LookupError("x")


def failing() -> type[HttpContext]:
    """A class whose requests fail; one of its own for each test, as emulated hosts look at all that modules have."""
    return type("Stream", (HttpContext,), {"on_http_request_headers": fails})


def messages(host: MemoryHost) -> list[str]:
    return [str(message) for _, message in host.logged]


# Deny


def test_deny_is_a_response(host: MemoryHost) -> None:
    """It goes out as it was made."""
    answer = Deny(503, [("retry-after", "1")], b"later", grpc_status=14, details="busy")
    http_filter("f", on_error=answer)(failing())
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.PAUSE
    assert host.responses == [(503, "busy", b"later", [(b"retry-after", b"1")], 14)]
    assert repr(answer) == "Deny(503)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"status": 199}, ValueError, "200 to 599, not 199"),
        ({"status": 600}, ValueError, "200 to 599, not 600"),
        ({"status": "503"}, TypeError, "Deny: status is a number, not '503'"),
        ({"grpc_status": 17}, ValueError, "0 to 16, or -1 for none, not 17"),
        ({"grpc_status": None}, TypeError, "Deny: grpc_status is a number, not None"),
        ({"body": {"error": 1}}, TypeError, "Deny: body is str or bytes, not {'error': 1}"),
        ({"details": 5}, TypeError, "Deny: details is str or bytes, not 5"),
        ({"headers": [("x", "a\r\nb")]}, ValueError, "must not contain a line break"),
        ({"headers": {"x": "a"}}, TypeError, r"pass \.items\(\)"),
    ],
)
def test_a_deny_that_could_not_be_sent(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """What a proxy would refuse when it is too late is refused when the filter is built."""
    with pytest.raises(error, match=message):
        Deny(**arguments)


# What a policy is

FUNCTIONS: list[Any] = [lambda stream, error: None, functools.partial(fails, 1), fails]


@pytest.mark.parametrize("policy", ["deny", "continue", Deny(503), *FUNCTIONS])
@pytest.mark.parametrize("decorate", [http_filter, tcp_filter, plugin])
def test_policies(host: MemoryHost, decorate: Any, policy: Any) -> None:
    """Both words, a Deny, and functions are policies, for each kind of filter and for each callback."""
    base = {http_filter: HttpContext, tcp_filter: TcpContext, plugin: PluginContext}[decorate]
    decorate("x", on_error=policy)(type("Class", (base,), {}))
    assert on_error(policy)(lambda self: None)._on_error is policy


async def coroutine(_stream: object, _error: object) -> None: ...
def generator(_stream: object, _error: object) -> Any:
    yield


class AsyncMethod(PluginContext):
    on_error = coroutine  # type: ignore[assignment]


@pytest.mark.parametrize("policy", [coroutine, generator, AsyncMethod().on_error])
def test_a_coroutine_is_no_policy(policy: Any) -> None:
    """The proxy waits for the answer: a function that does not give it at once is refused, with what to do instead."""
    with pytest.raises(ValueError, match=r"a plain one.*context\.create_task"):
        on_error(policy)
    with pytest.raises(ValueError, match=r"plugin 'x'.* a plain one"):
        http_filter("x", on_error=policy)(type("Stream", (HttpContext,), {}))


def test_a_method_that_is_a_coroutine_is_refused() -> None:
    """The same for `on_error` in the body of a plugin."""
    with pytest.raises(ValueError, match=r"plugin 'x'.* a plain one"):
        plugin("x")(AsyncMethod)


@pytest.mark.parametrize("policy", [Deny, ValueError, None, 503, "Continue", b"deny"])
def test_what_is_no_policy(policy: Any) -> None:
    """A class is none, the class Deny for instance; nor is a number or another word."""
    with pytest.raises(ValueError, match='@on_error: on_error is "deny", "continue", a Deny or a function, not '):
        on_error(policy)


@pytest.mark.parametrize("answer", [5, -1, True, "deny", [], object()])
def test_what_a_function_cannot_answer(host: MemoryHost, answer: object) -> None:
    """An answer that is none denies, and the log shows it."""
    http_filter("f", on_error=lambda _stream, _error: answer)(failing())  # type: ignore[arg-type,return-value]
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.PAUSE
    assert [response[0] for response in host.responses] == [500]
    assert "f: uncaught exception in on_error\n" in messages(host)[1]
    assert f"TypeError: on_error returned {answer!r}, not an Action or None" in messages(host)[1]


def test_a_function_of_another_number_of_arguments(host: MemoryHost) -> None:
    """A function that cannot be called as it is called denies, and the log says so."""
    http_filter("f", on_error=lambda _error: None)(failing())  # type: ignore[arg-type,misc]
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.PAUSE
    assert "takes 1 positional argument but 2 were given" in messages(host)[1]


def test_a_function_that_pauses(host: MemoryHost) -> None:
    """What it pauses can be resumed later, as what a callback has paused."""
    http_filter("f", on_error=lambda _stream, _error: Action.PAUSE)(failing())
    stream = begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.PAUSE
    assert host.responses == []
    run_in(host, 1, "on_tick", stream.resume_http_request)
    assert ("continue_stream", 2, 0) in host.calls


# Where @on_error stands


def test_the_next_callback_of_the_class_counts(host: MemoryHost) -> None:
    """What a class inherits keeps its @on_error; what it overrides has its own, or the plugin's."""

    class Base(HttpContext):
        on_http_request_headers = on_error("continue")(lambda self, *_: fails())
        on_http_request_body = on_error("continue")(lambda self, *_: fails())

    @http_filter("f")
    class Stream(Base):
        def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Any:
            return super().on_http_request_body(body_size, end_of_stream)

    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.CONTINUE
    assert host.run(2, "on_http_request_body", 1, True) == Action.PAUSE


def timed(function: Any) -> Any:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


CONTINUES = on_error("continue")


@pytest.mark.parametrize("decorate", [lambda f: CONTINUES(timed(f)), lambda f: timed(CONTINUES(f))])
def test_other_decorators(host: MemoryHost, decorate: Callable[[Any], Any]) -> None:
    """It may stand above or below other decorators, if those are made with functools.wraps."""
    http_filter("f")(type("Stream", (HttpContext,), {"on_http_request_headers": decorate(lambda self, *_: fails())}))
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.CONTINUE


def test_it_counts_in_mixins(host: MemoryHost) -> None:
    """A class that is no context itself may have it."""
    mixin = type("Mixin", (), {"on_http_request_headers": on_error("continue")(lambda self, *_: fails())})
    http_filter("f")(type("Stream", (mixin, HttpContext), {}))
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == Action.CONTINUE


@pytest.mark.parametrize("wrong", [staticmethod(fails), classmethod(fails), property(fails), "text"])
def test_what_cannot_be_decorated(wrong: Any) -> None:
    """It is for functions: what only becomes one when it is looked up would lose it."""
    with pytest.raises(TypeError, match="stands below @staticmethod"):
        on_error("continue")(wrong)


def test_twice() -> None:
    """Two at one callback contradict each other; nor may a subclass change what its base's function says."""
    callback = on_error("continue")(lambda self, *_: None)
    with pytest.raises(TypeError, match="there is another @on_error"):
        on_error("deny")(callback)


WITHOUT_A_STREAM = [
    (PluginContext, "on_tick"),
    (PluginContext, "on_plugin_start"),
    (PluginContext, "on_queue_ready"),
    (PluginContext, "on_log"),
    (VMContext, "on_vm_start"),
    (HttpContext, "on_http_stream_done"),
    (HttpContext, "on_delete"),
    (TcpContext, "on_downstream_close"),
    (TcpContext, "on_stream_done"),
]


@pytest.mark.parametrize(("base", "name"), WITHOUT_A_STREAM)
def test_callbacks_that_answer_nothing(base: type[Any], name: str) -> None:
    """Where no stream waits for the answer, it could have no effect, and the build says so."""
    made = type("Made", (base,), {name: on_error("continue")(lambda self, *_: None)})
    with pytest.raises(TypeError, match=f"Made.{name}: @on_error is for callbacks in which a stream waits"):
        _callbacks.check_names(made, base)


def test_marked_methods_answer_nothing() -> None:
    """The same for @every, on whichever side of it."""
    method = every(1)(on_error("continue")(lambda self: None))
    with pytest.raises(TypeError, match=r"Made\.repeat: @on_error is for callbacks"):
        _callbacks.check_names(type("Made", (PluginContext,), {"repeat": method}), PluginContext)


@pytest.mark.parametrize("base", [HttpContext, TcpContext])
@pytest.mark.parametrize("value", ["continue", fails])
def test_a_streams_class_has_no_policy(base: type[Any], value: object) -> None:
    """`on_error` in the body of a stream's class would be overlooked; the build says where it belongs."""
    with pytest.raises(TypeError, match=r"Made\.on_error: .*@http_filter"):
        _callbacks.check_names(type("Made", (base,), {"on_error": value}), base)


def test_callbacks_of_streams_are_decorated(host: MemoryHost) -> None:
    """All those that answer may have it, and so may other methods, which may be callbacks of calls."""
    callback = on_error("continue")(lambda self, *_: None)
    names = ["on_http_request_headers", "on_http_response_metadata", "reply"]
    _callbacks.check_names(type("Http", (HttpContext,), dict.fromkeys(names, callback)), HttpContext)
    names = ["on_new_connection", "on_downstream_data", "on_upstream_data", "reply"]
    _callbacks.check_names(type("Tcp", (TcpContext,), dict.fromkeys(names, callback)), TcpContext)
    _callbacks.check_names(type("Grpc", (GrpcStream,), {"on_message": callback}), GrpcStream)


@pytest.mark.parametrize("policy", ["deny", "continue"])
def test_the_callback_of_a_call(host: MemoryHost, policy: str) -> None:
    """Its own @on_error counts before the plugin's."""
    http_filter("f", on_error=Deny(503))(type("Stream", (HttpContext,), {}))
    begin()
    callback = on_error(policy)(lambda *_: fails())
    token = run_in(host, 2, "on_http_request_headers", lambda: hostcalls.dispatch_http_call("web", HEADERS, callback))
    host.reply(token, "_on_http_call_response", 1, 0, 0)
    assert [response[0] for response in host.responses] == ([500] if policy == "deny" else [])


def test_a_coroutine_as_the_callback_of_a_call(host: MemoryHost) -> None:
    """Nobody would run it: it is refused where the call is made."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin()

    async def callback(*_: int) -> None: ...

    def call() -> None:
        with pytest.raises(TypeError, match="the callback of proxy_http_call is a plain function"):
            hostcalls.dispatch_http_call("web", HEADERS, callback)

    run_in(host, 2, "on_http_request_headers", call)


# Reports


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("it did not raise")


def one() -> None:
    raise ValueError("one")


def test_places_are_told_apart(host: MemoryHost) -> None:
    """By callback, class and line; not by the message."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()
    for number in range(5):
        on_exception(stream, "on_http_request_headers", raised(lambda number=number: int(f"x{number}")))  # type: ignore[misc]
    assert len(host.logged) == 1
    on_exception(stream, "on_http_request_headers", raised(one))
    on_exception(stream, "on_http_request_body", raised(one))
    assert len(host.logged) == 3
    assert all(level == LogLevel.ERROR for level, _ in host.logged)


def test_the_number_comes_later(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer is set for the first one that is not logged, and tells how many there were; then all begins anew."""
    now = [0]
    monkeypatch.setattr("time.monotonic_ns", lambda: now[0])
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()
    on_exception(stream, "on_http_request_headers", raised(one))
    assert [call for call in host.calls if "tick" in call[0]] == []
    now[0] = 4_000_000_000
    on_exception(stream, "on_http_request_headers", raised(one))
    assert [call for call in host.calls if "tick" in call[0]] == [("set_tick_period_milliseconds", 1, 6000)]
    now[0] = 10_000_000_000
    host.run(1, "_on_tick")
    assert messages(host)[1].startswith(
        "f: uncaught exception in on_http_request_headers, 1 more time in 10 seconds: ValueError, File "
    )
    assert stream.plugin._abi_reports._places == {}
    on_exception(stream, "on_http_request_headers", raised(one))
    assert messages(host)[2].endswith("ValueError: one")


def test_a_metric_for_each_plugin(host: MemoryHost) -> None:
    """Every exception is counted, logged or not."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()
    for _ in range(7):
        on_exception(stream, "on_http_request_headers", raised(one))
    assert host.values[b"pywasmfilter_exceptions_plugin=f"] == 7


def test_an_exception_that_nobody_can_catch(host: MemoryHost) -> None:
    """What Python has no place for goes to the plugin of the context that runs, or else to any."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin()
    error = raised(one)
    unraisable = type("Unraisable", (), {"exc_value": error, "exc_type": ValueError, "object": None})
    run_in(host, 2, "on_http_request_headers", lambda: _errors.report_unraisable(unraisable))
    _errors.report_unraisable(unraisable)
    assert len(host.logged) == 1
    assert messages(host)[0].startswith("f: uncaught exception in a finalizer\n")
    assert host.values[b"pywasmfilter_exceptions_plugin=f"] == 2


def test_reporting_never_raises(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is not even a log, the callback's answer is given all the same, and the log is told later."""
    http_filter("f", on_error="continue")(type("Stream", (HttpContext,), {}))
    stream = begin()
    with monkeypatch.context() as patched:
        patched.setattr(host, "log", fails)
        assert on_exception(stream, "on_http_request_headers", raised(one)) == Action.CONTINUE
    stream.plugin._abi_reports._told_lost = -(10**18)
    on_exception(stream, "on_http_request_body", raised(one))
    assert messages(host)[0] == "f: uncaught exceptions that cannot be described: 1"


def test_where_an_exception_came_from(host: MemoryHost) -> None:
    """The first frame of the user's code and the last two count, and the innermost one: not what lies between."""

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        one()

    def other() -> None:
        deep(3)

    def below(function: Callable[[], object]) -> tuple[tuple[str, int, str], ...]:
        error = raised(function)
        assert error.__traceback__ is not None
        return ends(error.with_traceback(error.__traceback__.tb_next))

    near, far = (below(functools.partial(deep, depth)) for depth in (3, 300))
    assert near == far
    assert near != below(other)
    assert near != below(one)
    assert ends(ValueError()) == (("", 0, ""),) * 4
