"""Requests with a known key pass; the service is asked as seldom as possible, and never for the key itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter.testing import Host, HttpStream, Refused, Request, Response

KEY = "k3y-of-ada"
HASH = hashlib.sha256(KEY.encode()).hexdigest()
ADA = Response(body=json.dumps({"owner": "ada"}))

pytestmark = pytest.mark.filter(configuration={"cluster": "keys"})
with_query = pytest.mark.filter(configuration={"cluster": "keys", "query": "api_key"})


class Service:
    """Knows one key, and remembers what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.asked.append(request.path)
        assert KEY not in str(request.headers.items())
        return ADA if request.path == f"/keys/{HASH}" else Response(404)


@pytest.fixture(autouse=True)
def service(host: Host) -> Service:
    """The service that the filter asks."""
    service = Service()
    host.clusters["keys"] = service
    return service


def send(host: Host, *keys: str, path: str = "/") -> HttpStream:
    return host.request("GET", path, [("x-api-owner", "forged"), *(("x-api-key", key) for key in keys)])


def test_a_known_key_passes(host: Host, service: Service) -> None:
    """The upstream learns whose it is and does not get the key; the next request needs no call."""
    for _ in range(2):
        stream = send(host, KEY)
        assert stream.status == 200
        assert stream.sent is not None
        assert stream.sent.headers.get_all("x-api-owner") == ["ada"]
        assert "x-api-key" not in stream.sent.headers
    assert service.asked == [f"/keys/{HASH}"]


@pytest.mark.parametrize("name", ["x_api_owner", "x_api-owner", "X-Api_Owner"])
def test_other_spellings_of_the_owners_header(host: Host, name: str) -> None:
    """An upstream that takes underscores for hyphens gets no owner that the client has made up."""
    stream = host.request("GET", "/", [(name, "forged"), (name, "twice"), ("x_other", "mine"), ("x-api-key", KEY)])
    assert stream.sent is not None
    assert [value for _, value in stream.sent.headers.items() if value in {"forged", "twice"}] == []
    assert (stream.sent.headers["x-api-owner"], stream.sent.headers["x_other"]) == ("ada", "mine")


@pytest.mark.parametrize(
    "keys", [[], [""], ["unknown"], [KEY, KEY], [KEY, "unknown"], [f"{KEY}, {KEY}"], [f"{KEY}x"], ["\udcff\udcfe"]]
)
def test_anything_else_does_not(host: Host, keys: list[str]) -> None:
    """None, two, or one that is not quite right, in whatever bytes."""
    stream = send(host, *keys)
    assert (stream.status, stream.sent) == (401, None)
    assert stream.headers["www-authenticate"] == 'ApiKey realm="api", header="x-api-key"'


def test_what_is_no_key_is_not_asked_for(host: Host, service: Service) -> None:
    """Neither nothing nor too much."""
    assert [send(host, key).status for key in ("", "k" * 513)] == [401, 401]
    assert service.asked == []


def test_the_query_counts_if_it_is_configured(host: Host) -> None:
    """By default it does not, and stays as it is."""
    assert send(host, path=f"/?api_key={KEY}").status == 401
    stream = send(host, KEY, path="/?api_key=mine")
    assert stream.sent is not None
    assert stream.sent.path == "/?api_key=mine"


@with_query
@pytest.mark.parametrize(
    ("path", "left"),
    [
        (f"/a?api_key={KEY}", "/a"),
        ("/a?x=1&api%5Fkey=k3y%2Dof-ada&y=?&&z", "/a?x=1&y=?&&z"),
    ],
)
def test_a_key_in_the_query(host: Host, path: str, left: str) -> None:
    """It is read as servers do, and taken out of the path; the rest of that stays as it is."""
    stream = send(host, path=path)
    assert stream.sent is not None
    assert (stream.sent.path, stream.sent.headers["x-api-owner"]) == (left, "ada")


@with_query
@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ([KEY], f"/?api_key={KEY}"),
        ([], f"/?api_key={KEY}&api_key={KEY}"),
        ([], "/?api_key"),
        ([], "/?api_key=%ff%00"),
        ([], f"/?Api_key={KEY}"),
        ([], f"/{KEY}"),
        ([], f"/?a=1;api_key={KEY}"),
    ],
)
def test_a_query_without_one_key(host: Host, keys: list[str], path: str) -> None:
    """Two keys are none, wherever they are."""
    assert send(host, *keys, path=path).status == 401


def test_requests_with_one_key_share_a_call(host: Host) -> None:
    """They wait for it together, also if the client whose request made it leaves."""
    host.clusters["keys"] = None
    streams = [send(host, KEY) for _ in range(3)]
    other = send(host, "other")
    assert [call.request.path == f"/keys/{HASH}" for call in host.http_calls] == [True, False]
    host.http_calls[1].reply(Response(404))
    host.http_calls[0].reply(ADA)
    host.advance(0.01)
    assert [stream.status for stream in (*streams, other)] == [200, 200, 200, 401]


def test_a_client_that_leaves_takes_nobody_along(host: Host) -> None:
    """The others ask again."""
    host.clusters["keys"] = None
    first, second = send(host, KEY), send(host, KEY)
    first.abort()
    host.advance(0.01)
    for call in host.http_calls:
        call.reply(ADA)
    host.advance(0.01)
    assert second.status == 200


def test_answers_are_kept_for_a_while(host: Host, service: Service) -> None:
    """A new key works after ten seconds at the latest, and a withdrawn one for five minutes."""
    host.clusters["keys"] = Response(404)
    assert send(host, KEY).status == 401
    host.clusters["keys"] = service
    assert send(host, KEY).status == 401
    host.advance(10)
    assert send(host, KEY).status == 200
    host.clusters["keys"] = Response(404)
    host.advance(299)
    assert send(host, KEY).status == 200
    host.advance(1)
    assert send(host, KEY).status == 401


@pytest.mark.filter(configuration={"cluster": "keys", "max_entries": 2})
def test_unknown_keys_push_nothing_out(host: Host, service: Service) -> None:
    """Whoever tries many keys fills a cache of their own."""
    assert send(host, KEY).status == 200
    for number in range(5):
        assert send(host, f"try {number}").status == 401
    assert send(host, KEY).status == 200
    assert service.asked.count(f"/keys/{HASH}") == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response(503),
        Response(500, body='{"owner": "ada"}'),
        Response(204),
        Response(200),
        Response(200, body="[]"),
        Response(200, body="[" * 5000),
        Response(200, body='{"owner": 1}'),
        Response(200, body='{"owner": ""}'),
        Response(200, body='{"owner": "a\\r\\nx-admin: 1"}'),
        Response(200, body=b"\xff"),
        Response(200, {}, '{"owner": "ada"}', delay=1.5),
    ],
)
def test_a_service_that_does_not_say(host: Host, answer: Response) -> None:
    """Is down, slow, or says something else: a 503, and the next request asks again."""
    host.clusters["keys"] = answer
    stream = send(host, KEY)
    host.advance(1)
    assert (stream.status, stream.sent) == (503, None)
    host.clusters["keys"] = ADA
    assert send(host, KEY).status == 200


def test_no_service(host: Host) -> None:
    """A cluster that the proxy does not have is the same."""
    del host.clusters["keys"]
    assert send(host, KEY).status == 503


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"header": "X-Api-Key"}, "not the name of a header"),
        ({"ttl": 0}, "more than 0"),
        ({"max_entries": 0}, "more than 0"),
        ({"cluster": None}, "cluster: expected a string"),
    ],
)
def test_a_bad_configuration_is_refused(new_host: Callable[..., Host], change: dict[str, Any], problem: str) -> None:
    """The plugin does not start, and the log says why."""
    with pytest.raises(Refused, match=problem):
        new_host(configuration={"cluster": "keys", **change})
