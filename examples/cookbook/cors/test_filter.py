"""The filter answers preflights, and marks responses for origins that may read them."""

from __future__ import annotations

import pytest

from pywasmfilter.testing import Host, HttpStream, NewHost, Refused, Response

APP = "https://app.example.com"
CONFIGURATION = {"origins": [APP, "https://*.example.org"], "credentials": True, "expose": ["x-total"]}
OWN = "access-control-allow-origin"

pytestmark = pytest.mark.filter(configuration=CONFIGURATION)


def preflight(host: Host, origin: str, method: str = "PUT") -> HttpStream:
    headers = {"origin": origin, "access-control-request-method": method}
    return host.request("OPTIONS", "/orders", headers=headers)


@pytest.mark.parametrize("origin", [APP, "https://a.example.org", "https://a.b.example.org"])
def test_a_preflight_of_an_allowed_origin(host: Host, origin: str) -> None:
    """It is answered without the upstream, with all that the browser asks for."""
    answer = preflight(host, origin)
    assert (answer.status, answer.sent) == (204, None)
    assert answer.headers[OWN] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "600"
    assert "origin" in " ".join(answer.headers.get_all("vary"))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://example.org",
            "http://a.example.org",
            "https://a.example.org:8443",
            "https://a.example.org.evil.com",
        ),
        *("https://app.example.com.evil.com", "https://xapp.example.com", "null", "", "https://evil.com/.example.org"),
    ],
)
def test_a_preflight_of_another_origin(host: Host, origin: str) -> None:
    """It is answered without any permission."""
    answer = preflight(host, origin)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_method_that_is_not_allowed(host: Host) -> None:
    """A page may not send what the configuration does not list."""
    assert OWN not in preflight(host, APP, "PURGE").headers


def test_a_response_for_an_allowed_origin(host: Host) -> None:
    """The page may read it; what the upstream says about CORS does not count, and caches know that origins differ."""
    host.upstream = Response(200, {OWN: "*", "vary": "accept"}, "orders")
    answer = host.request("GET", "/orders", headers={"origin": APP})
    assert answer.sent is not None
    assert answer.headers.get_all(OWN) == [APP]
    assert answer.headers["access-control-expose-headers"] == "x-total"
    assert ",".join(answer.headers.get_all("vary")) == "accept,origin"


@pytest.mark.parametrize("origin", [APP, "https://evil.com"])
def test_the_upstreams_own_permissions(host: Host, origin: str) -> None:
    """None of them reaches the browser, whoever asks."""
    theirs = ("allow-methods", "allow-headers", "allow-private-network", "max-age")
    host.upstream = Response(200, [(f"access-control-{name}", "*") for name in theirs], "orders")
    answer = host.request("OPTIONS", "/orders", headers={"origin": origin})
    assert answer.text == "orders"
    assert "*" not in answer.headers.values()


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://*.example.org:8443", "https://a.example.org:8443"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_origins_of_all_kinds(new_host: NewHost, allowed: str, origin: str) -> None:
    """Ports, addresses and other schemes may be in the list."""
    assert preflight(new_host(configuration={"origins": [allowed]}), origin).headers[OWN] == origin


def test_a_response_for_others(host: Host) -> None:
    """The upstream gets the request, and the browser keeps the response from the page."""
    host.upstream = Response(200, {OWN: "*"}, "orders")
    for headers in ({"origin": "https://evil.com"}, {}):
        answer = host.request("GET", "/orders", headers=headers)
        assert answer.text == "orders"
        assert OWN not in answer.headers


def test_an_options_request_that_is_no_preflight(host: Host) -> None:
    """It goes to the upstream."""
    assert host.request("OPTIONS", "/orders", headers={"origin": APP}).sent is not None


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"origins": ["*"], "credentials": True}, "would let every site act as the user"),
        ({"origins": ["app.example.com"]}, "is no origin"),
        ({"origins": ["https://a.*.com"]}, "is no origin"),
        ({"origins": ["https://App.example.com"]}, "is no origin"),
        ({"origins": ["HTTPS://app.example.com"]}, "is no origin"),
        ({"origins": ["https://*"]}, "is no origin"),
        ({"origins": ["https://*x.org"]}, "is no origin"),
        ({"origins": ["https://*."]}, "is no origin"),
        ({"origins": ["https://app.example.com/"]}, "is no origin"),
        ({"origins": ["https://app.example.com:443"]}, "is no origin"),
        ({"origins": ["https://bücher.example"]}, "is no origin"),
    ],
)
def test_a_configuration_that_is_refused(new_host: NewHost, configuration: object, message: str) -> None:
    """What would be dangerous, or never match, is a mistake."""
    with pytest.raises(Refused, match=message):
        new_host(configuration=configuration)
