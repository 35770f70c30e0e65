"""Visitors get a version by chance and keep it."""

from __future__ import annotations

from collections import Counter

import pytest

from pywasmfilter.testing import Host, HttpStream, NewHost, Refused

CONFIGURATION = {"versions": {"blue": 3, "green": 1, "old": 0}, "ask": "x-ask"}

pytestmark = pytest.mark.filter(configuration=CONFIGURATION)


def version(stream: HttpStream) -> str:
    assert stream.sent
    (found,) = stream.sent.headers.get_all("x-ab-version")
    return found


def test_new_visitors_get_a_version_by_weight(host: Host) -> None:
    """Three of four get the blue one, and a cookie that says so; each is counted."""
    streams = [host.request() for _ in range(400)]
    chosen = Counter(map(version, streams))
    assert set(chosen) == {"blue", "green"}
    assert 240 <= chosen["blue"] <= 360  # further off: once in ten billion runs
    for stream in streams:
        expected = f"ab_version={version(stream)}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
        assert stream.headers["set-cookie"] == expected
    assert host.metrics["ab_requests_version=blue"].value == chosen["blue"]


@pytest.mark.parametrize(
    "cookie", ["ab_version=green", "a=b; ab_version=green; c", 'ab_version="green"', "a;ab_version=green"]
)
def test_a_visitor_keeps_its_version(host: Host, cookie: str) -> None:
    """The cookie decides, and is not set again."""
    for _ in range(20):
        stream = host.request(headers={"cookie": cookie})
        assert version(stream) == "green"
        assert "set-cookie" not in stream.headers


def test_a_version_without_weight_is_for_those_who_have_it(host: Host) -> None:
    """Its visitors stay with it."""
    assert version(host.request(headers={"cookie": "ab_version=old"})) == "old"


@pytest.mark.parametrize("cookie", ["ab_version=red", "ab_version=", "ab_version", "xab_version=green", "\xff=\xfe"])
def test_a_version_that_there_is_none_of(host: Host, cookie: str) -> None:
    """The visitor is a new one."""
    stream = host.request(headers={"cookie": cookie})
    assert version(stream) in {"blue", "green"}
    assert "set-cookie" in stream.headers


def test_the_header_of_a_client_does_not_count(host: Host) -> None:
    """Only the filter says which version it is."""
    assert version(host.request(headers={"x-ab-version": "old", "cookie": "ab_version=blue"})) == "blue"


def test_asking_for_a_version(host: Host) -> None:
    """It is given for this request, and no cookie is set."""
    stream = host.request(headers={"x-ask": "old", "cookie": "ab_version=blue"})
    assert version(stream) == "old"
    assert "set-cookie" not in stream.headers


@pytest.mark.parametrize(
    "configuration",
    [
        {"versions": {}},
        {"versions": {"a": 0}},
        {"versions": {"a": -1, "b": 2}},
        {"versions": {"a;": 1}},
        {"cookie": "a b"},
    ],
)
def test_a_configuration_that_is_refused(new_host: NewHost, configuration: object) -> None:
    """Weights that choose nothing, and names that would break a header, are mistakes."""
    with pytest.raises(Refused):
        new_host(configuration=configuration)
