"""What hostile input, failing hosts and unusual filters must not do: hang a worker, pass unseen, lose a reply."""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter import (
    Action,
    Counter,
    GrpcStream,
    HttpContext,
    MisuseError,
    PluginContext,
    TcpContext,
    _callbacks,
    callouts,
    foreign_functions,
    hostcalls,
    http_filter,
    plugin,
    properties,
)
from pywasmfilter._serialization import decode_pairs, encode_pairs
from pywasmfilter._state import contexts
from pywasmfilter.exceptions import raise_for_status
from tests.sdk.conftest import MemoryHost, begin
from tests.sdk.test_callouts import run_in

HEADERS = [(":method", "GET"), (":path", "/"), (":authority", "web")]


def raises(*_: object) -> None:
    """A callback that fails."""
    raise LookupError("x")


class Connection(TcpContext): ...


def test_a_refusal_that_fails_does_not_let_the_stream_through(host: MemoryHost, monkeypatch: Any) -> None:
    """Where send_local_response is restricted (status 10), a stream without a context still pauses."""
    plugin("p")(type("P", (PluginContext,), {"new_http_context": raises}))
    begin()
    monkeypatch.setattr(host, "send_local_response", lambda *_: raise_for_status("proxy_send_local_response", 10))
    assert host.run(2, "on_http_request_headers", 1, True) == 1


def test_what_are_no_pairs_is_a_value_error() -> None:
    """`Property.map()` of a text that a client chose is refused at once."""
    for data in (b"\xff\xff\x00\x00path", b"abc"):
        with pytest.raises(ValueError, match="no serialized pairs"):
            decode_pairs(data)


@pytest.mark.parametrize("cut", range(1, 28))
def test_pairs_that_are_cut_off(cut: int) -> None:
    """Pairs that end early are no pairs."""
    data = encode_pairs([("a", "1"), ("b", "2")])
    assert len(data) == 28
    with pytest.raises(ValueError, match="no serialized pairs"):
        decode_pairs(data[:cut])


def test_a_reply_in_the_middle_of_a_reply(host: MemoryHost) -> None:
    """Proxies run deferred replies when a nested callback (gRPC metadata) ends; the outer reply goes on as it was."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin(2)
    begin(3)
    grpc = GrpcStream()
    inner = run_in(
        host, 3, "on_http_request_headers", lambda: hostcalls.dispatch_http_call("web", HEADERS, lambda *_: None)
    )
    run_in(host, 2, "on_http_request_headers", lambda: hostcalls.open_grpc_stream("web", "s", "m", grpc))
    host.during_send = lambda: host.reply(inner, "_on_http_call_response", 1, 0, 0)

    def send_and_fail(*_: int) -> None:
        grpc.send(b"")
        raise LookupError

    outer = run_in(
        host, 2, "on_http_request_headers", lambda: hostcalls.dispatch_http_call("web", HEADERS, send_and_fail)
    )
    host.reply(outer, "_on_http_call_response", 1, 0, 0)
    assert ("send_local_response", 2, 500) in host.calls


def both(http: Any) -> None:
    """Register a plugin that serves HTTP and TCP."""
    plugin("p")(type("P", (PluginContext,), {"http_context": http, "tcp_context": Connection}))


def test_a_call_in_the_constructor_of_an_undecided_stream(host: MemoryHost) -> None:
    """As for other streams it is a MisuseError; its reply could not be delivered."""

    class Calls(HttpContext):
        def __init__(self, context_id: int) -> None:
            super().__init__(context_id)
            with pytest.raises(MisuseError):
                hostcalls.dispatch_http_call("web", HEADERS, raises)

    both(Calls)
    begin()
    host.run(2, "on_http_request_headers", 1, True)
    assert host.logged == []


def test_answering_in_the_constructor_of_an_undecided_stream(host: MemoryHost) -> None:
    """Answering while the context is being created works as for other streams."""

    class Answers(HttpContext):
        def __init__(self, context_id: int) -> None:
            super().__init__(context_id)
            hostcalls.send_http_response(403)

    both(Answers)
    begin()
    host.run(2, "on_http_request_headers", 1, True)
    assert [response[0] for response in host.responses] == [403]


@pytest.mark.parametrize("kind", ["http_context", "tcp_context"])
def test_the_class_may_be_chosen_at_the_start(host: MemoryHost, kind: str) -> None:
    """`self.http_context = …` in on_plugin_start counts."""
    chosen = type("Chosen", (HttpContext if kind == "http_context" else TcpContext,), {})

    def start(self: Any, _size: int) -> None:
        setattr(self, kind, chosen)

    attributes = {"on_plugin_start": start}
    if kind == "http_context":
        attributes[kind] = type("Other", (HttpContext,), {})
    plugin("p")(type("P", (PluginContext,), attributes))
    begin(None)
    host.run(1, "_on_configure", 0)
    context = begin(2)
    if type(context).__name__ == "_UndecidedStream":
        host.run(2, "on_new_connection" if kind == "tcp_context" else "on_http_request_headers")
        context = contexts[2]
    assert type(context) is chosen


def test_closing_a_call_forgets_it(host: MemoryHost) -> None:
    """`grpc_close` of a unary call cancels it, as its docstring says: no callback will come, so nothing is kept."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin()
    token = run_in(
        host, 2, "on_http_request_headers", lambda: hostcalls.dispatch_grpc_call("web", "s", "m", b"", raises)
    )
    hostcalls.grpc_close(token)
    assert callouts.pending == {}


def test_late_metadata_has_the_openers_context(host: MemoryHost) -> None:
    """GrpcStream: "The callbacks run with the context that opened the stream as the effective one"."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin(2)
    begin(3)
    seen: list[int] = []
    stream = type(
        "S", (GrpcStream,), {"on_initial_metadata": lambda self, _m: seen.append(host.get_effective_context())}
    )()
    run_in(host, 2, "on_http_request_headers", lambda: hostcalls.open_grpc_stream("web", "s", "m", stream))
    host.during_send = lambda: host.reply(stream.grpc_token, "_on_grpc_receive_initial_metadata", 0)
    run_in(host, 3, "on_http_request_headers", lambda: stream.send(b""))
    assert seen == [2]


def test_any_header_can_be_an_argument(host: MemoryHost) -> None:
    """Text with bytes that are not UTF-8 goes through, as everywhere."""
    host.foreign["verify_signature"] = lambda _: b""
    host.foreign["set_envoy_filter_state"] = lambda _: b""
    assert foreign_functions.verify_signature("sha256", b"k", b"s", "\udcff") is False
    foreign_functions.set_envoy_filter_state("x", "\udcff")


@pytest.mark.parametrize("tag", ["name", "self"])
def test_a_tag_of_any_name(host: MemoryHost, tag: str) -> None:
    """A tag may be called `name`, or `self`."""
    assert Counter("c").tagged(**{tag: "v"}).name == f"c_{tag}=v"


def test_a_reply_to_a_call_from_a_tick_lets_the_stream_go_on(host: MemoryHost) -> None:
    """A stream that is paused in its request goes on if the reply to a call fails that was made for it in on_tick."""
    http_filter("f", on_error="continue")(type("Stream", (HttpContext,), {}))
    stream = begin()
    run_in(host, 2, "on_http_request_headers", lambda: None)
    token = run_in(host, 1, "on_tick", lambda: stream.dispatch_http_call("web", HEADERS, raises))
    host.reply(token, "_on_http_call_response", 1, 0, 0)
    assert [call for call in host.calls if call[0] == "continue_stream"]


def test_a_call_for_another_stream_has_that_streams_phase(host: MemoryHost) -> None:
    """Stream 3 in its response calls in the name of 2, which is in its request: not the response of 2 is resumed."""
    http_filter("f", on_error="continue")(type("Stream", (HttpContext,), {}))
    first = begin(2)
    begin(3)
    token = run_in(host, 3, "on_http_response_headers", lambda: first.dispatch_http_call("web", HEADERS, raises))
    host.reply(token, "_on_http_call_response", 1, 0, 0)
    assert ("continue_stream", 2, 1) not in host.calls


def test_new_http_context_gives_http_contexts(host: MemoryHost) -> None:
    """A TcpContext from new_http_context is an error that answers 500."""
    plugin("p")(type("P", (PluginContext,), {"new_http_context": lambda _self, context_id: Connection(context_id)}))
    begin()
    host.run(2, "on_http_request_headers", 1, True)
    assert [response[0] for response in host.responses] == [500]


# What would bring Envoy down

ENDINGS = {
    "answer": lambda stream: stream.send_http_response(403),
    "close request": lambda stream: stream.close_http_request(),
    "close response": lambda stream: stream.close_http_response(),
}


@pytest.mark.parametrize("second", ENDINGS)
@pytest.mark.parametrize("first", ENDINGS)
def test_a_callback_ends_its_stream_once(host: MemoryHost, first: str, second: str) -> None:
    """The second time in one callback is a MisuseError that reaches no proxy; in the next callback it is allowed."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()

    def twice() -> None:
        ENDINGS[first](stream)
        with pytest.raises(MisuseError, match="answered or closed"):
            ENDINGS[second](stream)

    run_in(host, 2, "on_http_request_headers", twice)
    assert len(host.calls) == 1
    run_in(host, 2, "on_http_response_headers", lambda: ENDINGS[second](stream))
    assert len(host.calls) == 2


@pytest.mark.parametrize("on_error", ["deny", "continue"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_exception_after_the_end_adds_nothing(host: MemoryHost, ending: str, on_error: str) -> None:
    """A callback that answered or closed its stream and then fails pauses it: no 500 on top of its own answer."""

    def fail(stream: Any, *_: int) -> None:
        ENDINGS[ending](stream)
        raise LookupError

    http_filter("f", on_error=on_error)(type("Stream", (HttpContext,), {"on_http_response_headers": fail}))
    begin()
    assert host.run(2, "on_http_response_headers", 1, True) == Action.PAUSE
    assert len(host.calls) == 1
    assert "LookupError" in str(host.logged[0][1])


def test_a_streams_own_exception_resumes_nothing(host: MemoryHost) -> None:
    """With "continue" a callback that fails has answered CONTINUE; what it had paused before goes on with that."""
    answers = iter([Action.PAUSE])

    def body(_stream: Any, _size: int, _end: bool) -> Action:
        return next(answers)  # the second call raises StopIteration

    http_filter("f", on_error="continue")(type("Stream", (HttpContext,), {"on_http_response_body": body}))
    begin()
    assert host.run(2, "on_http_response_body", 1, False) == Action.PAUSE
    assert host.run(2, "on_http_response_body", 2, True) == Action.CONTINUE
    assert host.calls == []


def test_a_response_callback_does_not_resume_its_response(host: MemoryHost) -> None:
    """It answers CONTINUE instead; a reply's callback may resume what it paused."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()
    run_in(host, 2, "on_http_response_body", lambda: None)

    def resume() -> None:
        with pytest.raises(MisuseError, match=r"returning Action\.CONTINUE"):
            stream.resume_http_response()

    run_in(host, 2, "on_http_response_body", resume)
    assert host.calls == []


# What stands for all streams

SHARED = [
    ("request.buffer", b""),
    ("request.headers", []),
    ("response.trailers", []),
    ("response.buffer", b""),
]


@pytest.mark.parametrize(("place", "value"), SHARED, ids=[place for place, _ in SHARED])
def test_what_all_streams_share_cannot_be_assigned(host: MemoryHost, place: str, value: object) -> None:
    """An assignment would change nothing in the proxy, and be seen by every other stream."""
    message, name = place.split(".")
    with pytest.raises(AttributeError, match="cannot be assigned"):
        setattr(getattr(HttpContext(2), message), name, value)


def test_properties_cannot_be_assigned() -> None:
    """They are the proxy's."""
    with pytest.raises(AttributeError, match="set_property"):
        properties.request.path = "/other"


def test_the_data_of_a_connection_cannot_be_assigned() -> None:
    """As for bodies: `replace` is what changes it."""
    with pytest.raises(AttributeError):
        TcpContext(2).downstream_data = b""  # type: ignore[assignment,misc]


# Callbacks that would never be made


@pytest.mark.parametrize("name", ["on_http_request_header", "on_configure", "on_done"])
def test_misspelt_callbacks_of_a_mixin(name: str) -> None:
    """What a class inherits is looked at too, and what other SDKs call a callback."""
    mixin = type("Mixin", (), {name: lambda *_: None})
    made = type("Stream", (mixin, HttpContext), {})
    with pytest.raises(TypeError, match=f"Mixin.{name}"):
        _callbacks.check_names(made, HttpContext)


def test_classes_that_are_made_later_are_looked_at(host: MemoryHost) -> None:
    """A misspelt callback of a class that did not exist at the build refuses its streams."""

    def new(_plugin: Any, context_id: int) -> Any:
        return type("Late", (HttpContext,), {"on_http_request_header": lambda *_: None})(context_id)

    plugin("p")(type("P", (PluginContext,), {"new_http_context": new}))
    begin()
    host.run(2, "on_http_request_headers", 1, True)
    assert [response[0] for response in host.responses] == [500]


def test_the_grpc_streams_of_a_context_end_with_it(host: MemoryHost) -> None:
    """A server that says nothing more must not keep them, and the context, for ever."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    begin()
    grpc = GrpcStream()
    run_in(host, 2, "on_http_request_headers", lambda: hostcalls.open_grpc_stream("web", "s", "m", grpc))
    assert host.notifies_deletes
    host.run(2, "_on_delete")
    assert (grpc.grpc_token, callouts.pending) == (None, {})
    assert host.calls[-1][0] == "grpc_cancel"


def test_undecided_streams_of_a_built_module(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a module, where late classes are refused, a plugin that serves HTTP and TCP has its streams all the same."""
    monkeypatch.setattr(_callbacks, "exported", frozenset(["proxy_on_request_headers"]))
    both(type("Stream", (HttpContext,), {"on_http_request_headers": lambda self, *_: self.send_http_response(204)}))
    begin()
    host.run(2, "on_http_request_headers", 1, True)
    assert [response[0] for response in host.responses] == [204]


@pytest.mark.parametrize("method", ["_on_log", "_on_delete"])
@pytest.mark.parametrize("action", [*ENDINGS, "resume"])
def test_nothing_is_done_with_a_stream_that_is_over(host: MemoryHost, method: str, action: str) -> None:
    """In on_http_stream_done and on_delete a stream can be neither answered, nor closed, nor resumed."""
    errors: list[str] = []

    def last(stream: Any) -> None:
        try:
            (stream.resume_http_request if action == "resume" else lambda: ENDINGS[action](stream))()
        except MisuseError as error:
            errors.append(str(error))

    http_filter("f")(type("Stream", (HttpContext,), {"on_http_stream_done": last, "on_delete": last}))
    begin()
    run_in(host, 2, "on_http_request_headers", lambda: None)
    host.run(2, method)
    assert (len(errors), host.calls) == (1, [])
    assert "the stream is over" in errors[0]


def test_a_request_callback_does_not_resume_its_request(host: MemoryHost) -> None:
    """Envoy would send the request twice."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    stream = begin()

    def resume() -> None:
        with pytest.raises(MisuseError, match=r"returning Action\.CONTINUE"):
            stream.resume_http_request()

    run_in(host, 2, "on_http_request_headers", resume)
    assert host.calls == []
