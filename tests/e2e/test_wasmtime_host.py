"""What a filter makes of the proxy's services, with a host in wasmtime in the place of the proxy and of the services.

That host can do what a proxy does rarely: answer in the middle of a call, fail in chosen ways, change shared data
between two calls of the filter.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import FilterBuilder
from tests.e2e.hosts.abi import StreamType
from tests.e2e.hosts.host_functions import GrpcCall
from tests.e2e.hosts.streams import HttpStream, Message
from tests.e2e.hosts.wasmtime_host import WasmtimeHost


@pytest.fixture
def host(build_filter: FilterBuilder) -> WasmtimeHost:
    """A new VM with the filter."""
    return WasmtimeHost(build_filter("services").path)


def ask(host: WasmtimeHost, what: str) -> HttpStream:
    return host.http(Message([(b":method", b"GET"), (b":path", f"/{what}".encode()), (b":authority", b"test")]))


def answer(stream: HttpStream) -> str:
    assert stream.ended
    assert stream.response.passed.header(b":status") == [b"200"]
    return stream.response.passed.body.decode()


def test_http_call(host: WasmtimeHost) -> None:
    """A call is sent as the filter says, and its response reaches the stream that waits for it, and no other."""
    first, second = ask(host, "http"), ask(host, "http")
    call = host.http_calls[min(host.http_calls)]
    assert (call.cluster, call.body, call.timeout_milliseconds) == (b"users", b"who?", 250)
    assert dict(call.headers)[b":path"] == b"/user"
    host.http_call_response(call.token, Message([(b"x-name", b"ada")], [b"body"], [(b"t", b"1")]))
    assert first.ended
    assert not second.ended
    assert first.request.passed.header(b"x-user") == [b"ada b'body' [('t', '1')]"]


def test_http_call_that_fails(host: WasmtimeHost) -> None:
    """Without an answer, the callback hears of no headers, and the status says why."""
    stream = ask(host, "http")
    (token,) = host.http_calls
    host.http_call_response(token, Message())
    assert answer(stream) == "(11, 'reset')"


def test_http_call_to_an_unknown_cluster(host: WasmtimeHost) -> None:
    """What the proxy refuses at once is an exception where the call is made, which ends the stream with a 500."""
    host.clusters = set()
    stream = ask(host, "http")
    assert stream.response.passed.header(b":status") == [b"500"]
    assert "BadArgument: proxy_http_call" in host.log[-1].message


def test_reply_to_a_stream_that_is_gone(host: WasmtimeHost) -> None:
    """A reply that comes after its stream has ended reaches nobody, and harms nobody."""
    stream = ask(host, "http")
    (token,) = host.http_calls
    stream.close(StreamType.HTTP_REQUEST)
    host.http_call_response(token, Message([(b"x-name", b"ada")]))
    assert host.log == []
    assert stream.reset


@pytest.mark.parametrize("status", [0, 7])
def test_grpc_call(host: WasmtimeHost, status: int) -> None:
    """A unary call comes back with its message, or with why it failed."""
    stream = ask(host, "grpc")
    (call,) = host.grpc_calls.values()
    assert (call.service_name, call.method, call.messages) == (b"pkg.Users", b"Get", [b"id"])
    assert call.initial_metadata == [(b"k", b"v")]
    if status:
        host.grpc_closed(call.token, status, b"not you")
        assert answer(stream) == "(7, 'not you', b'')"
    else:
        host.grpc_message(call.token, b"reply")
        assert answer(stream) == "(0, '', b'reply')"


def test_grpc_stream(host: WasmtimeHost) -> None:
    """What comes on a stream reaches its owner in order."""
    stream = ask(host, "stream")
    (call,) = host.grpc_calls.values()
    assert call.messages == [b"first"]
    host.grpc_initial_metadata(call.token, [(b"a", b"1")])
    host.grpc_message(call.token, b"m1")
    host.grpc_message(call.token, b"")
    host.grpc_trailing_metadata(call.token, [])
    host.grpc_closed(call.token, 14, b"bye")
    events = [("initial", [("a", "1")]), ("message", b"m1"), ("message", b""), ("trailing", []), ("close", 14, "bye")]
    assert answer(stream) == repr(["opened", "sent", *events])


def test_grpc_stream_that_fails_while_it_sends(host: WasmtimeHost) -> None:
    """Metadata that comes in the middle of a send is heard after it, and in the end the stream knows how it ended."""

    def fail(call: GrpcCall) -> None:
        if call.messages:
            host.grpc_initial_metadata(call.token, [(b"a", b"1")])
            host.grpc_trailing_metadata(call.token, [(b"b", b"2")])
            host.grpc_closed(call.token, 14, b"lost")

    host.on_grpc = fail
    events = [("initial", [("a", "1")]), ("trailing", [("b", "2")]), "sent", ("close", 14, "lost")]
    assert answer(ask(host, "stream")) == repr(["opened", *events])


def test_metadata_of_a_stream_that_is_still_opened(host: WasmtimeHost) -> None:
    """Metadata may come before the filter knows the token: it is nobody's, and the stream works."""
    host.on_grpc = lambda call: None if call.messages else host.grpc_initial_metadata(call.token, [(b"a", b"1")])
    stream = ask(host, "stream")
    (token,) = host.grpc_calls
    host.grpc_closed(token, 0)
    assert answer(stream) == repr(["opened", "sent", ("close", 0, "")])
    assert host.log == []


class Contended(dict[bytes, tuple[bytes, int]]):
    """Shared data of which another VM replaces the value b"1" as soon as somebody has read it."""

    def get(self, key: bytes, default: Any = None) -> Any:
        found = super().get(key, default)
        if found is not None and found[0] == b"1":
            self[key] = b"41", found[1] + 1000
        return found


def test_shared_data(host: WasmtimeHost) -> None:
    """An update that another VM was faster than is made again, with what that one wrote."""
    assert answer(ask(host, "shared")) == "b'1'"
    host.shared_data = Contended(host.shared_data)
    assert answer(ask(host, "shared")) == "b'42'"


def test_queue(host: WasmtimeHost) -> None:
    """An item that is put into the plugin's queue is announced to the plugin, which takes it out."""
    assert answer(ask(host, "queue")) == "'queued'"
    assert [line.message for line in host.log] == ["queue True: b'item'"]
    assert [list(queue.items) for queue in host.queues.values()] == [[]]


def test_metrics(host: WasmtimeHost) -> None:
    """Metrics are counted by the host, under their names with their tags."""
    assert answer(ask(host, "metrics")) == "(1, 5)"
    assert answer(ask(host, "metrics")) == "(2, 5)"
    assert {name: metric.value for name, metric in host.metrics.items()} == {
        "requests_path=metrics": 2,
        "depth": 5,
        "sizes": 0,
    }
    assert host.metrics["sizes"].recorded == [1000, 1000]


def test_tcp(host: WasmtimeHost) -> None:
    """Data that is held back comes again with what follows it, and passes as the filter left it."""
    stream = host.tcp()
    stream.receive(StreamType.DOWNSTREAM, b"he")
    assert stream.passed[StreamType.DOWNSTREAM] == b""
    stream.receive(StreamType.DOWNSTREAM, b"llo\n")
    stream.receive(StreamType.UPSTREAM, b"answer")
    assert stream.passed == {StreamType.DOWNSTREAM: b"HELLO\n", StreamType.UPSTREAM: b"answer"}
    stream.disconnect(StreamType.DOWNSTREAM, peer=2)
    assert [line.message for line in host.log] == ["connection done"]


def test_plugin_that_is_not_done_yet(host: WasmtimeHost) -> None:
    """A plugin that puts off its end is gone when it says so, from another callback."""
    host.shut_down()
    assert host.log == []
    assert host.tick_period == 1
    host.tick()
    assert [line.message for line in host.log] == ["gone"]
