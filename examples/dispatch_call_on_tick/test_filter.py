"""The plugin calls a service on every tick, without any traffic, and logs what comes back."""

from __future__ import annotations

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host, Request, Response


def web_service(request: Request) -> Response:
    """What envoy.yaml puts there."""
    return Response({"/ok": 200, "/fail": 503}[request.path])


def test_start_sets_the_tick_period(host: Host) -> None:
    """The plugin asks for ticks every 100 ms and says so."""
    assert host.plugin.tick_period == 0.1
    assert host.log == [(LogLevel.INFO, "set tick period milliseconds: 100")]


def test_a_call_is_made_on_every_tick(host: Host) -> None:
    """It is a GET to one of two paths, which nobody has to ask for."""
    host.clusters["web_service"] = None  # nobody answers yet
    host.advance(0.25)
    first, second = host.http_calls
    assert {first.request.path, second.request.path} <= {"/ok", "/fail"}
    assert (first.request.method, first.request.body) == ("GET", b"")
    assert first.request.headers[":authority"] == "some_authority"
    assert (first.request.headers["accept"], first.timeout) == ("*/*", 5)


def test_both_paths_are_called(host: Host) -> None:
    """Chance decides between a path that works and one that fails; the status of each answer is logged."""
    host.clusters["web_service"] = web_service
    host.advance(6.4)  # all of one kind: once in 2^63 runs
    for status in (200, 503):
        assert f"response header for the dispatched call: :status: {status}" in host.messages


def test_plugins_count_their_own_responses(host: Host) -> None:
    """Two plugins of one VM are contexts 1 and 2 in it, and each has a number of its own."""
    host.start(configuration="plugin2")
    host.clusters["web_service"] = web_service
    host.advance(0.95)
    for context_id in (1, 2):
        called = [line for line in host.messages if line.endswith(f"for contextID={context_id}")]
        assert called == [f"called {count} for contextID={context_id}" for count in range(1, 10)]


def test_headers_and_trailers_are_logged(host: Host) -> None:
    """In the order in which they came."""
    host.clusters["web_service"] = Response(204, {"x-first": "1"}, trailers={"x-last": "2"})
    host.tick()
    assert host.messages[1:] == [
        "called 1 for contextID=1",
        "response header for the dispatched call: :status: 204",
        "response header for the dispatched call: x-first: 1",
        "response trailer for the dispatched call: x-last: 2",
    ]


def test_an_unknown_cluster_is_critical(host: Host) -> None:
    """A call that cannot be made is logged at critical, and nothing is counted; the next tick tries again."""
    host.advance(0.2)
    levels = [line.level for line in host.log if line.message.startswith("dispatch httpcall failed: proxy_http_call")]
    assert levels == [LogLevel.CRITICAL] * 2
    assert not host.logged("called")
