"""Fails in every place and every way that a request's path names: /place/way.

The plugins differ in what they make of it: "deny", "continue", "busy" (an answer of its own), "function" (the one that
the header x-policy names), "method" (of the plugin), "decorated" (each callback says so itself). "elsewhere" fails
where no stream is near: in timers, queues, the access log.
"""

# Being wrong is what it is for.
# ruff: noqa: BLE001, SIM105
# mypy: disable-error-code="arg-type,no-any-return,unused-awaitable,unused-coroutine,no-untyped-def,no-untyped-call"

from __future__ import annotations

import gc
import warnings
from typing import Any

from pywasmfilter import (
    Action,
    CancelledError,
    Deny,
    GrpcStream,
    HttpContext,
    PluginContext,
    TcpContext,
    every,
    gather,
    hostcalls,
    http_filter,
    log,
    on_error,
    on_queue,
    plugin,
    sleep,
    tcp_filter,
    timeout,
)

# Ways to fail


class BadStr(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class BadNotes(Exception):
    def __getattr__(self, name: str) -> Any:
        raise MemoryError


class BadRuntimeError(RuntimeError):
    def __str__(self) -> str:
        raise SystemExit


class BadMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise LookupError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=BadMeta):
    pass


class BadProperty:
    @property
    def value(self) -> Any:
        raise LookupError("property")


class BadAwaitable:
    def __await__(self) -> Any:
        raise LookupError("await")

    def __del__(self) -> None:
        raise LookupError("del")


def throw(exception: BaseException) -> Any:
    raise exception


def recurse(depth: int, innermost: Any) -> Any:
    return recurse(depth - 1, innermost) if depth else innermost()


def visit_a(depth: int) -> None:
    if depth == 0:
        raise ValueError("a")
    (visit_a if depth & 1 else visit_b)(depth >> 1)


def visit_b(depth: int) -> None:
    if depth == 0:
        raise ValueError("b")
    (visit_a if depth & 1 else visit_b)(depth >> 1)


def hoard(plugin: Any) -> None:
    """Memory that no exception gives back."""
    plugin.kept = []
    while True:
        plugin.kept.append(bytearray(1000))


def exhaust() -> None:
    kept: list[Any] = []
    while True:
        kept.append(bytearray(1000))


def named(name: str) -> Any:
    """An exception of a class and a place of its own."""
    exec(compile(f"class E{name}(Exception): pass\nraise E{name}('text')", f"made-{name}.py", "exec"), {})


WAYS: dict[str, Any] = {
    "value": lambda: throw(ValueError("text")),
    "exit": lambda: throw(SystemExit(1)),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "generator-exit": lambda: throw(GeneratorExit()),
    "stop-iteration": lambda: throw(StopIteration()),
    "stop-async-iteration": lambda: throw(StopAsyncIteration()),
    "cancelled": lambda: throw(CancelledError("by hand")),
    "group": lambda: throw(BaseExceptionGroup("several", [KeyError("k"), KeyboardInterrupt()])),
    "wide-group": lambda: throw(
        ExceptionGroup("wide", [ExceptionGroup("g", [ValueError(i)] * 100) for i in range(100)])
    ),
    "bad-str": lambda: throw(BadStr()),
    "bad-notes": lambda: throw(BadNotes("x")),
    "bad-runtime-error": lambda: throw(BadRuntimeError()),
    "nameless": lambda: throw(Nameless("x")),
    "property": lambda: BadProperty().value,
    "recursion": lambda: recurse(10**9, None),
    "memory": lambda: bytes(2**31 - 100),
    "exhausted": exhaust,
    "long": lambda: throw(ValueError("x" * 1_000_000)),
}

# Places


async def wait() -> None:
    await sleep(0.001)


class Chat(GrpcStream):
    def __init__(self, stream: Failing) -> None:
        self.stream = stream

    @on_error(Deny(504, body="chat\n"))
    def on_initial_metadata(self, metadata: Any) -> None:
        self.stream.at("grpc-metadata")

    def on_message(self, message: bytes) -> None:
        self.stream.at("grpc-message")
        self.stream.resume_http_request()

    def on_close(self, status: int, details: str) -> None:
        self.stream.at("grpc-close")
        self.stream.resume_http_request()


class Failing(HttpContext):
    place = ""
    way = ""
    kept: Any = None

    def at(self, *places: str) -> None:
        """Fail if this is the place."""
        if self.place in places:
            self.fail()

    def fail(self) -> Any:
        return named(self.way[6:]) if self.way.startswith("named-") else WAYS[self.way]()

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Any:
        _, self.place, self.way, *_ = self.request.path.split("/")
        self.policy = self.request.headers.get("x-policy", "")
        self.at("on_http_request_headers")
        begin = PLACES.get(self.place)
        return None if begin is None else begin(self)

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Any:
        self.at("on_http_request_body")
        return BODY_PLACES[self.place](self) if self.place in BODY_PLACES else None

    def on_http_request_trailers(self, num_trailers: int) -> Any:
        self.at("on_http_request_trailers")

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> Any:
        self.at("on_http_response_headers")
        return after(self) if self.place == "response-after" else None

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> Any:
        self.at("on_http_response_body")

    def on_http_response_trailers(self, num_trailers: int) -> Any:
        self.at("on_http_response_trailers")

    def on_http_stream_done(self) -> Any:
        self.at("on_http_stream_done")
        return after(self) if self.place == "done-after" else None

    def on_delete(self) -> Any:
        self.at("on_delete")

    def reply(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.at("reply", "decorated-reply")
        self.resume_http_request()

    @on_error(Deny(503, body="decorated\n"))
    def decorated_reply(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.reply(num_headers, body_size, num_trailers)


HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "upstream")]


def reply(self: Failing) -> Action:
    self.dispatch_http_call("upstream", HEADERS, self.reply)
    return Action.PAUSE


def decorated_reply(self: Failing) -> Action:
    self.dispatch_http_call("upstream", HEADERS, self.decorated_reply)
    return Action.PAUSE


def async_reply(self: Failing) -> Action:
    async def callback(*_: int) -> None: ...

    self.dispatch_http_call("upstream", HEADERS, callback)
    return Action.PAUSE


def grpc_stream(self: Failing) -> Action:
    chat = Chat(self)
    self.open_grpc_stream("grpc", "chat.Chat", "Talk", chat)
    chat.send(b"hello")
    return Action.PAUSE


def grpc_call(self: Failing) -> Action:
    def replied(_reply: Any) -> None:
        self.fail()

    self.dispatch_grpc_call("grpc", "chat.Chat", "Ask", b"hello", replied)
    return Action.PAUSE


async def before(self: Failing) -> None:
    self.fail()


async def after(self: Failing) -> None:
    await wait()
    self.fail()


async def awaited(self: Failing) -> None:
    await self.http_call("upstream")
    self.fail()


async def body(self: Failing) -> None:
    await self.request.body()
    self.fail()


async def too_large(self: Failing) -> None:
    await self.request.body(max_bytes=3)


async def pauses(self: Failing) -> Any:
    await wait()
    return "nonsense"


def answered(self: Failing) -> None:
    self.send_http_response(403, body="mine\n")
    self.fail()


async def answered_after(self: Failing) -> None:
    await wait()
    self.send_http_response(403, body="mine\n")
    self.fail()


def closed(self: Failing) -> None:
    self.close_http_request()
    self.fail()


# Tasks


def task(self: Failing) -> None:
    self.create_task(before(self))


def plugin_task(self: Failing) -> None:
    self.plugin.create_task(after(self))


async def heard(self: Failing) -> None:
    """The exception is raised here, and handled."""
    try:
        await self.create_task(after(self))
    except BaseException as error:
        log.info(f"heard {type(error).__name__}")


async def given_up(self: Failing) -> None:
    """Nobody waits any more when the task fails."""
    work = self.plugin.create_task(slowly(self))
    try:
        async with timeout(0.001):
            await work
    except TimeoutError:
        log.info("given up")


async def slowly(self: Failing) -> None:
    await sleep(0.05)
    self.fail()


async def gathered(self: Failing) -> None:
    await gather(after(self), slowly(self))


async def gathered_stubborn(self: Failing) -> None:
    """The second fails while it is cancelled, since the first has failed."""

    async def stubborn() -> None:
        try:
            await sleep(1)
        finally:
            raise LookupError("stubborn")

    try:
        await gather(after(self), stubborn())
    except BaseException as error:
        log.info(f"heard {type(error).__name__}")


async def gathered_in_vain(self: Failing) -> None:
    gather(before(self))
    await wait()


async def shared(self: Failing) -> None:
    """Two wait for one that fails, and both let it out."""
    work = self.create_task(after(self))

    async def waits() -> None:
        await work

    self.create_task(waits())
    self.create_task(waits())
    await sleep(0.01)


async def callback_of_a_future(self: Failing) -> None:
    """What `when_done` calls fails; who waits after it goes on."""
    work = self.create_task(wait())
    work.when_done(self.fail)
    await work
    log.info("went on")


async def at_the_end(self: Failing) -> None:
    """In `finally`, when the client has gone."""
    try:
        log.info("holding")
        await sleep(100)
    finally:
        self.fail()


def task_at_the_end(self: Failing) -> None:
    self.create_task(at_the_end(self))


async def stubborn(_self: Failing) -> None:
    """Does not want to end."""
    log.info("holding")
    while True:
        try:
            await sleep(100)
        except BaseException:
            pass


async def cancels_itself(self: Failing) -> None:
    work: Any = None

    async def inner() -> None:
        await wait()
        work.cancel()
        await wait()
        log.info("never")

    work = self.create_task(inner())
    await work


async def awaits_nonsense(self: Failing) -> None:
    await BadAwaitable()


async def awaits_a_generator(self: Failing) -> None:
    numbers: Any = (number for number in range(3))
    await numbers


class Yields:
    def __await__(self) -> Any:
        yield 5


async def awaits_what_yields(_self: Failing) -> None:
    await Yields()


async def awaits_twice(self: Failing) -> None:
    once = wait()
    await once
    await once


async def two_tasks_of_one(self: Failing) -> None:
    once = wait()
    self.create_task(once)
    self.create_task(once)
    await wait()


async def deep(self: Failing) -> None:
    """Coroutines in coroutines, as deep as it goes, which then wait."""

    async def down(depth: int) -> None:
        if depth:
            await down(depth - 1)
        await wait()

    await down(100_000)


async def task_in_the_deep(self: Failing) -> None:
    """A task that fails where there is next to no stack to report it."""

    def down() -> None:
        self.create_task(before(self))
        down()

    down()


# What Python raises where nobody can catch it


def unraisable(_self: Failing) -> None:
    BadAwaitable()
    gc.collect()


def never_awaited(self: Failing) -> None:
    wait()


def warns(self: Failing) -> None:
    warnings.warn(f"careful {self.way}", stacklevel=1)


PLACES: dict[str, Any] = {
    "reply": reply,
    "decorated-reply": decorated_reply,
    "async-reply": async_reply,
    "grpc-metadata": grpc_stream,
    "grpc-message": grpc_stream,
    "grpc-close": grpc_stream,
    "grpc-call": grpc_call,
    "before": before,
    "after": after,
    "awaited": awaited,
    "body": body,
    "too-large": too_large,
    "nonsense": pauses,
    "answered": answered,
    "answered-after": answered_after,
    "closed": closed,
    "task": task,
    "plugin-task": plugin_task,
    "heard": heard,
    "given-up": given_up,
    "gathered": gathered,
    "gathered-stubborn": gathered_stubborn,
    "gathered-in-vain": gathered_in_vain,
    "shared": shared,
    "when-done": callback_of_a_future,
    "at-the-end": at_the_end,
    "task-at-the-end": task_at_the_end,
    "stubborn": stubborn,
    "cancels-itself": cancels_itself,
    "awaits-nonsense": awaits_nonsense,
    "awaits-a-generator": awaits_a_generator,
    "awaits-what-yields": awaits_what_yields,
    "awaits-twice": awaits_twice,
    "two-tasks-of-one": two_tasks_of_one,
    "deep": deep,
    "task-in-the-deep": task_in_the_deep,
    "unraisable": unraisable,
    "never-awaited": never_awaited,
    "warns": warns,
    "hoards": lambda self: hoard(self.plugin),
    "visits": lambda self: visit_a(int(self.way)),
    "flood": lambda self: [self.create_task(before(self)) for _ in range(1000)] and None,
}
BODY_PLACES: dict[str, Any] = {"body-after": after}

# Plugins


@http_filter("deny")
class Denies(Failing):
    pass


http_filter("continue", on_error="continue")(Failing)
http_filter("busy", on_error=Deny(503, [("retry-after", "1")], "later\n", grpc_status=14, details="busy"))(Failing)


def resumes(stream: Any, _error: BaseException) -> None:
    stream.resume_http_request()


def answers(stream: Any, error: BaseException) -> Any:
    return stream.send_http_response(418, body=f"{stream.place} {type(error).__name__}\n")


def answers_and_fails(stream: Any, error: BaseException) -> Any:
    answers(stream, error)
    raise LookupError("policy") from error


async def later(stream: Any, error: BaseException) -> None:
    await sleep(0.01)
    answers(stream, error)


async def goes_on_later(stream: Any) -> None:
    await sleep(0.01)
    stream.resume_http_request()


def answers_later(stream: Any, error: BaseException) -> Action:
    stream.create_task(later(stream, error))
    return Action.PAUSE


def resumes_later(stream: Any, _error: BaseException) -> Action:
    stream.create_task(goes_on_later(stream))
    return Action.PAUSE


POLICIES: dict[str, Any] = {
    "none": lambda _stream, _error: None,
    "continue": lambda _stream, _error: Action.CONTINUE,
    "answer": answers,
    "answer, none": lambda stream, error: answers(stream, error) and None,
    "answer, continue": lambda stream, error: answers(stream, error) and Action.CONTINUE,
    "answer, raise": answers_and_fails,
    "raise": lambda _stream, _error: throw(LookupError("policy")),
    "raise again": lambda _stream, error: throw(error),
    "exit": lambda _stream, _error: throw(SystemExit()),
    "recurse": lambda _stream, _error: recurse(10**9, None),
    "text": lambda _stream, _error: "deny",
    "true": lambda _stream, _error: True,
    "seven": lambda _stream, _error: 7,
    "coroutine": later,
    "bad": lambda _stream, _error: BadStr(),
    "close": lambda stream, _error: stream.close_http_request(),
    "resume": resumes,
    "answer later": answers_later,
    "resume later": resumes_later,
}


def chosen(stream: Any, error: BaseException) -> Any:
    log.info(f"policy for {type(error).__name__}")
    return POLICIES[stream.policy](stream, error)


http_filter("function", on_error=chosen)(Failing)


@plugin("method")
class Method(PluginContext):
    http_context = Failing

    def on_error(self, stream: Any, exception: BaseException) -> Any:
        return stream.send_http_response(418, body=f"{self._abi_name} {type(exception).__name__}\n")


class Inherited(Failing):
    @on_error("continue")
    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Any:
        await wait()
        self.place, self.way = self.request.path.split("/")[1:3]
        self.at("on_http_request_headers")

    @on_error(Deny(503, body="body\n"))
    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Any:
        return super().on_http_request_body(body_size, end_of_stream)

    @on_error(answers)
    def on_http_request_trailers(self, num_trailers: int) -> Any:
        return super().on_http_request_trailers(num_trailers)

    @on_error("deny")
    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> Any:
        return super().on_http_response_headers(num_headers, end_of_stream)


@http_filter("decorated", on_error="continue")
class Decorated(Inherited):
    pass


class AtInit(Failing):
    def __init__(self, context_id: int) -> None:
        super().__init__(context_id)
        raise ValueError("in __init__")


http_filter("init")(AtInit)
http_filter("init-busy", on_error=Deny(503, body="later\n"))(AtInit)
http_filter("init-function", on_error=chosen)(AtInit)


@plugin("elsewhere")
class Elsewhere(PluginContext):
    http_context = Failing
    queue = 0

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        self.queue = hostcalls.register_shared_queue("plain")
        self.create_task(self.work())

    async def work(self) -> None:
        await sleep(1)
        hostcalls.set_tick_period_milliseconds(1000)
        hostcalls.enqueue_shared_queue(self.queue, b"x")
        hostcalls.enqueue_shared_queue(hostcalls.resolve_shared_queue("", "marked"), b"x")
        raise ValueError("in a task")

    def on_tick(self) -> None:
        hostcalls.set_tick_period_milliseconds(0)
        raise ValueError("in on_tick")

    @every(2)
    async def repeat(self) -> None:
        await sleep(0.1)
        raise ValueError("in repeat")

    @on_queue("marked")
    async def work_on(self, item: bytes) -> None:
        await sleep(0.1)
        raise ValueError("in work_on")

    def on_queue_ready(self, queue_id: int) -> None:
        raise ValueError("in on_queue_ready")

    def on_log(self) -> None:
        raise ValueError("in on_log")

    async def on_plugin_done(self) -> None:
        await sleep(0.1)
        raise ValueError("in on_plugin_done")


class Connection(TcpContext):
    def on_new_connection(self) -> None:
        self.received = b""

    def on_downstream_data(self, data_size: int, end_of_stream: bool) -> Any:
        data = self.downstream_data.read()
        if data == b"raise":
            raise ValueError("in on_downstream_data")
        if data == b"close":
            self.close_downstream()
            raise ValueError("after close_downstream")
        if data == b"after":
            return self.after()
        return None

    async def after(self) -> None:
        await wait()
        raise ValueError("after a wait")

    def on_upstream_data(self, data_size: int, end_of_stream: bool) -> None:
        if self.upstream_data.read() == b"answer":
            raise ValueError("in on_upstream_data")


tcp_filter("tcp")(Connection)
tcp_filter("tcp-continue", on_error="continue")(Connection)
