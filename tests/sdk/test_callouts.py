"""Calls to other services: every reply finds the context that made the call, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import (
    Action,
    BadArgument,
    BufferType,
    GrpcReply,
    GrpcStatus,
    GrpcStream,
    HttpContext,
    InternalFailure,
    MapType,
    MisuseError,
    NotFound,
    ParseFailure,
    PluginContext,
    Status,
    TcpContext,
    hostcalls,
    http_filter,
    plugin,
    tcp_filter,
)
from pywasmfilter._dispatcher import on_context_create
from pywasmfilter._state import contexts
from pywasmfilter.callouts import pending
from pywasmfilter.exceptions import raise_for_status
from tests.sdk.conftest import MemoryHost, begin

HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "web")]
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS]
SERVICE = bytes.fromhex("0a05 0a03 776562")  # envoy.config.core.v3.GrpcService{envoy_grpc{cluster_name: "web"}}
HTTP_REPLY, GRPC_REPLY, GRPC_CLOSE = "_on_http_call_response", "_on_grpc_receive", "_on_grpc_close"
INITIAL, TRAILING = "_on_grpc_receive_initial_metadata", "_on_grpc_receive_trailing_metadata"


class Message:
    """Has the two methods of a class that protoc generated."""

    def __init__(self, text: str) -> None:
        self.text = text

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's name
        return self.text.encode()

    @classmethod
    def FromString(cls, data: bytes) -> Message:  # noqa: N802
        return cls(data.decode())


@pytest.fixture
def stream(host: MemoryHost) -> Any:
    """The HTTP stream 2 of the filter "f", whose callbacks' exceptions are denied."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    return begin(2)


def call_web(callback: Callable[[int, int, int], object]) -> int:
    """An HTTP call of the context that calls act on."""
    return hostcalls.dispatch_http_call("web", HEADERS, callback)


def ask_web(callback: Callable[[GrpcReply], object], message: object = b"ask") -> int:
    """A gRPC call of the context that calls act on."""
    return hostcalls.dispatch_grpc_call("web", "pkg.Service", "Method", message, callback)


def never(*_: object) -> None:
    """The callback of a call whose reply must not come; what it raises would be in the log."""
    raise AssertionError("a reply that nobody waits for")


def run_in(host: MemoryHost, context_id: int, method: str, function: Callable[[], Any], *arguments: int) -> Any:
    """Run a function as a callback of a context, which then pauses; what the function returns."""
    results: list[Any] = []

    def callback(*_: int) -> Action:
        results.append(function())
        return Action.PAUSE

    setattr(contexts[context_id], method, callback)
    host.run(context_id, method, *arguments)
    delattr(contexts[context_id], method)
    return results[0] if results else None


# HTTP calls


def test_an_http_call_is_the_abis(host: MemoryHost, stream: Any) -> None:
    """All that is given goes out, for the context whose callback runs; what is left out is empty, with 5 seconds."""

    def call() -> None:
        hostcalls.dispatch_http_call(
            "web", HEADERS, print, body=b"body", trailers=[("t", b"\xff")], timeout_milliseconds=250
        )
        call_web(print)

    run_in(host, 2, "on_http_request_headers", call)
    assert host.calls == [
        ("http_call", 2, "web", RAW_HEADERS, b"body", [(b"t", b"\xff")], 250),
        ("http_call", 2, "web", RAW_HEADERS, b"", [], 5000),
    ]


def test_a_reply_reaches_the_context_that_called(host: MemoryHost, stream: Any) -> None:
    """The callback gets the sizes, and calls in it act on the caller; a second reply of the call reaches nobody."""
    begin(3)
    seen: list[tuple[int, ...]] = []

    def callback(*sizes: int) -> None:
        seen.append((host.get_effective_context(), *sizes))
        hostcalls.resume_http_request()

    first = run_in(host, 2, "on_http_request_headers", lambda: call_web(callback))
    second = run_in(host, 3, "on_http_request_headers", lambda: call_web(callback))
    assert first != second
    host.reply(second, HTTP_REPLY, 3, 10, 1)
    host.reply(first, HTTP_REPLY, 0, 0, 0)
    host.reply(first, HTTP_REPLY, 3, 10, 1)
    assert seen == [(3, 3, 10, 1), (2, 0, 0, 0)]
    assert host.calls[2:] == [("continue_stream", 3, 0), ("continue_stream", 2, 0)]
    assert pending == {}


@pytest.mark.parametrize("make", ["dispatch_http_call", "dispatch_grpc_call", "open_grpc_stream"])
def test_a_streams_own_method_calls_in_its_name(host: MemoryHost, stream: Any, make: str) -> None:
    """Called of a stream in the plugin's tick, it is the stream that calls, and gets the reply."""
    seen: list[int] = []

    class Noting(GrpcStream):
        def on_message(self, message: bytes) -> None:
            seen.append(host.get_effective_context())

    def note(*_: object) -> None:
        seen.append(host.get_effective_context())

    arguments: dict[str, tuple[Any, ...]] = {
        "dispatch_http_call": ("web", HEADERS, note),
        "dispatch_grpc_call": ("web", "pkg.Service", "Method", b"", note),
        "open_grpc_stream": ("web", "pkg.Service", "Method", Noting()),
    }
    run_in(host, 1, "on_tick", lambda: getattr(stream, make)(*arguments[make]))
    assert (host.calls[0][1], host.get_effective_context()) == (2, 0)
    (token,) = pending
    host.reply(token, *((HTTP_REPLY, 1, 0, 0) if make == "dispatch_http_call" else (GRPC_REPLY, 0)))
    assert seen == [2]


def test_a_plugin_may_call(host: MemoryHost, stream: Any) -> None:
    """The reply to a call of the plugin has the plugin as its context."""
    seen: list[int] = []
    token = run_in(host, 1, "on_tick", lambda: call_web(lambda *_: seen.append(host.get_effective_context())))
    host.reply(token, HTTP_REPLY, 1, 0, 0)
    assert seen == [1]


@pytest.mark.parametrize("successor", [None, HttpContext(2)], ids=["nobody", "another stream of its id"])
@pytest.mark.parametrize("method", [HTTP_REPLY, GRPC_REPLY, GRPC_CLOSE])
def test_a_reply_whose_stream_is_gone_is_dropped(
    host: MemoryHost, stream: Any, method: str, successor: HttpContext | None
) -> None:
    """Nobody hears of it, and nothing of the call is kept."""
    call: Any = call_web if method == HTTP_REPLY else ask_web
    token = run_in(host, 2, "on_http_request_headers", lambda: call(never))
    del contexts[2]
    if successor:
        contexts[2] = successor
    host.reply(token, method, *((1, 0, 0) if method == HTTP_REPLY else (0,)))
    assert (pending, host.logged) == ({}, [])


@pytest.mark.parametrize("method", [HTTP_REPLY, INITIAL, GRPC_REPLY, TRAILING, GRPC_CLOSE])
def test_unknown_tokens_are_ignored(host: MemoryHost, stream: Any, method: str) -> None:
    """Proxies answer calls that failed at once, whose token nobody was told."""
    host.reply(77, method, *((1, 0, 0) if method == HTTP_REPLY else (0,)))
    assert (host.calls, host.logged) == ([], [])


def test_what_the_proxy_refuses(host: MemoryHost, stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown cluster or a missing header is an error with advice; of a failure nothing is kept."""
    advice = "does the proxy know the cluster, and are :method, :path and :authority among the headers"
    for cluster, headers in (("gone", HEADERS), ("web", HEADERS[:2])):
        with pytest.raises(BadArgument, match=advice):
            hostcalls.dispatch_http_call(cluster, headers, print)
    with pytest.raises(ParseFailure):
        hostcalls.dispatch_grpc_call("gone", "pkg.Service", "Method", b"", print)
    grpc_stream = GrpcStream()
    with pytest.raises(ParseFailure):
        hostcalls.open_grpc_stream("gone", "pkg.Service", "Method", grpc_stream)
    monkeypatch.setattr(host, "http_call", lambda *_: raise_for_status("proxy_http_call", Status.INTERNAL_FAILURE))
    with pytest.raises(InternalFailure):
        call_web(print)
    assert (pending, grpc_stream.grpc_token) == ({}, None)


@pytest.mark.parametrize("timeout", [-1, 0x80000000])
def test_what_the_sdk_refuses(host: MemoryHost, stream: Any, timeout: int) -> None:
    """What cannot go out is an error before the host hears of it."""
    words = f"a timeout is 0 to 2147483647 milliseconds, not {timeout}"
    with pytest.raises(ValueError, match=words):
        hostcalls.dispatch_http_call("web", HEADERS, print, timeout_milliseconds=timeout)
    with pytest.raises(ValueError, match=words):
        hostcalls.dispatch_grpc_call("web", "s", "m", b"", print, timeout_milliseconds=timeout)
    with pytest.raises(TypeError, match="the callback of proxy_http_call is a function, not None"):
        call_web(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a dict; of a dict, pass"):
        hostcalls.dispatch_http_call("web", dict(HEADERS), print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a gRPC message is bytes, or has SerializeToString; this is 'text'"):
        ask_web(print, "text")
    assert (host.calls, pending) == ([], {})


@pytest.mark.parametrize("kind", ["plugin", "stream"])
def test_a_context_cannot_call_while_it_is_created(host: MemoryHost, kind: str) -> None:
    """Its reply could not find it, so a call in a constructor is an error that says so."""

    class Stream(HttpContext):
        def __init__(self, context_id: int) -> None:
            super().__init__(context_id)
            if kind == "stream":
                call_web(print)

    @plugin("p")
    class Root(PluginContext):
        http_context = Stream

        def __init__(self) -> None:
            if kind == "plugin":
                call_web(print)

    host.running = (1, 1)
    begin(None)
    host.running = (2, 2)
    on_context_create(2, 1)
    assert "MisuseError: proxy_http_call is allowed in callbacks, not while a context is" in str(host.logged[0][1])
    assert (host.calls, pending) == ([], {})


# Exceptions in replies


def fail(*_: object) -> None:
    """A callback that does not work."""
    raise LookupError("reply")


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        (HTTP_REPLY, (1, 0, 0), "the callback of an HTTP call"),
        (GRPC_REPLY, (0,), "the callback of a gRPC call"),
        (GRPC_CLOSE, (14,), "the callback of a gRPC call"),
    ],
)
def test_an_exception_in_a_reply_denies_the_stream(
    host: MemoryHost, stream: Any, method: str, arguments: tuple[int, ...], name: str
) -> None:
    """The stream that called is answered 500; the plugin, whose callback it is for the host, goes on."""
    call: Any = call_web if method == HTTP_REPLY else ask_web
    token = run_in(host, 2, "on_http_request_headers", lambda: call(fail))
    host.reply(token, method, *arguments)
    assert host.calls[1:] == [("send_local_response", 2, 500)]
    assert stream.answered is True
    ((_, message),) = host.logged
    assert str(message).startswith(f"f: uncaught exception in {name}\n")
    assert str(message).endswith("LookupError: reply")


@pytest.mark.parametrize(
    ("kind", "method", "arguments", "resumed"),
    [
        (HttpContext, "on_http_request_headers", 2, [0]),
        (HttpContext, "on_http_request_body", 2, [0]),
        (HttpContext, "on_http_request_trailers", 1, [0]),
        (HttpContext, "on_http_response_headers", 2, [1]),
        (HttpContext, "on_http_response_body", 2, [1]),
        (HttpContext, "on_http_response_trailers", 1, [1]),
        (TcpContext, "on_new_connection", 0, [2]),
        (TcpContext, "on_downstream_data", 2, [2]),
        (TcpContext, "on_upstream_data", 2, []),  # Envoy cannot
        (TcpContext, "on_downstream_close", 1, []),
    ],
)
@pytest.mark.parametrize("hops", [1, 3])
def test_an_exception_in_a_reply_may_let_the_stream_go_on(
    host: MemoryHost, kind: Any, method: str, arguments: int, resumed: list[int], hops: int
) -> None:
    """With "continue" that goes on which waits for the reply: what the stream's callback paused last."""
    (http_filter if kind is HttpContext else tcp_filter)("f", on_error="continue")(type("Sub", (kind,), {}))
    begin()
    tokens: list[int] = []

    def hop(*_: int) -> None:
        if len(tokens) == hops:
            raise LookupError
        tokens.append(call_web(hop))

    run_in(host, 2, method, hop, *[0] * arguments)
    for token in tokens:
        host.reply(token, HTTP_REPLY, 1, 0, 0)
    assert len(tokens) == hops
    assert [call for call in host.calls if call[0] != "http_call"] == [("continue_stream", 2, kind) for kind in resumed]
    assert len(host.logged) == 1


def test_an_exception_in_a_reply_closes_a_connection(host: MemoryHost) -> None:
    """With "deny" the client of a TCP connection is cut off."""
    tcp_filter("t")(type("Connection", (TcpContext,), {}))
    begin()
    token = run_in(host, 2, "on_new_connection", lambda: call_web(fail))
    host.reply(token, HTTP_REPLY, 1, 0, 0)
    assert host.calls[1:] == [("close_stream", 2, 2)]


def test_an_exception_in_a_reply_to_the_plugin_is_logged(host: MemoryHost, stream: Any) -> None:
    """No stream waits for it."""
    token = run_in(host, 1, "on_tick", lambda: call_web(fail))
    host.reply(token, HTTP_REPLY, 1, 0, 0)
    assert (len(host.calls), len(host.logged)) == (1, 1)
    assert str(host.logged[0][1]).startswith("f: uncaught exception in the callback of an HTTP call\n")


def test_a_failed_reply_does_not_follow_the_next_exception(host: MemoryHost, stream: Any) -> None:
    """After a reply's exception, one in another callback is that callback's own."""
    begin(3)
    token = run_in(host, 2, "on_http_request_headers", lambda: call_web(fail))
    host.reply(token, HTTP_REPLY, 1, 0, 0)
    run_in(host, 3, "on_http_request_headers", fail)
    assert host.calls[1:] == [("send_local_response", 2, 500), ("send_local_response", 3, 500)]


# gRPC calls


def test_a_grpc_call_is_the_abis(host: MemoryHost, stream: Any) -> None:
    """A cluster's name goes out as a GrpcService, bytes as they are; so do serialized messages and protobuf's own."""

    def call() -> None:
        hostcalls.dispatch_grpc_call(
            "web",
            "pkg.Service",
            "Method",
            Message("hello"),
            print,
            initial_metadata=[("k", "v")],
            timeout_milliseconds=0,
        )
        hostcalls.dispatch_grpc_call(SERVICE + b"\x1a\0", "pkg.Service", "Method", b"\xff", print)

    run_in(host, 2, "on_http_request_headers", call)
    assert host.calls == [
        ("grpc_call", 2, SERVICE, "pkg.Service", "Method", [(b"k", b"v")], b"hello", 0),
        ("grpc_call", 2, SERVICE + b"\x1a\0", "pkg.Service", "Method", [], b"\xff", 5000),
    ]


def test_a_grpc_reply(host: MemoryHost, stream: Any) -> None:
    """Success has status 0 and the message, which can be parsed; an empty one is not asked for. It comes once."""
    replies: list[GrpcReply] = []
    tokens = [run_in(host, 2, "on_http_request_headers", lambda: ask_web(replies.append)) for _ in range(2)]
    host.buffers[BufferType.GRPC_CALL_MESSAGE] = b"answer"
    host.reply(tokens[0], GRPC_REPLY, 6)
    del host.buffers[BufferType.GRPC_CALL_MESSAGE]
    host.reply(tokens[1], GRPC_REPLY, 0)
    for token in tokens:
        host.reply(token, GRPC_CLOSE, 0)
    assert [(reply.status, reply.details, reply.message) for reply in replies] == [(0, "", b"answer"), (0, "", b"")]
    assert replies[0].parse(Message).text == "answer"
    assert pending == {}


def test_a_grpc_failure(host: MemoryHost, stream: Any) -> None:
    """A failure has its status, what the server says of it, and no message."""
    replies: list[GrpcReply] = []
    token = run_in(host, 2, "on_http_request_headers", lambda: ask_web(replies.append))
    host.status = (14, "no one there")
    host.reply(token, GRPC_CLOSE, 14)
    (reply,) = replies
    assert (reply.status, reply.details, reply.message) == (GrpcStatus.UNAVAILABLE, "no one there", b"")
    assert hostcalls.get_status() == (14, "no one there")
    assert pending == {}


def test_a_call_can_be_cancelled(host: MemoryHost, stream: Any) -> None:
    """After grpc_cancel no callback comes and nothing is kept; an unknown token is NotFound."""
    token = run_in(host, 2, "on_http_request_headers", lambda: ask_web(never))
    hostcalls.grpc_cancel(token)
    assert (pending, host.open, host.calls[1:]) == ({}, set(), [("grpc_cancel", 0, token)])
    host.reply(token, GRPC_CLOSE, 1)
    assert host.logged == []
    with pytest.raises(NotFound, match="no gRPC call or stream with this token is open"):
        hostcalls.grpc_cancel(token)


# gRPC streams


class Noting(GrpcStream):
    """Notes down its events, with the context that calls act on."""

    def __init__(self, host: MemoryHost) -> None:
        self.host = host
        self.seen: list[tuple[Any, ...]] = []

    def _note(self, *event: object) -> None:
        self.seen.append((self.host.get_effective_context(), *event))

    def on_initial_metadata(self, metadata: list[tuple[str, str]]) -> None:
        self._note("initial", metadata)

    def on_message(self, message: bytes) -> None:
        self._note("message", message)

    def on_trailing_metadata(self, metadata: list[tuple[str, str]]) -> None:
        self._note("trailing", metadata)

    def on_close(self, status: int, details: str) -> None:
        self._note("close", status, details)


def open_stream(grpc_stream: GrpcStream) -> int:
    """Open a stream of the context that calls act on."""
    hostcalls.open_grpc_stream("web", "pkg.Service", "Method", grpc_stream, initial_metadata=[("k", "v")])
    assert grpc_stream.grpc_token is not None
    return grpc_stream.grpc_token


@pytest.fixture
def opened(host: MemoryHost, stream: Any) -> Noting:
    """A gRPC stream that stream 2 opened in its request's headers."""
    grpc_stream = Noting(host)
    run_in(host, 2, "on_http_request_headers", lambda: open_stream(grpc_stream))
    return grpc_stream


def token_of(grpc_stream: GrpcStream) -> int:
    """The token of an open stream."""
    assert grpc_stream.grpc_token is not None
    return grpc_stream.grpc_token


def test_a_grpc_stream_from_its_beginning_to_its_end(host: MemoryHost, opened: Noting) -> None:
    """All events reach the stream as Python's values, with the opener as the effective context."""
    assert host.calls == [("grpc_stream", 2, SERVICE, "pkg.Service", "Method", [(b"k", b"v")])]
    token = token_of(opened)
    host.headers = {MapType.GRPC_CALL_INITIAL_METADATA: [(b"a", b"1")]}
    host.reply(token, INITIAL, 1)
    host.buffers[BufferType.GRPC_CALL_MESSAGE] = b"one"
    host.reply(token, GRPC_REPLY, 3)
    del host.buffers[BufferType.GRPC_CALL_MESSAGE]
    host.reply(token, GRPC_REPLY, 0)
    host.headers = {MapType.GRPC_CALL_TRAILING_METADATA: [(b"b", b"\xff")]}
    host.reply(token, TRAILING, 1)
    host.status = (5, "gone")
    host.reply(token, GRPC_CLOSE, 5)
    host.reply(token, GRPC_REPLY, 0)
    assert opened.seen == [
        (2, "initial", [("a", "1")]),
        (2, "message", b"one"),
        (2, "message", b""),
        (2, "trailing", [("b", "\udcff")]),
        (2, "close", 5, "gone"),
    ]
    assert (opened.grpc_token, pending) == (None, {})


def test_sending(host: MemoryHost, opened: Noting) -> None:
    """Messages go out serialized; the end is said with the last one, or alone."""
    token = token_of(opened)
    opened.send(b"one")
    opened.send(Message("two"), end_of_stream=True)
    opened.close()
    hostcalls.grpc_send(token, Message("three"))
    hostcalls.grpc_close(token)
    assert host.calls[1:] == [
        ("grpc_send", 0, token, b"one", False),
        ("grpc_send", 0, token, b"two", True),
        ("grpc_close", 0, token),
        ("grpc_send", 0, token, b"three", False),
        ("grpc_close", 0, token),
    ]
    with pytest.raises(TypeError, match="a gRPC message is bytes"):
        opened.send("text")
    assert opened.grpc_token == token, "a half-closed stream still hears its server"


def test_a_stream_that_is_not_open(host: MemoryHost, opened: Noting) -> None:
    """Before it is opened and after it ended, sending is misuse and cancelling does nothing; it may be opened again."""
    host.reply(token_of(opened), GRPC_CLOSE, 0)
    for grpc_stream in (opened, GrpcStream()):
        for use in (lambda s=grpc_stream: s.send(b""), grpc_stream.close):
            with pytest.raises(MisuseError, match="not open: it was not opened yet, or has ended"):
                use()
        grpc_stream.cancel()
    assert len(host.calls) == 1
    run_in(host, 2, "on_http_request_headers", lambda: open_stream(opened))
    with pytest.raises(MisuseError, match="is open already"):
        open_stream(opened)


def test_a_cancelled_stream_hears_nothing_more(host: MemoryHost, opened: Noting) -> None:
    """`cancel` resets it in the proxy, and what is still on its way reaches nobody."""
    token = token_of(opened)
    opened.cancel()
    assert host.calls[1:] == [("grpc_cancel", 0, token)]
    host.reply(token, GRPC_REPLY, 0)
    host.reply(token, GRPC_CLOSE, 1)
    assert (opened.seen, opened.grpc_token, pending) == ([], None, {})


def test_metadata_that_arrives_inside_a_send_waits(host: MemoryHost, opened: Noting) -> None:
    """A stream that fails inside proxy_grpc_send is told so by the proxy at once, but by the SDK when the call is over.

    The metadata is what it was when it came.
    """
    token = token_of(opened)

    def arrive() -> None:
        host.headers = {MapType.GRPC_CALL_TRAILING_METADATA: [(b"a", b"1")]}
        host.reply(token, TRAILING, 1)
        host.headers = {}
        opened._note("sending")

    host.during_send = arrive
    run_in(host, 2, "on_http_request_headers", lambda: opened.send(b""))
    assert opened.seen == [(2, "sending"), (2, "trailing", [("a", "1")])]
    host.during_send = lambda: None
    opened.send(b"")
    assert len(opened.seen) == 2, "it is told once"


def test_metadata_that_arrives_while_a_stream_is_opened(
    host: MemoryHost, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows that token yet: it is ignored."""
    make, grpc_stream = host.grpc_stream, Noting(host)

    def make_and_tell(*arguments: Any) -> int:
        token = make(*arguments)
        host.reply(token, INITIAL, 1)
        return token

    monkeypatch.setattr(host, "grpc_stream", make_and_tell)
    run_in(host, 2, "on_http_request_headers", lambda: open_stream(grpc_stream))
    assert (grpc_stream.seen, list(pending)) == ([], [grpc_stream.grpc_token])


@pytest.mark.parametrize("method", [INITIAL, GRPC_REPLY, TRAILING])
@pytest.mark.parametrize("ended", [False, True])
def test_a_stream_whose_context_is_gone_is_cancelled(
    host: MemoryHost, opened: Noting, method: str, ended: bool
) -> None:
    """At its next event it is cancelled instead of hearing of it; that the proxy knows it no more is no error."""
    token = token_of(opened)
    del contexts[2]
    if ended:
        host.open.clear()
    host.reply(token, method, 0)
    assert (opened.seen, opened.grpc_token, pending, host.open, host.logged) == ([], None, {}, set(), [])
    assert host.calls[1:] == ([] if ended else [("grpc_cancel", 1, token)])


def test_the_end_of_a_stream_whose_context_is_gone(host: MemoryHost, opened: Noting) -> None:
    """There is nothing left to cancel."""
    token = token_of(opened)
    del contexts[2]
    host.reply(token, GRPC_CLOSE, 0)
    assert (opened.seen, pending, host.calls[1:], host.logged) == ([], {}, [], [])


@pytest.mark.parametrize(
    ("event", "method"),
    [
        ("on_initial_metadata", INITIAL),
        ("on_message", GRPC_REPLY),
        ("on_trailing_metadata", TRAILING),
        ("on_close", GRPC_CLOSE),
    ],
)
@pytest.mark.parametrize(
    ("on_error", "call"), [("deny", ("send_local_response", 2, 500)), ("continue", ("continue_stream", 2, 1))]
)
def test_an_exception_in_a_grpc_streams_callback(
    host: MemoryHost, event: str, method: str, on_error: str, call: tuple[Any, ...]
) -> None:
    """It is an exception of the context that opened the stream, whatever the event."""
    http_filter("f", on_error=on_error)(type("Stream", (HttpContext,), {}))
    begin()
    grpc_stream = type("Failing", (GrpcStream,), {event: fail})()
    token = run_in(host, 2, "on_http_response_headers", lambda: open_stream(grpc_stream))
    host.reply(token, method, 0)
    assert host.calls[1:] == [call]
    assert "uncaught exception in " in str(host.logged[0][1])


def test_grpc_streams_do_nothing_by_themselves(host: MemoryHost, stream: Any) -> None:
    """The base's callbacks ignore what comes."""
    token = run_in(host, 2, "on_http_request_headers", lambda: open_stream(GrpcStream()))
    for method in (INITIAL, GRPC_REPLY, TRAILING, GRPC_CLOSE):
        host.reply(token, method, 0)
    assert (len(host.calls), host.logged, pending) == (1, [], {})


# Plugins that end


def test_calls_of_a_plugin_that_is_gone_are_forgotten(host: MemoryHost, stream: Any) -> None:
    """The proxy cancels them and no reply comes; those of other plugins stay."""
    run_in(host, 1, "on_tick", lambda: call_web(never))
    run_in(host, 2, "on_http_request_headers", lambda: call_web(never))
    on_context_create(5, 0)
    kept = run_in(host, 5, "on_tick", lambda: call_web(never))
    del contexts[1], contexts[2]
    on_context_create(6, 0)
    assert list(pending) == [kept]
