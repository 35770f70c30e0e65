"""Raises exceptions in every place there is.

The plugins "deny" and "continue" raise in the callback that the path names first, the exception that it names second:
/on_http_request_headers/value. /mark/N logs "mark N", and lets the next exception be logged. The other plugins raise in
the place that gives them their name, when the request asks for it or, where no request is near, always.
"""

# Being wrong is what it is for.
# mypy: disable-error-code="arg-type,index,no-any-return"
# ruff: noqa: B904, PLE0307

from __future__ import annotations

from typing import Any

from pywasmfilter import HttpContext, PluginContext, hostcalls, http_filter, log, plugin
from pywasmfilter._state import contexts


class BadStr(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class NoText(Exception):
    def __str__(self) -> Any:
        return 5


def chained() -> None:
    try:
        {}["inner"]
    except KeyError as error:
        raise ValueError("outer") from error


def during() -> None:
    try:
        {}["inner"]
    except KeyError:
        raise ValueError("outer")


def noted() -> None:
    error = ValueError("text")
    error.add_note("a note")
    error.__notes__.append(BadStr())
    raise error


def grouped() -> None:
    raise ExceptionGroup("several", [ValueError("first"), TypeError("second")])


def circular() -> None:
    first, second = ValueError("first"), TypeError("second")
    first.__context__, second.__context__ = second, first
    raise first


def deep(depth: int) -> None:
    if depth:
        deep(depth - 1)
    raise ValueError("deep")


def throw(exception: BaseException) -> None:
    raise exception


WAYS: dict[str, Any] = {
    "value": lambda: throw(ValueError("text")),
    "exit": lambda: throw(SystemExit(1)),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "generator-exit": lambda: throw(GeneratorExit()),
    "stop-iteration": lambda: throw(StopIteration()),
    "bad-str": lambda: throw(BadStr()),
    "no-text": lambda: throw(NoText()),
    "surrogates": lambda: throw(ValueError("\ud800\udc80\0")),
    "assertion": lambda: throw(AssertionError()),
    "syntax": lambda: compile("a b", "made.py", "exec"),
    "chained": chained,
    "during": during,
    "noted": noted,
    "grouped": grouped,
    "circular": circular,
    "deep": lambda: deep(100),
    "recursion": lambda: deep(10**9),
    "memory": lambda: bytes(2**31 - 100),
}

RETURNS: dict[str, Any] = {
    "text": "abc",
    "float": 3.5,
    "huge": 10**30,
    "seven": 7,
    "negative": -1,
    "list": [1],
    "object": BadStr(),
    "true": True,
    "zero": 0,
}


def log_anew() -> None:
    """Let the next exception be logged, of every plugin, even if there was one like it a moment ago."""
    for context in contexts.values():
        if isinstance(context, PluginContext):
            context._abi_reports._places.clear()


class Raises(HttpContext):
    place = ""
    way = ""

    def act(self, place: str) -> Any:
        if place != self.place:
            return None
        if self.way in RETURNS:
            return RETURNS[self.way]
        return WAYS[self.way]()

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        _, self.place, self.way = self.request.path.split("/")
        if self.place == "mark":
            log_anew()
            log.info(f"mark {self.way}")
        return self.act("on_http_request_headers")

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int | None:
        return self.act("on_http_request_body")

    def on_http_request_trailers(self, num_trailers: int) -> int | None:
        return self.act("on_http_request_trailers")

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        return self.act("on_http_response_headers")

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> int | None:
        return self.act("on_http_response_body")

    def on_http_response_trailers(self, num_trailers: int) -> int | None:
        return self.act("on_http_response_trailers")

    def on_http_stream_done(self) -> None:
        self.act("on_http_stream_done")


@http_filter("deny")
class Deny(Raises):
    pass


@http_filter("continue", on_error="continue")
class Continue(Raises):
    pass


class Turns(HttpContext):
    """The first stream waits, the second turns to it and fails."""

    waiting: int | None = None

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        if Turns.waiting is None:
            Turns.waiting = self.context_id
            log.info("the first waits")
            return 1
        hostcalls.set_effective_context(Turns.waiting)
        hostcalls.resume_http_request()
        raise ValueError("turned away")


http_filter("turns")(Turns)


class AtInit(HttpContext):
    def __init__(self, context_id: int) -> None:
        super().__init__(context_id)
        raise ValueError("in __init__")

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        log.info("never")


http_filter("init")(AtInit)
http_filter("init-continue", on_error="continue")(AtInit)


@plugin("new")
class AtNew(PluginContext):
    def new_http_context(self, context_id: int) -> HttpContext:
        raise SystemExit("in new_http_context")


@plugin("new-wrong")
class NewWrong(PluginContext):
    def new_http_context(self, context_id: int) -> Any:
        return "a text"


@plugin("new-none")
class NewNone(PluginContext):
    def new_http_context(self, context_id: int) -> None:
        return None


@plugin("tick")
class AtTick(PluginContext):
    ticks = 0

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        hostcalls.set_tick_period_milliseconds(10)

    def on_tick(self) -> Any:
        self.ticks += 1
        if self.ticks == 2:
            hostcalls.set_tick_period_milliseconds(0)
            return "ignored"
        raise ValueError(f"in tick {self.ticks}")


@plugin("start")
class AtStart(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> Any:
        if self.plugin_configuration == b"refuse":
            return False
        if self.plugin_configuration == b"text":
            return "yes"
        raise ValueError(f"configuration {self.plugin_configuration!r} is bad")


@plugin("construct")
class AtConstruct(PluginContext):
    def __init__(self) -> None:
        raise ValueError("in the constructor")


@plugin("done")
class AtDone(PluginContext):
    def on_plugin_done(self) -> bool:
        raise ValueError("in on_plugin_done")
