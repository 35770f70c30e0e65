"""The service decides about each request, and gets what it is configured to get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import StreamType
from pywasmfilter.testing import Host, Refused, Request, Response

ALLOW = Response(200, [("x-user", "ada"), ("x-roles", "a"), ("x-roles", "b"), ("x-secret", "of the service")])
CONFIGURATION = {"cluster": "auth", "upstream_headers": ["x-user", "x-roles"]}
OPEN = {**CONFIGURATION, "fail_open": True}

pytestmark = pytest.mark.filter(configuration=CONFIGURATION)


def test_what_the_service_gets(host: Host) -> None:
    """Method, path and chosen headers of the request, which waits."""
    host.clusters["auth"] = None
    headers = [("cookie", "a=1"), ("cookie", "b=2"), ("authorization", "Bearer x"), ("x-other", "y"), ("x-user", "eve")]
    stream = host.request("DELETE", "/orders/1?force", headers)
    (call,) = host.http_calls
    assert (call.request.method, call.request.path, call.timeout) == ("DELETE", "/orders/1?force", 0.5)
    assert call.request.headers.get_all("cookie") == ["a=1", "b=2"]
    assert call.request.headers["authorization"] == "Bearer x"
    assert call.request.headers["x-forwarded-host"] == "test.local"
    assert not {"x-other", "x-user"} & set(call.request.headers)
    assert stream.paused == StreamType.HTTP_REQUEST


def test_allowed(host: Host) -> None:
    """The request goes on, body and all, with the service's headers in the place of the client's."""
    host.clusters["auth"] = ALLOW
    stream = host.request("POST", "/", [("x-user", "eve"), ("X-Roles", "root"), ("x-secret", "mine")], body=["a", "b"])
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.body == b"ab"
    assert stream.sent.headers["x-user"] == "ada"
    assert stream.sent.headers.get_all("x-roles") == ["a", "b"]
    assert stream.sent.headers.get_all("x-secret") == ["mine"]


def test_a_header_that_the_service_does_not_give_is_nobodys(host: Host) -> None:
    """The client cannot fill in for it."""
    host.clusters["auth"] = Response(200)
    stream = host.request("GET", "/", {"x-user": "eve"})
    assert stream.sent is not None
    assert "x-user" not in stream.sent.headers


@pytest.mark.parametrize("name", ["x_user", "X_User"])
def test_other_spellings_of_the_services_headers(host: Host, name: str) -> None:
    """An upstream that takes underscores for hyphens gets nothing that the client has made up."""
    for answer, users in ((ALLOW, ["ada"]), (Response(200), [])):
        host.clusters["auth"] = answer
        stream = host.request("GET", "/", [(name, "eve"), (name, "eve"), ("x_other", "mine")])
        assert stream.sent is not None
        assert stream.sent.headers.get_all("x-user") == users
        assert "eve" not in stream.sent.headers.values()
        assert stream.sent.headers["x_other"] == "mine"


@pytest.mark.parametrize("status", [201, 204, 302, 400, 401, 403, 429])
def test_denied(host: Host, status: int) -> None:
    """The client gets status, body and chosen headers of the service."""
    cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2")]
    headers = [("location", "/login"), ("www-authenticate", "Basic"), *cookies, ("x-user", "ada"), ("x-debug", "1")]
    host.clusters["auth"] = Response(status, headers, "" if status == 204 else "no")
    stream = host.request()
    assert (stream.status, stream.sent) == (status, None)
    assert stream.text == ("" if status == 204 else "no")
    assert (stream.headers["location"], stream.headers.get_all("set-cookie")) == ("/login", ["a=1", "b=2"])
    assert not {"x-user", "x-debug"} & set(stream.headers)


@pytest.mark.parametrize("answer", [Response(500), Response(503), Response(200, delay=0.6)])
def test_no_decision(host: Host, answer: Response) -> None:
    """A service that is down or too slow lets nothing pass."""
    host.clusters["auth"] = answer
    stream = host.request()
    host.advance(0.5)
    assert (stream.status, stream.sent) == (503, None)
    assert host.logged("the authorization service does not decide: status 50")


def test_no_service(host: Host) -> None:
    """Nor does a cluster that the proxy does not have, or a connection that breaks off."""
    assert host.request().status == 503
    host.clusters["auth"] = None
    stream = host.request()
    host.http_calls[0].fail()
    assert (stream.status, stream.sent) == (503, None)


@pytest.mark.filter(configuration=OPEN)
@pytest.mark.parametrize("answer", [Response(500), Response(200, delay=0.6)])
def test_fail_open(host: Host, answer: Response) -> None:
    """Who wants it gets requests that nobody has checked, without headers that only the service may set."""
    host.clusters["auth"] = answer
    stream = host.request("GET", "/", {"x-user": "eve"})
    host.advance(0.5)
    assert stream.status == 200
    assert stream.sent is not None
    assert "x-user" not in stream.sent.headers
    host.clusters["auth"] = Response(403)
    assert host.request().status == 403


@pytest.mark.filter(configuration={**CONFIGURATION, "path_prefix": "/check", "authority": "auth.example"})
@pytest.mark.parametrize("path", ["/", "/a%2e%2e/%00?x=\udcff", "//evil.example/", "/a/../b"])
def test_the_path_stays_as_it_is(host: Host, path: str) -> None:
    """What is checked is what the upstream gets."""
    seen: list[Request] = []
    host.clusters["auth"] = lambda request: seen.append(request) or ALLOW  # type: ignore[func-returns-value]
    stream = host.request("GET", path)
    assert stream.sent is not None
    assert (stream.sent.path, seen[0].path) == (path, f"/check{path}")
    assert seen[0].headers[":authority"] == "auth.example"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"request_headers": ["content-length"]}, "not the name of a header that can be passed on"),
        ({"upstream_headers": [":path"]}, "not the name of a header that can be passed on"),
        ({"client_headers": ["Location"]}, "not the name of a header that can be passed on"),
        ({"timeout": "0s"}, "more than 0"),
        ({"max_body": 1024}, "allow_on_headers_stop_iteration"),
    ],
)
def test_a_bad_configuration_is_refused(new_host: Callable[..., Host], change: dict[str, Any], problem: str) -> None:
    """What would not work, or let headers pass before the decision, does not start."""
    with pytest.raises(Refused, match=problem):
        new_host(configuration={**CONFIGURATION, **change})
