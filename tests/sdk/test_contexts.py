"""Streams of both kinds: what their callbacks get, and that they act on themselves wherever they are called from."""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter import (
    Action,
    BadArgument,
    BufferType,
    HttpContext,
    MisuseError,
    PeerType,
    PluginContext,
    StreamType,
    TcpContext,
    Unimplemented,
    hostcalls,
    http_filter,
    plugin,
    tcp_filter,
)
from pywasmfilter._callbacks import METHODS
from pywasmfilter._state import contexts
from tests.sdk.conftest import MemoryHost, begin

TCP_CALLBACKS = [name for name in METHODS[TcpContext].values() if name != "on_foreign_function"]


class Stream(HttpContext):
    """An HTTP stream without callbacks."""


class Connection(TcpContext):
    """A TCP connection without callbacks."""


# TCP connections


def test_a_connection_from_its_beginning_to_its_end(host: MemoryHost) -> None:
    """Each callback gets the ABI's arguments; data is read and changed where it comes."""
    seen: list[object] = []

    @tcp_filter("t")
    class Rewriting(TcpContext):
        def on_new_connection(self) -> Action:
            seen.append("new")
            return Action.CONTINUE

        def on_downstream_data(self, data_size: int, end_of_stream: bool) -> Action:
            seen.append((data_size, end_of_stream, self.downstream_data.read()))
            self.downstream_data.append("!")
            return Action.PAUSE

        def on_upstream_data(self, data_size: int, end_of_stream: bool) -> None:
            seen.append((data_size, end_of_stream, bytes(self.upstream_data)))
            self.upstream_data.replace(b"")

        def on_downstream_close(self, peer_type: int) -> None:
            seen.append(PeerType(peer_type))

        def on_upstream_close(self, peer_type: int) -> None:
            seen.append(PeerType(peer_type))

        def on_stream_done(self) -> None:
            seen.append("done")

    assert type(begin()) is Rewriting
    host.buffers = {BufferType.DOWNSTREAM_DATA: b"ping", BufferType.UPSTREAM_DATA: b"pong"}
    answers = [
        host.run(2, "on_new_connection"),
        host.run(2, "on_downstream_data", 4, False),
        host.run(2, "on_upstream_data", 4, True),
    ]
    assert answers == [0, 1, None]
    host.run(2, "on_downstream_close", 2)
    host.run(2, "on_upstream_close", 0)
    host.run(2, "_on_log")
    assert seen == ["new", (4, False, b"ping"), (4, True, b"pong"), PeerType.REMOTE, PeerType.UNKNOWN, "done"]
    assert host.buffers == {BufferType.DOWNSTREAM_DATA: b"ping!", BufferType.UPSTREAM_DATA: b""}


def test_a_connections_constructor_may_keep_to_itself(host: MemoryHost) -> None:
    """A connection whose __init__ does not call the base's has its id and its plugin all the same."""
    tcp_filter("t")(type("Silent", (TcpContext,), {"__init__": lambda _self, _context_id: None}))
    connection = begin()
    assert (connection.context_id, connection.plugin) == (2, contexts[1])


def test_connections_do_nothing_by_themselves(host: MemoryHost) -> None:
    """Every callback of the base answers None and calls no host."""
    connection = TcpContext(1)
    arguments = {"on_new_connection": 0, "on_stream_done": 0, "on_downstream_close": 1, "on_upstream_close": 1}
    for name in TCP_CALLBACKS:
        assert getattr(connection, name)(*[0] * arguments.get(name, 2)) is None
    assert connection._on_done() is None
    connection._on_log()
    connection.on_delete()
    connection.on_foreign_function(1, 0)
    assert (host.calls, host.logged) == ([], [])


@pytest.mark.parametrize("method", TCP_CALLBACKS)
@pytest.mark.parametrize("on_error", ["deny", "continue"])
def test_a_connections_callback_fails_by_its_policy(host: MemoryHost, method: str, on_error: str) -> None:
    """The policy "deny" closes the client's connection and pauses, "continue" continues; what is over stays over."""

    def fail(*_: object) -> None:
        raise ValueError("bad")

    tcp_filter("t", on_error=on_error)(type("Failing", (TcpContext,), {method: fail}))
    begin()
    denied = on_error == "deny" and method in ("on_new_connection", "on_downstream_data", "on_upstream_data")
    answer = host.run(2, "_on_log" if method == "on_stream_done" else method)
    assert answer == (1 if denied else 0)
    assert host.calls == ([("close_stream", 2, 2)] if denied else [])
    assert host.responses == []
    assert str(host.logged[0][1]).endswith("ValueError: bad")
    assert str(host.logged[0][1]).startswith("t: uncaught exception in ")


# A stream's methods act on the stream, also from another context's callback


@pytest.mark.parametrize(
    ("kind", "method", "call"),
    [
        (Stream, "resume_http_request", ("continue_stream", 2, 0)),
        (Stream, "resume_http_response", ("continue_stream", 2, 1)),
        (Stream, "close_http_request", ("close_stream", 2, 0)),
        (Stream, "close_http_response", ("close_stream", 2, 1)),
        (Connection, "resume_downstream", ("continue_stream", 2, 2)),
        (Connection, "close_downstream", ("close_stream", 2, 2)),
        (Connection, "close_upstream", ("close_stream", 2, 3)),
    ],
)
def test_streams_act_on_themselves(host: MemoryHost, kind: Any, method: str, call: tuple[Any, ...]) -> None:
    """In a callback of another stream and of the plugin the stream is meant that the method is called of.

    Afterwards calls act on the callback's own context again. A stream that is gone is an error.
    """
    (http_filter if kind is Stream else tcp_filter)("f")(type("Sub", (kind,), {}))
    stream, _ = begin(2), begin(3)
    stream._abi_paused = 0b1111
    for running in (1, 2, 3):
        host.running, host.call_number = (running, running), running
        getattr(stream, method)()
        assert host.get_effective_context() == running
    assert host.calls == [call] * 3
    del contexts[2]
    host.running = (1, 1)
    with pytest.raises(BadArgument, match="no context with this id any more"):
        getattr(stream, method)()
    assert host.get_effective_context() == 1


def test_a_response_that_is_not_paused_cannot_be_resumed(host: MemoryHost) -> None:
    """Envoy breaks down if there is no response yet, so the SDK asks for a response callback that answered PAUSE."""
    http_filter("f")(type("Paused", (Stream,), {"on_http_response_headers": lambda *_: Action.PAUSE}))
    stream = begin(2)
    with pytest.raises(MisuseError, match="HTTP_RESPONSE is not paused"):
        stream.resume_http_response()
    assert host.calls == []
    host.run(2, "on_http_response_headers", 1, True)
    stream.resume_http_response()
    assert host.calls == [("continue_stream", 2, StreamType.HTTP_RESPONSE)]


def test_envoy_cannot_resume_an_upstream(host: MemoryHost) -> None:
    """resume_upstream raises what the proxy answers, and turns back to the callback's context."""
    tcp_filter("t")(Connection)
    connection = begin()
    host.running = (1, 1)
    with pytest.raises(Unimplemented):
        connection.resume_upstream()
    assert host.get_effective_context() == 1


def test_a_postponed_request_is_answered_from_a_tick(host: MemoryHost) -> None:
    """Of two paused requests each is answered by itself; `answered` is True of what was."""
    http_filter("f")(Stream)
    first, second = begin(2), begin(3)

    def tick() -> None:
        assert second.send_http_response(503, body="busy") == Action.PAUSE

    contexts[1].on_tick = tick
    host.run(1, "on_tick")
    assert host.calls == [("send_local_response", 3, 503)]
    assert (first.answered, second.answered, HttpContext.answered) == (False, True, False)


def test_a_response_that_is_refused_is_no_answer(host: MemoryHost) -> None:
    """After an error of the arguments the stream has not been answered."""
    http_filter("f")(Stream)
    stream = begin()
    with pytest.raises(ValueError, match="200 to 599"):
        stream.send_http_response(99)
    assert (stream.answered, host.get_effective_context(), host.responses) == (False, 0, [])


@pytest.mark.parametrize(
    ("kind", "use", "words"),
    [
        (Stream, hostcalls.close_downstream, "proxy_close_stream of a stream of type DOWNSTREAM .* of Stream"),
        (Stream, hostcalls.resume_upstream, "proxy_continue_stream of a stream of type UPSTREAM .* of Stream"),
        (Connection, hostcalls.resume_http_request, "of a stream of type HTTP_REQUEST .* of Connection"),
        (Connection, lambda: hostcalls.send_http_response(200), "proxy_send_local_response .* of Connection"),
    ],
)
def test_the_wrong_kind_of_stream_is_misuse(host: MemoryHost, kind: Any, use: Any, words: str) -> None:
    """A host says OK and does nothing, so the SDK raises, with both kinds in the message."""
    (http_filter if kind is Stream else tcp_filter)("f")(kind)
    begin()
    host.running = (2, 2)
    with pytest.raises(MisuseError, match=words):
        use()
    assert host.calls == []


# Exceptions and streams


@pytest.mark.parametrize(("on_error", "calls"), [("deny", [("send_local_response", 2, 500)]), ("continue", [])])
def test_an_exception_answers_its_own_stream(host: MemoryHost, on_error: str, calls: list[Any]) -> None:
    """A callback that turned to another stream before it failed is answered for its own, which then is `answered`."""

    @http_filter("f", on_error=on_error)
    class Turning(HttpContext):
        def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
            hostcalls.set_effective_context(3)
            raise LookupError

    first, second = begin(2), begin(3)
    assert host.run(2, "on_http_request_headers", 1, True) == (1 if calls else 0)
    assert host.calls == calls
    assert (first.answered, second.answered) == (bool(calls), False)


def test_an_exception_of_another_kind_is_the_plugins(host: MemoryHost) -> None:
    """What fails in a callback of the plugin is logged and touches no stream, even if it turned to one."""

    class Root(PluginContext):
        http_context = Stream

        def on_tick(self) -> None:
            hostcalls.set_effective_context(2)
            raise LookupError

    plugin("p")(Root)
    begin()
    assert host.run(1, "on_tick") == 0
    assert (host.calls, len(host.logged)) == ([], 1)
