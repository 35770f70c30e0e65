"""Named upstreams, in both bodies: what is called, how often it is repeated, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, strategies as st

from pywasmfilter import BadArgument, UnknownCluster, registry, upstream
from pywasmfilter.testing import Body, GrpcError, Host, HttpStream, Plugin, Refused, Request, Response
from pywasmfilter.upstreams import _Address
from tests.e2e.conftest import FILTERS

LONGEST = 0.026
"""In so many seconds the first repetition has been made; the clock of a proxy counts in milliseconds."""


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A new host with the filter; its first plugin is one worker. Every upstream is there, and answers with 200."""
    body: Body = request.param
    with Host(FILTERS / "upstreams.py", body=body) as host:
        for name in ("plain", "auth", "brief", "outbound|81||other", "greeter"):
            host.clusters[name] = Response(200, body="fine")
        yield host


@pytest.fixture
def no_upstreams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry of this process is empty, and what a test puts there is forgotten."""
    monkeypatch.setattr(registry, "upstreams", {})


def ask(worker: Host | Plugin, code: str, **headers: str) -> HttpStream:
    """A request that is held back until an expression has its value."""
    return worker.request(headers={"x-code": code, **headers})


def sent(host: Host) -> list[Request]:
    """The calls that the filter has made."""
    return [call.request for call in host.clusters.http_calls]


# What is called


def test_a_call(host: Host) -> None:
    """The authority is that of the URL, the path goes below the URL's, and the reply is that of every HTTP call."""
    assert ask(host, "plain.get('/users?id=1')").text == "<HttpReply 200>"
    (call,) = sent(host)
    assert (call.method, call.path, call.authority) == ("GET", "/api/users?id=1", "plain.local:8080")
    assert call.headers[":scheme"] == "http"
    assert host.clusters.http_calls[0].timeout == 5


@pytest.mark.parametrize(
    ("code", "method", "path", "body"),
    [
        ("plain.get()", "GET", "/api/", b""),
        ("plain.post('/a', body='text')", "POST", "/api/a", b"text"),
        ("plain.put('/a', json=[1, 2])", "PUT", "/api/a", b"[1,2]"),
        ("plain.delete('/a')", "DELETE", "/api/a", b""),
        ("plain.request('PATCH', '/a', body=b'\\xff')", "PATCH", "/api/a", b"\xff"),
    ],
)
def test_methods(host: Host, code: str, method: str, path: str, body: bytes) -> None:
    """Each has its method, and takes a body as bytes, text or JSON, which says that it is."""
    assert ask(host, code).text == "<HttpReply 200>"
    (call,) = sent(host)
    assert (call.method, call.path, call.body) == (method, path, body)
    assert call.headers.get("content-type") == ("application/json" if "json" in code else None)


def test_headers(host: Host) -> None:
    """The upstream's go with every call; a call's own take the place of those with the same name, as for JSON."""
    ask(host, "auth.get(headers={'B': 'own', 'x-more': '1'})")
    ask(host, "auth.post(json=1, headers=[('Content-Type', 'text/x'), ('x-twice', '1'), ('x-twice', '2')])")
    first, second = sent(host)
    assert [first.headers.get_all(name) for name in ("x-client", "b", "x-more")] == [["gate"], ["own"], ["1"]]
    assert [second.headers.get_all(name) for name in ("content-type", "x-twice")] == [["text/x"], ["1", "2"]]
    assert (b"b", b"\xff") in second.headers.raw


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("auth.get('check')", "ValueError: upstream 'auth': a path begins with \"/\" and has no spaces; quote 'check'"),
        ("auth.get('/a HTTP/1.1')", "ValueError: upstream 'auth': a path begins with"),
        ("auth.request('GET /b', '/a')", "ValueError: upstream 'auth': 'GET /b' is no method"),
        ("auth.request('', '/a')", "ValueError: upstream 'auth': '' is no method"),
        ("auth.get(headers={'Content-Length': '5'})", "ValueError: content-length is no header to give"),
        ("auth.get(headers={':authority': 'x'})", "ValueError: :authority is no header to give"),
        ("auth.get(headers={'x': 'a\\r\\nb'})", "ValueError: "),
        ("auth.get('/a\\r\\nb')", "ValueError: "),
        ("auth.get(timeout=0)", "ValueError: a timeout is more than 0"),
        ("auth.get(deadline=-1)", "ValueError: a timeout is more than 0"),
        ("auth.get(json=object())", "TypeError: "),
    ],
)
def test_what_makes_no_call(host: Host, code: str, message: str) -> None:
    """A mistake is an exception where the call is made, and nothing is sent."""
    assert ask(host, code).text.startswith(message)
    assert sent(host) == []


def test_calls_are_made_at_once(host: Host) -> None:
    """Several are on their way before one is awaited, and one that nobody awaits is made too."""
    host.clusters["auth"] = host.clusters["plain"] = None
    stream = ask(host, "both(plain.get('/1'), auth.get('/2')) if plain.get('/0') else None")
    assert [call.request.path for call in host.http_calls] == ["/api/0", "/api/1", "/2"]
    for call in host.http_calls:
        call.reply(Response(201 if call.cluster == "auth" else 202))
    assert stream.text == "[<HttpReply 202>, <HttpReply 201>]"


def test_a_plugin_calls(host: Host) -> None:
    """Outside of streams the call is the plugin's."""
    host.tick()
    assert host.logged("tick: <HttpReply 200>")
    assert [request.path for request in sent(host)] == ["/api/tick"]


def test_when_the_stream_ends_so_does_the_call(host: Host) -> None:
    """No more is tried for a client that has gone."""
    host.clusters["auth"] = Response(503)
    stream = ask(host, "auth.get()")
    stream.abort()
    host.advance(10)
    assert len(sent(host)) == 1


# Which cluster


def test_an_upstream_has_a_cluster(host: Host) -> None:
    """It is called like the upstream, or as the filter says, or as the VM's environment says, per VM."""
    ask(host, "other.get()")
    assert [call.cluster for call in host.clusters.http_calls] == ["outbound|81||other"]
    host.clusters["o"] = host.clusters["a"] = Response(200)
    environment = {"PYFILTER_UPSTREAM_OTHER_NAME_V1": "o", "PYFILTER_UPSTREAM_AUTH": "a"}
    worker = host.start(environment=environment)
    ask(worker, "both(auth.get(), other.get(), plain.get())")
    ask(host, "auth.get()")
    assert [call.cluster for call in host.clusters.http_calls[1:]] == ["a", "o", "plain", "auth"]
    empty = host.start(environment={"PYFILTER_UPSTREAM_AUTH": ""})
    ask(empty, "auth.get()")
    assert host.clusters.http_calls[-1].cluster == "auth"


def test_an_unknown_cluster(host: Host) -> None:
    """The error says which upstream and which cluster, and how to define it; it is a BadArgument."""
    for name in ("auth", "plain"):
        del host.clusters[name]
    text = ask(host, "auth.get()").text
    assert text.startswith("UnknownCluster: upstream 'auth', https://auth.example.com: the proxy has no cluster 'auth'")
    assert "the endpoint auth.example.com:443, and a transport socket for TLS with the SNI auth.example.com." in text
    assert "PYFILTER_UPSTREAM_AUTH=outbound|443||auth.example.com" in text
    plain = ask(host, "plain.get()").text
    assert "cluster of this name with the endpoint plain.local:8080. In Istio" in plain
    assert "TLS" not in plain
    worker = host.start(environment={"PYFILTER_UPSTREAM_AUTH": "nothing"})
    assert "no cluster 'nothing', which PYFILTER_UPSTREAM_AUTH names." in ask(worker, "auth.get()").text
    assert issubclass(UnknownCluster, BadArgument)


# Repetitions


@pytest.mark.parametrize("failures", [[503], [504], [503, 504]])
def test_what_fails_is_tried_again(host: Host, failures: list[int]) -> None:
    """A service that recovers in time gives its reply, after a wait that doubles."""
    host.clusters["auth"] = [*map(Response, failures), Response(200)]
    stream = ask(host, "auth.get('/x')")
    host.advance(0.012)
    assert len(sent(host)) == 1
    host.advance(LONGEST - 0.012)
    assert len(sent(host)) == 2
    host.advance(0.05)
    assert stream.text == "<HttpReply 200>"
    assert [request.path for request in sent(host)] == ["/x"] * (len(failures) + 1)


def test_retries_are_bounded(host: Host) -> None:
    """The reply of the last try is the call's."""
    host.clusters["auth"] = [Response(503), Response(503), Response(504), Response(200)]
    stream = ask(host, "auth.get()")
    host.advance(10)
    assert stream.text == "<HttpReply 504>"
    assert len(sent(host)) == 3


def test_a_connection_that_breaks_off(host: Host) -> None:
    """Is tried again too; when it is the last one, the exception names the upstream."""
    host.clusters["auth"] = None
    stream = ask(host, "auth.get()")
    for _ in range(3):
        host.http_calls[0].fail()
        host.advance(0.1)
    assert stream.text.startswith("CallFailed: upstream 'auth': the call ended without a response")
    assert len(sent(host)) == 3


def test_a_call_that_fails_at_once(host: Host) -> None:
    """As for a cluster without hosts: it is tried again, and then raised when awaited."""
    host.fail("http_call", times=1)
    stream = ask(host, "auth.get()")
    host.advance(LONGEST)
    assert stream.text == "<HttpReply 200>"
    host.fail("http_call", times=3)
    stream = ask(host, "auth.get()")
    host.advance(1)
    assert stream.text.startswith("CallFailed: upstream 'auth': the call failed at once: has")


@pytest.mark.parametrize(
    ("code", "tries"),
    [
        ("auth.get()", 3),
        ("auth.put()", 3),
        ("auth.delete()", 3),
        ("auth.request('HEAD')", 3),
        ("auth.post()", 1),
        ("auth.request('PATCH')", 1),
        ("auth.post(idempotent=True)", 3),
        ("auth.get(idempotent=False)", 1),
        ("plain.get()", 1),
    ],
)
def test_what_may_be_repeated(host: Host, code: str, tries: int) -> None:
    """What does the same when it is done twice, or what the call says, if the upstream has retries."""
    host.clusters["auth"] = host.clusters["plain"] = Response(503)
    stream = ask(host, code)
    host.advance(1)
    assert stream.text == "<HttpReply 503>"
    assert len(sent(host)) == tries


def test_statuses(host: Host) -> None:
    """Only those that the upstream says are tried again."""
    host.clusters["auth"] = Response(500)
    assert ask(host, "auth.get()").text == "<HttpReply 500>"
    host.clusters["brief"] = [Response(500), Response(503)]
    stream = ask(host, "brief.get()")
    host.advance(0.1)
    assert stream.text == "<HttpReply 503>"


def test_the_timeout_is_that_of_a_try(host: Host) -> None:
    """Each try has the whole of it, whichever is given."""
    host.clusters["auth"] = None
    stream = ask(host, "auth.get(timeout=0.2)")
    host.advance(0.5)
    assert [call.timeout for call in host.clusters.http_calls] == [0.2, 0.2, 0.2]
    host.advance(0.3)
    assert stream.text == "<HttpReply 504>"


def test_the_deadline_is_that_of_all_tries(host: Host) -> None:
    """The last try has what is left, and none begins after it."""
    host.clusters["brief"] = None
    stream = ask(host, "brief.get()")
    host.advance(0.5)
    assert stream.text == "<HttpReply 504>"
    first, second = (call.timeout for call in host.clusters.http_calls)
    assert first == 0.4
    assert 0.07 <= second <= 0.09
    host.clusters["brief"] = Response(500)
    stream = ask(host, "brief.get(deadline=0.01)")
    assert stream.text == "<HttpReply 500>"


def test_nobody_waits_any_more(host: Host) -> None:
    """A call whose caller gave up is not repeated."""
    host.clusters["auth"] = Response(503)
    stream = ask(host, "limited(0.005, auth.get())")
    host.advance(1)
    assert stream.text.startswith("TimeoutError")
    assert len(sent(host)) == 1


def test_the_budget(host: Host) -> None:
    """In an outage one in five calls is repeated, and ten more. Each worker has its own budget, and later a new one."""
    host.clusters["auth"] = Response(503)
    for _ in range(50):
        ask(host, "auth.get()")
    host.advance(0.5)
    assert len(sent(host)) == 50 + 20
    other_worker = host.start(new_vm=True)
    ask(other_worker, "auth.get()")
    host.advance(0.5)
    assert len(sent(host)) == 50 + 20 + 3
    ask(host, "auth.get()")
    host.advance(0.5)
    assert len(sent(host)) == 50 + 20 + 3 + 1
    host.advance(10)
    ask(host, "auth.get()")
    host.advance(0.5)
    assert len(sent(host)) == 50 + 20 + 3 + 1 + 3


# Trace headers

TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=1",
    "x-request-id": "abc",
    "b3": "0",
    "x-b3-traceid": "1",
    "x-b3-spanid": "2",
    "x-b3-parentspanid": "3",
    "x-b3-sampled": "1",
    "x-b3-flags": "0",
}


def traced(request: Request) -> dict[str, str]:
    """The trace headers of a call."""
    return {name: value for name, value in request.headers.items() if name in TRACE}


def test_the_trace_goes_on(host: Host) -> None:
    """What the request has of the trace headers goes with its calls, retries too, unless the upstream wants none."""
    host.clusters["auth"] = [Response(503), Response(200)]
    ask(host, "auth.get()", **TRACE)
    host.advance(LONGEST)
    ask(host, "plain.get()", traceparent="1", **{"x-request-id": "2", "x-b3-spanid": "alone"})
    ask(host, "other.get()", **TRACE)
    assert [traced(request) for request in sent(host)] == [TRACE, TRACE, {"traceparent": "1", "x-request-id": "2"}, {}]


def test_a_calls_own_trace_headers_count(host: Host) -> None:
    """A filter that makes spans says so."""
    ask(host, "plain.get(headers={'Traceparent': 'own'})", **TRACE)
    assert traced(sent(host)[0]) == {**TRACE, "traceparent": "own"}


def test_what_was_read_is_remembered(host: Host) -> None:
    """In the response's callback, calls carry the trace if one could read it before; else they have none."""
    stream = host.request(headers={"x-first": "plain.get('/1')", "x-later": "plain.get('/2')", **TRACE})
    assert (stream.headers["x-first"], stream.headers["x-later"]) == ("<HttpReply 200>", "<HttpReply 200>")
    assert host.request(headers={"x-later": "plain.get('/3')", **TRACE}).headers["x-later"] == "<HttpReply 200>"
    assert [traced(request) for request in sent(host)] == [TRACE, TRACE, {}]


def test_a_plugins_calls_have_no_trace(host: Host) -> None:
    """There is no request that they belong to."""
    host.tick()
    assert traced(sent(host)[0]) == {}


# gRPC


def test_grpc(host: Host) -> None:
    """The call goes to the upstream's cluster, with its headers and the trace; one that fails says how."""
    host.clusters["greeter"] = b"reply"
    code = "status_and_message(greeter.grpc('hello.v1.Hello', 'Greet', b'ask', metadata={'x-own': '1'}, timeout=2))"
    assert ask(host, code, traceparent="t").text == "(0, b'reply')"
    (call,) = host.clusters._grpc_calls
    assert (call.method, call.messages, call.timeout) == ("hello.v1.Hello/Greet", [b"ask"], 2)
    expected = {"x-own": "1", "x-client": "gate", "traceparent": "t"}
    assert {name: call.initial_metadata.get(name) for name in expected} == expected
    host.clusters["greeter"] = GrpcError(14, "down")
    assert ask(host, code).text == "(14, b'')"


# What is refused at import


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "base"),
    [
        ("http://a", "a", 80, "a", ""),
        ("HTTPS://A.example.com", "a.example.com", 443, "a.example.com", ""),
        ("https://a:443/", "a", 443, "a", ""),
        ("https://a:80/x/y%20z/", "a", 80, "a:80", "/x/y%20z"),
        ("http://10.0.0.1:8080", "10.0.0.1", 8080, "10.0.0.1:8080", ""),
        ("http://[2001:DB8::1]", "2001:db8::1", 80, "[2001:db8::1]", ""),
        ("http://[::1]:8080/a", "::1", 8080, "[::1]:8080", "/a"),
        ("http://web_1:8000", "web_1", 8000, "web_1:8000", ""),
    ],
)
def test_urls(no_upstreams: None, url: str, host: str, port: int, authority: str, base: str) -> None:
    """A URL has a scheme and a host, and may have a port and a path; a default port is not named to the service."""
    made = upstream("u", url)
    described = made.describe()
    assert (described["host"], described["port"], described["tls"]) == (host, port, url[:5].lower() == "https")
    assert (made._address.authority, made._address.base) == (authority, base)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "the URL begins with http:// or https://"),
        ("auth.example.com", "the URL begins with http:// or https://"),
        ("ftp://a", "the URL begins with http:// or https://"),
        ("http:/a", "the URL begins with http:// or https://"),
        ("http://", "the URL begins with http:// or https://"),
        ("http:///a", "the URL has a host"),
        ("http://:80", "the URL has a host"),
        ("http://a..b", "the URL has a host"),
        ("http://a b", "the URL is ASCII"),
        ("http://a\n", "the URL is ASCII"),
        ("http://bücher.example", "the URL is ASCII"),
        ("http://a\\b", "the URL is ASCII"),
        ("http://user:word@a", "the URL has no user name"),
        ("http://a/x?y", "the URL has no query or fragment"),
        ("http://a#x", "the URL has no query or fragment"),
        ("http://a:", "the URL has a port from 1 to 65535, or none"),
        ("http://a:0", "the URL has a port"),
        ("http://a:65536", "the URL has a port"),
        ("http://a:1:2", "the URL has a port"),
        ("http://a:99999999999999999999", "the URL has a port"),
        ("http://[::1", "the URL has a host"),
        ("http://[a]", "the URL has a host"),
        ("http://[::1]8", "the URL has a port"),
        ("http://::1", "the URL has a host"),
    ],
)
def test_urls_that_are_none(no_upstreams: None, url: str, message: str) -> None:
    """They are refused, with the upstream's name and what a URL is."""
    with pytest.raises(ValueError, match="upstream 'u': ") as caught:
        upstream("u", url)
    assert str(caught.value).startswith(f"upstream 'u': {message}")
    assert registry.upstreams == {}


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z0-9]{1,5}(\.[a-z0-9-]{1,5}){0,2}", fullmatch=True),
    st.none() | st.integers(1, 65535),
    st.from_regex(r"(/[a-z0-9%]{0,4}){0,3}", fullmatch=True),
)
def test_urls_are_read_as_the_standard_library_reads_them(scheme: str, name: str, port: int | None, path: str) -> None:
    """Host, port and path of any URL are those that `urllib` finds."""
    url = f"{scheme}://{name}{'' if port is None else f':{port}'}{path}"
    address = _Address(url)
    parts = urlsplit(url)
    assert (address.host, address.port) == (parts.hostname, parts.port or {"http": 80, "https": 443}[scheme])
    assert address.base == parts.path.rstrip("/")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "the name of an upstream is letters"),
        ({"name": "a b"}, "the name of an upstream is letters"),
        ({"name": "-a"}, "the name of an upstream is letters"),
        ({"name": "ä"}, "the name of an upstream is letters"),
        ({"timeout": 0}, "a timeout is more than 0"),
        ({"timeout": float("nan")}, "a timeout is more than 0"),
        ({"deadline": -1}, "a timeout is more than 0"),
        ({"retries": -1}, "retries is 0 or more, not -1"),
        ({"retry_on": [503, 99]}, r"retry_on has statuses, from 100 to 599, not \[99, 503\]"),
        ({"headers": {"x": "a\nb"}}, "line break"),
        ({"headers": {":path": "/"}}, ":path is no header to give"),
    ],
)
def test_options_that_make_no_sense(no_upstreams: None, options: dict[str, Any], message: str) -> None:
    """They are refused where the upstream is defined, which is when the filter is built."""
    with pytest.raises(ValueError, match=message):
        upstream(**{"name": "u", "url": "http://a", **options})
    assert registry.upstreams == {}


@pytest.mark.parametrize("options", [{"name": 1}, {"url": None}, {"cluster": 3}])
def test_what_is_no_text(no_upstreams: None, options: dict[str, Any]) -> None:
    """Is a TypeError."""
    with pytest.raises(TypeError, match="name, URL and cluster of an upstream are text"):
        upstream(**{"name": "u", "url": "http://a", **options})


def test_names_are_taken_once(no_upstreams: None) -> None:
    """An upstream may be defined again as it is, but not otherwise; no two have one variable."""
    upstream("a-b", "http://a", timeout=1)
    upstream("a-b", "http://a", timeout=2)
    with pytest.raises(ValueError, match="upstream 'a-b' is defined twice: as Upstream"):
        upstream("a-b", "http://b")
    with pytest.raises(ValueError, match="upstreams 'a-b' and 'a_b' share the variable PYFILTER_UPSTREAM_A_B"):
        upstream("a_b", "http://a")


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_a_call_at_import_time(tmp_path: Path, body: Body) -> None:
    """There is no proxy then, and the filter is refused."""
    path = tmp_path / "filter.py"
    path.write_text('from pywasmfilter import upstream\nupstream("a", "http://a").get()\n')
    with pytest.raises(Refused, match=r"filter.py:2: .*MisuseError: upstreams are called in callbacks and coroutines"):
        Host(path, body=body)
