"""What a filter makes of the proxy's services, in both bodies, with the emulated host in the place of all of them.

It can do what a proxy does rarely: answer in the middle of a call, fail in chosen ways, change shared data between two
calls of the filter.
"""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter.testing import Body, GrpcCall, Host, HttpStream, Response
from tests.e2e.conftest import FILTERS


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Host:
    """A new host with the filter."""
    body: Body = request.param
    host = Host(FILTERS / "services.py", body=body)
    host.clusters["users"] = None
    return host


def ask(host: Host, what: str) -> HttpStream:
    return host.request("GET", f"/{what}")


def answer(stream: HttpStream) -> str:
    assert stream.ended
    assert stream.status == 200
    return stream.text


def test_http_call(host: Host) -> None:
    """A call is sent as the filter says, and its response reaches the stream that waits for it, and no other."""
    first, second = ask(host, "http"), ask(host, "http")
    call = host.http_calls[0]
    assert (call.cluster, call.request.body, call.timeout) == ("users", b"who?", 0.25)
    assert call.request.path == "/user"
    call.reply(Response(200, {"x-name": "ada"}, b"body", {"t": "1"}))
    assert first.ended
    assert not second.ended
    assert first.sent is not None
    assert first.sent.headers["x-user"] == "ada b'body' [('t', '1')]"


def test_http_call_that_fails(host: Host) -> None:
    """Without an answer, the callback hears of no headers, and the status says why."""
    stream = ask(host, "http")
    host.http_calls[0].fail()
    assert answer(stream) == "(11, 'reset')"


def test_http_call_to_an_unknown_cluster(host: Host) -> None:
    """What the proxy refuses at once is an exception where the call is made, which ends the stream with a 500."""
    del host.clusters["users"]
    assert ask(host, "http").status == 500
    assert "BadArgument: proxy_http_call" in host.messages[-1]


def test_reply_to_a_stream_that_is_gone(host: Host) -> None:
    """A reply that comes after its stream has ended reaches nobody, and harms nobody."""
    stream = ask(host, "http")
    stream.abort()
    host.http_calls[0].reply(Response(200, {"x-name": "ada"}))
    assert host.log == []
    assert stream.reset


@pytest.mark.parametrize("status", [0, 7])
def test_grpc_call(host: Host, status: int) -> None:
    """A unary call comes back with its message, or with why it failed."""
    stream = ask(host, "grpc")
    (call,) = host.grpc_calls
    assert (call.method, call.messages) == ("pkg.Users/Get", [b"id"])
    assert call.initial_metadata == {"k": "v"}
    if status:
        call.close(status, "not you")
        assert answer(stream) == "(7, 'not you', b'')"
    else:
        call.send_message(b"reply")
        assert answer(stream) == "(0, '', b'reply')"


def test_grpc_stream(host: Host) -> None:
    """What comes on a stream reaches its owner in order."""
    stream = ask(host, "stream")
    (call,) = host.grpc_calls
    assert call.messages == [b"first"]
    call.send_initial_metadata({"a": "1"})
    call.send_message(b"m1")
    call.send_message(b"")
    call.send_trailing_metadata({})
    call.close(14, "bye")
    events = [("initial", [("a", "1")]), ("message", b"m1"), ("message", b""), ("trailing", []), ("close", 14, "bye")]
    assert answer(stream) == repr(["opened", "sent", *events])


def test_grpc_stream_that_fails_while_it_sends(host: Host) -> None:
    """Metadata that comes in the middle of a send is heard after it, and in the end the stream knows how it ended."""

    def fail(call: GrpcCall) -> None:
        if call.messages:
            call.send_initial_metadata({"a": "1"})
            call.send_trailing_metadata({"b": "2"})
            call.close(14, "lost")

    host.clusters["users"] = fail
    events = [("initial", [("a", "1")]), ("trailing", [("b", "2")]), "sent", ("close", 14, "lost")]
    assert answer(ask(host, "stream")) == repr(["opened", *events])


def test_metadata_of_a_stream_that_is_still_opened(host: Host) -> None:
    """Metadata may come before the filter knows the token: it is nobody's, and the stream works."""
    host.clusters["users"] = lambda call: None if call.messages else call.send_initial_metadata({"a": "1"})
    stream = ask(host, "stream")
    host.grpc_calls[0].close()
    assert answer(stream) == repr(["opened", "sent", ("close", 0, "")])
    assert host.log == []


class Contended(dict[bytes, tuple[bytes, int]]):
    """Shared data of which another VM replaces the value b"1" as soon as somebody has read it."""

    def get(self, key: bytes, default: Any = None) -> Any:
        found = super().get(key, default)
        if found is not None and found[0] == b"1":
            self[key] = b"41", found[1] + 1000
        return found


def test_shared_data(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that another VM was faster than is made again, with what that one wrote."""
    assert answer(ask(host, "shared")) == "b'1'"
    contended = Contended(host.shared(""))
    monkeypatch.setattr(host, "shared", lambda _: contended)
    assert answer(ask(host, "shared")) == "b'42'"


def test_queue(host: Host) -> None:
    """An item that is put into the plugin's queue is announced to the plugin, which takes it out."""
    assert answer(ask(host, "queue")) == "'queued'"
    assert host.messages == ["queue True: b'item'"]
    assert [list(queue.items) for queue in host.queues.values()] == [[]]


def test_metrics(host: Host) -> None:
    """Metrics are counted by the host, under their names with their tags."""
    assert answer(ask(host, "metrics")) == "(1, 5)"
    assert answer(ask(host, "metrics")) == "(2, 5)"
    assert {name: metric.value for name, metric in host.metrics.items()} == {
        "requests_path=metrics": 2,
        "depth": 5,
        "sizes": 0,
    }
    assert host.metrics["sizes"].recorded == [1000, 1000]


def test_tcp(host: Host) -> None:
    """Data that is held back comes again with what follows it, and passes as the filter left it."""
    connection = host.connect()
    connection.from_client("he")
    assert connection.to_upstream == b""
    connection.from_client("llo\n")
    connection.from_upstream("answer")
    assert (connection.to_upstream, connection.to_client) == (b"HELLO\n", b"answer")
    connection.close_client()
    assert host.messages == ["connection done"]


def test_plugin_that_is_not_done_yet(host: Host) -> None:
    """A plugin that puts off its end is gone when it says so, from another callback."""
    host.plugin.shut_down()
    assert host.messages == []
    assert host.plugin.tick_period == 0.001
    host.advance(0.001)
    assert host.messages == ["gone"]
