"""Host calls as functions: each is the ABI's call, with the conversions its signature promises and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import (
    BadArgument,
    BufferType,
    HttpContext,
    MapType,
    MisuseError,
    NotFound,
    PluginContext,
    StreamType,
    Unimplemented,
    hostcalls,
    http_filter,
    plugin,
)
from tests.sdk.conftest import MemoryHost, begin


def test_plain_calls_go_straight_through(host: MemoryHost) -> None:
    """Timers and the end of a plugin reach the host with their arguments as they are."""
    hostcalls.set_tick_period_milliseconds(250)
    hostcalls.done()
    assert host.calls == [("set_tick_period_milliseconds", 0, 250), ("done", 0)]


@pytest.mark.parametrize("period", [-1, 0x80000000])
def test_a_tick_period_is_a_natural_number(host: MemoryHost, period: int) -> None:
    """What the ABI's 31 bits cannot hold is refused before the host hears of it."""
    with pytest.raises(ValueError, match=f"a tick period is 0 to 2147483647 milliseconds, not {period}"):
        hostcalls.set_tick_period_milliseconds(period)
    assert host.calls == []


@pytest.mark.parametrize(
    ("function", "stream_type"),
    [("http_request", 0), ("http_response", 1), ("downstream", 2), ("upstream", 3)],
)
def test_streams_of_every_type(host: MemoryHost, function: str, stream_type: int) -> None:
    """resume_… and close_… are continue_stream and close_stream of the type in their name."""
    getattr(hostcalls, f"close_{function}")()
    resume = getattr(hostcalls, f"resume_{function}")
    if stream_type == StreamType.UPSTREAM:
        with pytest.raises(Unimplemented):
            resume()
    else:
        resume()
    expected = [("close_stream", 0, stream_type), ("continue_stream", 0, stream_type)]
    assert host.calls == expected[: 1 if stream_type == StreamType.UPSTREAM else 2]


def test_effective_context(host: MemoryHost) -> None:
    """Calls act on the context that was set; the `with` block turns back at its end, also after an exception."""
    http_filter("f")(type("Stream", (HttpContext,), {"_abi_paused": 1}))
    begin(2)
    begin(3)
    host.running = (2, 2)
    hostcalls.set_effective_context(3)
    assert host.get_effective_context() == 3
    hostcalls.set_effective_context(0)
    assert host.get_effective_context() == 2

    def fail_inside() -> None:
        with hostcalls.effective_context(3):
            hostcalls.resume_http_request()
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    hostcalls.resume_http_request()
    assert host.calls == [("continue_stream", 3, 0), ("continue_stream", 2, 0)]
    with pytest.raises(BadArgument, match="no context with this id any more"), hostcalls.effective_context(99):
        pass


@pytest.mark.parametrize(
    "use", [hostcalls.resume_downstream, hostcalls.close_upstream, lambda: hostcalls.send_http_response(200)]
)
def test_a_stream_that_the_context_does_not_have(host: MemoryHost, use: Callable[[], object]) -> None:
    """Hosts say OK and do nothing, so the SDK says what is wrong: a plugin has no stream."""
    plugin("p")(type("Root", (PluginContext,), {}))
    begin(None)
    host.running = (1, 1)
    with pytest.raises(MisuseError, match=r"of a stream of type .* in a callback of Root, which has none"):
        use()
    assert host.calls == []


def test_configurations(host: MemoryHost) -> None:
    """Each configuration and the arguments of a foreign call are the buffers of their names."""
    host.buffers = {6: b"vm", 7: b"plugin", 8: b"arguments"}
    assert hostcalls.get_vm_configuration() == b"vm"
    assert hostcalls.get_plugin_configuration() == b"plugin"
    assert hostcalls.get_foreign_function_arguments() == b"arguments"
    del host.buffers[7]
    with pytest.raises(NotFound, match="can be read in on_plugin_start only"):
        hostcalls.get_plugin_configuration()


def test_answers_come_back(host: MemoryHost) -> None:
    """Log level and clock are the host's numbers."""
    assert hostcalls.get_log_level() == host.log_level
    assert hostcalls.get_current_time_nanoseconds() == 1_234_567_890


@pytest.mark.parametrize("kind", ["request", "response"])
@pytest.mark.parametrize("part", ["header", "trailer"])
def test_headers_and_trailers_of_both_directions(host: MemoryHost, kind: str, part: str) -> None:
    """The functions act on the map that their name says; a missing header is None."""
    map_type = int(MapType[f"HTTP_{kind}_{part}s".upper()])
    host.headers[map_type] = [(b"a", b"1")]
    get, add, replace, remove = (
        getattr(hostcalls, f"{verb}_http_{kind}_{part}") for verb in ("get", "add", "replace", "remove")
    )
    get_all, replace_all = (getattr(hostcalls, f"{verb}_http_{kind}_{part}s") for verb in ("get", "replace"))
    add("a", b"2")
    assert get("a") == "1"
    assert get_all() == [("a", "1"), ("a", "2")]
    replace(b"A", "3")
    assert host.headers[map_type] == [(b"A", b"3")]
    remove("a")
    assert get("a") is None
    replace_all([("b", "4"), (b"b", b"5")])
    assert host.headers == {map_type: [(b"b", b"4"), (b"b", b"5")]}


@pytest.mark.parametrize("name", ["http_request_body", "http_response_body", "downstream_data", "upstream_data"])
def test_buffers_of_every_kind(host: MemoryHost, name: str) -> None:
    """The functions act on the buffer that their name says."""
    buffer_type = int(BufferType[name.upper()])
    host.buffers = {buffer_type: b"body"}
    get, append, prepend, replace = (
        getattr(hostcalls, f"{verb}_{name}") for verb in ("get", "append", "prepend", "replace")
    )
    append(b">")
    prepend("<")
    assert (get(), get(1), get(1, 4), get(start=9)) == (b"<body>", b"body>", b"body", b"")
    replace(b"new")
    assert host.buffers == {buffer_type: b"new"}


def test_the_response_of_a_call(host: MemoryHost) -> None:
    """Headers, body and trailers of a reply are read from their own maps and buffer."""
    host.headers = {6: [(b":status", b"200")], 7: [(b"t", b"\xff")]}
    host.buffers = {4: b"0123"}
    assert hostcalls.get_http_call_response_headers() == [(":status", "200")]
    assert hostcalls.get_http_call_response_trailers() == [("t", "\udcff")]
    assert hostcalls.get_http_call_response_body(1, 2) == b"12"


def test_local_responses(host: MemoryHost) -> None:
    """Headers are serialized; what is left out is an empty body, no headers, no gRPC status and no details."""
    hostcalls.send_http_response(403, [("x-why", "because"), ("x-why", b"\xff")], "text", 7, "details")
    hostcalls.send_http_response(204)
    assert host.responses == [
        (403, "details", "text", [(b"x-why", b"because"), (b"x-why", b"\xff")], 7),
        (204, "", b"", [], -1),
    ]


def test_local_responses_refuse_split_headers(host: MemoryHost) -> None:
    """A header that would break out of its line is an error before anything is sent."""
    with pytest.raises(ValueError, match="line break"):
        hostcalls.send_http_response(200, [("location", "/\r\nset-cookie: x")])
    assert host.responses == []


def test_a_local_response_marks_its_stream(host: MemoryHost) -> None:
    """`answered` is True for the context that the response was sent for, and for no other."""
    http_filter("f")(type("Stream", (HttpContext,), {}))
    first, second = begin(2), begin(3)
    with hostcalls.effective_context(3):
        hostcalls.send_http_response(200)
    assert (first.answered, second.answered) == (False, True)


def test_all_names_what_is_there() -> None:
    """`__all__` has every public function of the module and nothing else, in order."""
    functions = {
        name for name, value in vars(hostcalls).items() if callable(value) and name.islower() and name[0] != "_"
    }
    assert hostcalls.__all__ == sorted(functions - {"encode_pairs", "find_context"})
