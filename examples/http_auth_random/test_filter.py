"""The filter asks another service about each request, and lets the hash of the answer decide."""

from __future__ import annotations

from pywasmfilter import LogLevel, StreamType
from pywasmfilter.testing import Host, Request, Response

EVEN = Response(body='{"uuid": "7b10a67a-1c67-4199-835b-cbefcd4a63d4"}')
"""An answer whose hash is even."""
ODD = Response(body='{"uuid": "aaaaaaaa-1c67-4199-835b-cbefcd4a63d4"}')


def test_the_service_gets_the_requests_headers(host: Host) -> None:
    """The call has the headers of the request, which waits; both is logged."""
    host.clusters["httpbin"] = None  # no answer yet
    stream = host.request("GET", "/uuid", {"this-is-key": "this-is-value"})
    (call,) = host.http_calls
    assert (call.request.path, call.request.headers["this-is-key"], call.timeout) == ("/uuid", "this-is-value", 50)
    assert stream.paused == StreamType.HTTP_REQUEST
    assert "request header: this-is-key: this-is-value" in host.messages
    assert host.messages[-1] == "http call dispatched to httpbin"


def test_an_even_hash_grants(host: Host) -> None:
    """The request goes on to the upstream; the headers of the answer are logged before."""
    host.clusters["httpbin"] = EVEN
    stream = host.request("GET", "/uuid", upstream=Response(body="the upstream's"))
    assert (stream.status, stream.text) == (200, "the upstream's")
    assert "response header from httpbin: :status: 200" in host.messages
    assert host.log[-1] == (LogLevel.INFO, "access granted")


def test_an_odd_hash_forbids(host: Host) -> None:
    """The client gets a 403 with a header and a body of the filter's; the upstream is not asked."""
    host.clusters["httpbin"] = ODD
    stream = host.request("GET", "/uuid")
    assert (stream.status, stream.text) == (403, "access forbidden")
    assert stream.headers["powered-by"] == "proxy-wasm-go-sdk!!"
    assert stream.sent is None
    assert host.log[-1] == (LogLevel.INFO, "access forbidden")


def test_each_request_gets_its_own_answer(host: Host) -> None:
    """Of two requests that wait, each is decided by the answer to its own call, whichever comes first."""
    host.clusters["httpbin"] = None
    first, second = host.request("GET", "/first"), host.request("GET", "/second")
    for call in reversed(host.http_calls):
        call.reply(EVEN if call.request.path == "/second" else ODD)
    assert (first.status, second.status) == (403, 200)


def test_a_slow_answer_is_waited_for(host: Host) -> None:
    """Up to the timeout of 50 seconds; then Envoy's own answer, a 504, is what the hash is made of."""
    host.clusters["httpbin"] = None
    stream = host.request()
    host.advance(49.9)
    assert stream.paused == StreamType.HTTP_REQUEST
    host.advance(0.1)
    assert "response header from httpbin: :status: 504" in host.messages
    assert stream.status in {200, 403}


def test_an_unknown_cluster_lets_requests_through(host: Host) -> None:
    """If the call cannot even be made, that is logged at critical and the request goes on."""
    assert host.request().sent
    level, message = host.log[-1]
    assert level == LogLevel.CRITICAL
    assert message.startswith("dipatch httpcall failed: proxy_http_call")


def test_a_client_that_leaves_needs_no_answer(host: Host) -> None:
    """The answer to the call of a request that is gone is not looked at."""
    host.clusters["httpbin"] = None
    stream = host.request()
    stream.abort()
    host.http_calls[0].reply(ODD)
    assert host.messages[-1] == "http call dispatched to httpbin"


def test_services_see_what_filters_send(host: Host) -> None:
    """A service can be a function, which decides by what it is asked."""

    def httpbin(request: Request) -> Response:
        return EVEN if request.path == "/good" else ODD

    host.clusters["httpbin"] = httpbin
    assert [host.request("GET", path).status for path in ("/good", "/bad", "/good")] == [200, 403, 200]
