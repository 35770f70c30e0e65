"""Host calls as functions: each is the ABI's call, with the conversions its signature promises and nothing else."""

from __future__ import annotations

import pytest

from pywasmfilter import MapType, NotFound, hostcalls
from tests.sdk.conftest import MemoryHost


def test_plain_calls_go_straight_through(host: MemoryHost) -> None:
    """Timers, contexts and streams reach the host with their arguments as they are."""
    hostcalls.set_tick_period_milliseconds(250)
    hostcalls.set_effective_context(7)
    hostcalls.done()
    hostcalls.resume_http_request()
    hostcalls.resume_http_response()
    assert host.calls == [
        ("set_tick_period_milliseconds", 250),
        ("set_effective_context", 7),
        ("done",),
        ("continue_stream", 0),
        ("continue_stream", 1),
    ]


def test_answers_come_back(host: MemoryHost) -> None:
    """Log level and clock are the host's numbers."""
    assert hostcalls.get_log_level() == host.log_level
    assert hostcalls.get_current_time_nanoseconds() == 1_234_567_890


@pytest.mark.parametrize("kind", ["request", "response"])
def test_headers_of_both_directions(host: MemoryHost, kind: str) -> None:
    """get, add, replace and remove act on the map that their name says; a missing header is None."""
    map_type = int(MapType.HTTP_REQUEST_HEADERS if kind == "request" else MapType.HTTP_RESPONSE_HEADERS)
    host.headers[map_type] = [(b"a", b"1")]
    get, add, replace, remove = (
        getattr(hostcalls, f"{verb}_http_{kind}_header") for verb in ("get", "add", "replace", "remove")
    )
    add("a", b"2")
    assert get("a") == "1"
    assert host.headers[map_type] == [(b"a", b"1"), (b"a", b"2")]
    replace(b"A", "3")
    assert host.headers[map_type] == [(b"A", b"3")]
    remove("a")
    assert get("a") is None


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


def test_properties(host: MemoryHost) -> None:
    """A path is joined with NUL; a property that is not there is None."""
    hostcalls.set_property(["my", "própérty"], b"value")
    assert host.properties == {"my\0própérty".encode(): b"value"}
    assert hostcalls.get_property(("my", "própérty")) == b"value"
    assert hostcalls.get_property(["gone"]) is None


def test_a_path_is_not_one_text(host: MemoryHost) -> None:
    """The letters of a str are not the parts of a path."""
    with pytest.raises(TypeError, match=r"list of its parts.*not 'source\.address'"):
        hostcalls.get_property("source.address")
    with pytest.raises(TypeError, match="list of its parts"):
        hostcalls.set_property("x", b"")


def test_foreign_functions(host: MemoryHost) -> None:
    """The answer is the function's bytes; an unknown name raises NotFound."""
    host.foreign["echo"] = b">"
    assert hostcalls.call_foreign_function("echo", b"abc") == b">abc"
    assert hostcalls.call_foreign_function("echo") == b">"
    with pytest.raises(NotFound):
        hostcalls.call_foreign_function("gone")
