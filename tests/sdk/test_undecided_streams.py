"""Streams of a plugin that serves HTTP and TCP: the first callback says which of them it is."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pywasmfilter import HttpContext, PluginContext, TcpContext, plugin
from pywasmfilter._callbacks import METHODS
from pywasmfilter._dispatcher import on_context_create
from pywasmfilter._state import contexts
from tests.sdk.conftest import MemoryHost, begin

KINDS: tuple[type[Any], ...] = (HttpContext, TcpContext)
ENDS = ("on_http_stream_done", "on_stream_done")
DECIDING = [
    (kind, method)
    for kind in KINDS
    for method in METHODS[kind].values()
    if method not in (*ENDS, "on_foreign_function")
]


@pytest.fixture
def seen() -> list[tuple[Any, ...]]:
    """What callbacks were made: (kind, method, context id, *arguments)."""
    return []


@pytest.fixture
def both(seen: list[tuple[Any, ...]]) -> type[PluginContext]:
    """A registered plugin with contexts of both kinds that note down all their callbacks."""

    def noting(kind: type[Any], method: str) -> Any:
        return lambda self, *arguments: seen.append((kind, method, self.context_id, *arguments))

    http, tcp = (
        type(kind.__name__, (kind,), {method: noting(kind, method) for method in METHODS[kind].values()})
        for kind in KINDS
    )
    return plugin("both")(type("Both", (PluginContext,), {"http_context": http, "tcp_context": tcp}))


def arguments_of(kind: type[Any], method: str) -> list[int]:
    """Some arguments, as many as the callback takes."""
    return list(range(10, 10 + len(inspect.signature(getattr(kind, method)).parameters) - 1))


@pytest.mark.parametrize(("kind", "method"), DECIDING)
def test_every_callback_decides(
    host: MemoryHost, both: Any, seen: list[tuple[Any, ...]], kind: type[Any], method: str
) -> None:
    """Whichever comes first, it makes the context of its kind, which hears it and all that follow."""
    begin()
    assert not isinstance(contexts[2], KINDS)
    arguments = arguments_of(kind, method)
    host.run(2, method, *arguments)
    made = contexts[2]
    assert isinstance(made, kind)
    assert (made.context_id, made.plugin) == (2, contexts[1])
    host.run(2, method, *arguments)
    host.run(2, "_on_log")
    assert contexts[2] is made
    end = "on_http_stream_done" if kind is HttpContext else "on_stream_done"
    assert seen == [(kind, method, 2, *arguments)] * 2 + [(kind, end, 2)]


@pytest.mark.parametrize(("protocol", "kind"), [(b"HTTP/1.1", HttpContext), (None, TcpContext)])
def test_the_end_alone_decides_by_the_protocol(
    host: MemoryHost, both: Any, seen: list[tuple[Any, ...]], protocol: bytes | None, kind: type[Any]
) -> None:
    """A stream whose only callback is its end is HTTP if the request has a protocol."""
    if protocol is not None:
        host.properties[b"request\0protocol"] = protocol
    begin()
    host.run(2, "_on_log")
    assert [(entry[0], entry[1]) for entry in seen] == [(kind, ENDS[KINDS.index(kind)])]


def test_a_stream_that_never_said_what_it_is(host: MemoryHost, both: Any, seen: list[tuple[Any, ...]]) -> None:
    """What has no callback but these was nothing for the plugin: no context is made."""
    begin()
    assert host.run(2, "_on_done") is None
    host.run(2, "on_foreign_function", 1, 0)
    host.run(2, "_on_delete")
    assert not isinstance(contexts[2], KINDS)
    assert (seen, host.logged) == ([], [])


def test_streams_decide_each_for_itself(host: MemoryHost, both: Any, seen: list[tuple[Any, ...]]) -> None:
    """Two streams of one plugin may be of different kinds."""
    begin(2)
    begin(3)
    host.run(3, "on_new_connection")
    host.run(2, "on_http_request_headers", 1, True)
    assert isinstance(contexts[2], HttpContext)
    assert isinstance(contexts[3], TcpContext)


def test_one_kind_only_needs_no_decision(host: MemoryHost, both: type[PluginContext]) -> None:
    """A plugin of one kind of stream makes its context when the stream begins."""
    both.tcp_context = None
    assert isinstance(begin(), HttpContext)
    both.http_context, both.tcp_context = None, Connection
    on_context_create(5, 0)
    on_context_create(6, 5)
    assert isinstance(contexts[6], Connection)


class Connection(TcpContext):
    """A connection without callbacks."""


def overriding(on_error: str, result: object) -> None:
    """Register a plugin of both kinds whose new_http_context returns something, or raises it."""

    @plugin("p", on_error=on_error)
    class Overriding(PluginContext):
        tcp_context = Connection

        def new_http_context(self, context_id: int) -> HttpContext | None:
            if isinstance(result, Exception):
                raise result
            return result  # type: ignore[return-value]


def test_a_stream_may_be_ignored_once_it_is_known(host: MemoryHost) -> None:
    """None from new_http_context lets this stream and all its callbacks pass; TCP connections are not affected."""
    overriding("deny", None)
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) is None
    assert contexts[2] is None
    assert host.run(2, "on_http_response_headers", 1, True) is None
    begin(3)
    host.run(3, "on_new_connection")
    assert type(contexts[3]) is Connection
    assert (host.logged, host.calls) == ([], [])


@pytest.mark.parametrize("result", [ArithmeticError("no"), 5])
@pytest.mark.parametrize(("on_error", "answer"), [("deny", 1), ("continue", None)])
def test_a_context_that_cannot_be_made(host: MemoryHost, on_error: str, answer: int | None, result: object) -> None:
    """An exception or a wrong thing refuses the stream in the callback that decides, or lets it pass, as of old."""
    overriding(on_error, result)
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == answer
    assert len(host.responses) == (1 if on_error == "deny" else 0)
    assert str(host.logged[0][1]).startswith("p: uncaught exception in new_http_context\n")
    assert host.run(2, "on_http_request_body", 1, True) == answer


@pytest.mark.parametrize(("on_error", "calls"), [("deny", [("send_local_response", 2, 500)]), ("continue", [])])
def test_an_exception_in_the_callback_that_decides(host: MemoryHost, on_error: str, calls: list[Any]) -> None:
    """It is the new context's exception, and is answered as such."""

    class Failing(HttpContext):
        def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
            raise LookupError

    plugin("p", on_error=on_error)(type("Both", (PluginContext,), {"http_context": Failing, "tcp_context": Connection}))
    begin()
    assert host.run(2, "on_http_request_headers", 1, True) == (1 if calls else 0)
    assert host.calls == calls
    assert str(host.logged[0][1]).startswith("p: uncaught exception in on_http_request_headers\n")
