"""The filter holds a response until ten calls have been answered."""

from __future__ import annotations

from pywasmfilter import StreamType
from pywasmfilter.testing import Host, Response


def test_a_response_waits_for_ten_calls(host: Host) -> None:
    """The calls are made side by side, and the response passes with the tenth answer, not before."""
    host.clusters["httpbin"] = None  # no answers yet
    stream = host.request(upstream=Response(body="example body\n"))
    calls = host.http_calls
    assert [(call.request.method, call.request.path, call.timeout) for call in calls] == [("GET", "/", 50)] * 10
    for call in calls:
        assert stream.paused == StreamType.HTTP_RESPONSE
        call.reply(Response())
    assert (stream.status, stream.text) == (200, "example body\n")


def test_the_response_says_how_many_calls_there_were(host: Host) -> None:
    """In a header that is added while the response still waits."""
    host.clusters["httpbin"] = Response()
    assert host.request().headers.get_all("total-dispatched") == ["10"]


def test_each_answer_is_logged(host: Host) -> None:
    """With the number of calls that are left; the next response waits for ten of its own."""
    host.clusters["httpbin"] = Response()
    host.request()
    host.request()
    expected = [f"pending dispatched requests: {count}" for count in range(9, 0, -1)]
    expected.append("response resumed after processed 10 dispatched request")
    assert host.messages == expected * 2


def test_failed_calls_are_answers_too(host: Host) -> None:
    """A service that is down does not hold the response for ever."""
    host.clusters["httpbin"] = None
    stream = host.request()
    for call in host.http_calls:
        call.fail()
    assert stream.headers["total-dispatched"] == "10"


def test_slow_calls_time_out(host: Host) -> None:
    """After 50 seconds all of them are over, and the response goes on."""
    host.clusters["httpbin"] = None
    stream = host.request()
    host.advance(50)
    assert stream.status == 200
