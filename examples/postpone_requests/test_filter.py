"""The filter holds requests until the next tick."""

from __future__ import annotations

from pywasmfilter import LogLevel, StreamType
from pywasmfilter.testing import Host


def test_a_request_goes_on_after_a_tick(host: Host) -> None:
    """It is held for a second, and then answered as if nothing had been."""
    stream = host.request()
    host.advance(0.9)
    assert stream.paused == StreamType.HTTP_REQUEST
    assert stream.sent is None
    host.advance(0.1)
    assert stream.status == 200
    assert host.messages == ["postpone request with contextID=2", "resume request with contextID=2"]


def test_a_tick_is_for_all_that_wait(host: Host) -> None:
    """Each of them is resumed once, in the order in which they came."""
    streams = [host.request() for _ in range(3)]
    host.advance(2)
    assert [stream.status for stream in streams] == [200] * 3
    assert host.messages[3:] == [f"resume request with contextID={context_id}" for context_id in (2, 3, 4)]


def test_a_body_waits_too(host: Host) -> None:
    """The upstream gets it whole, after the headers."""
    stream = host.request("POST", "/", body=["one", "two"])
    assert stream.sent is None
    host.tick()
    assert stream.sent
    assert stream.sent.body == b"onetwo"


def test_a_client_that_leaves_does_not_disturb_the_others(host: Host) -> None:
    """Its request is forgotten; the other one is resumed all the same, and nothing fails."""
    leaving, staying = host.request(), host.request()
    leaving.abort()
    host.tick()
    assert staying.status == 200
    assert host.messages[-1] == "resume request with contextID=3"
    assert {line.level for line in host.log} == {LogLevel.INFO}
