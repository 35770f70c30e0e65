"""Requests get an id and a trace context, which the upstream and the client see."""

from __future__ import annotations

import re

import pytest

from pywasmfilter.testing import Host, HttpStream

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def traceparent(stream: HttpStream) -> list[str]:
    assert stream.sent
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", stream.sent.headers["traceparent"])
    return stream.sent.headers["traceparent"].split("-")


def test_every_request_gets_its_own(host: Host) -> None:
    """The upstream and the client see the same id and trace, and no two requests have the same."""
    streams = [host.request() for _ in range(20)]
    for stream in streams:
        assert stream.sent
        assert stream.headers["x-request-id"] == stream.sent.headers["x-request-id"]
        assert stream.headers["x-trace-id"] == traceparent(stream)[1]
    assert len({stream.headers["x-request-id"] for stream in streams}) == 20
    assert len({stream.headers["x-trace-id"] for stream in streams}) == 20


def test_a_trace_goes_on(host: Host) -> None:
    """The request stays in its trace, with a span of its own, and its state comes along."""
    stream = host.request(headers={"traceparent": PARENT, "tracestate": "vendor=1"})
    assert traceparent(stream)[1:4:2] == [TRACE, "01"]
    assert traceparent(stream)[2] != SPAN
    assert stream.sent
    assert stream.sent.headers["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    "parent",
    [
        *("", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE.upper()}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", "x" * 5000),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-01 ,x"),
    ],
)
def test_a_broken_context_is_dropped(host: Host, parent: str) -> None:
    """A new trace begins, without the state of the old one."""
    stream = host.request(headers={"traceparent": parent, "tracestate": "vendor=1"})
    assert traceparent(stream)[1] != TRACE
    assert stream.sent
    assert "tracestate" not in stream.sent.headers


def test_two_parents_are_none(host: Host) -> None:
    """A header that comes twice cannot be believed."""
    stream = host.request(headers=[("traceparent", PARENT), ("traceparent", PARENT)])
    assert traceparent(stream)[1] != TRACE


def test_ids_of_clients_do_not_count(host: Host) -> None:
    """Unless the configuration says so, a client cannot choose its id."""
    assert host.request(headers={"x-request-id": "mine"}).headers["x-request-id"] != "mine"


@pytest.mark.filter(configuration={"trust_clients": True, "log": True})
@pytest.mark.parametrize(("given", "kept"), [("mine-1", True), ("a b", False), ("x" * 129, False), ("é", False)])
def test_ids_of_trusted_clients(host: Host, given: str, kept: bool) -> None:
    """They are kept if they are harmless in a log, which has a line for each request."""
    stream = host.request("GET", "/a", headers={"x-request-id": given})
    assert (stream.headers["x-request-id"] == given) is kept
    (line,) = host.messages
    assert line == f"request {stream.headers['x-request-id']} trace {stream.headers['x-trace-id']} GET '/a'"


@pytest.mark.filter(configuration={"sampled": False})
def test_traces_that_are_not_sampled(host: Host) -> None:
    """A trace that begins here has the flag of the configuration, one that goes on keeps its own."""
    assert traceparent(host.request())[3] == "00"
    assert traceparent(host.request(headers={"traceparent": PARENT}))[3] == "01"
