"""The filter lets JSON with the required keys through, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import LogLevel, StreamType
from pywasmfilter.testing import Host, Refused, Request

JSON = {"content-type": "application/json"}
VALID = '{"id": "abc123", "token": "xyz456"}'

pytestmark = pytest.mark.filter(configuration={"requiredKeys": ["id", "token"]})


@pytest.mark.parametrize("body", ["", VALID])
@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-type": "application/json; q=1"}])
def test_another_content_type_is_refused(host: Host, headers: dict[str, str], body: str) -> None:
    """Whatever is not exactly application/json gets a 403, whether there is a body or not."""
    stream = host.request("POST", "/", headers, body)
    assert (stream.status, stream.text) == (403, "content-type must be provided")
    assert stream.sent is None


@pytest.mark.parametrize("body", [VALID, [VALID[:10], VALID[10:]], list(VALID)])
def test_json_with_all_keys_passes(host: Host, body: str | list[str]) -> None:
    """The upstream gets the whole body as it was, in however many pieces it came."""
    stream = host.request("POST", "/", JSON, body)
    assert stream.sent
    assert stream.sent.text == VALID
    assert stream.status == 200
    assert host.log == []


def test_a_request_without_a_body_passes(host: Host) -> None:
    """There is nothing to validate."""
    assert host.request("GET", "/", JSON).status == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("invalid_payload", 'body is not a valid json: "invalid_payload"'),
        ('{"id": "a"', r'body is not a valid json: "{\"id\": \"a\""'),
        ("NaN", 'body is not a valid json: "NaN"'),
        (b'"\xff', r'body is not a valid json: "\"\udcff"'),
        ('{"unknown_key":"unknown_value"}', 'required key (id) is missing: {"unknown_key":"unknown_value"}'),
        ('{"id": 1}', 'required key (token) is missing: {"id": 1}'),
        ('["id", "token"]', 'required key (id) is missing: ["id", "token"]'),
    ],
)
def test_a_bad_body_is_refused(host: Host, body: str | bytes, problem: str) -> None:
    """The client learns that its payload is invalid; the log says, as an error, what is wrong with it."""
    stream = host.request("POST", "/", JSON, body)
    assert (stream.status, stream.text) == (403, "invalid payload")
    assert host.log == [(LogLevel.ERROR, problem)]


def test_json_that_is_too_deep_is_refused(host: Host) -> None:
    """An attacker's body that no parser can read is a 403, not the end of the filter."""
    stream = host.request("POST", "/", JSON, "[" * 100_000 + "]" * 100_000)
    assert (stream.status, stream.text) == (403, "invalid payload")


def test_nothing_of_the_body_passes_before_all_is_there(host: Host) -> None:
    """The headers are on their way, the body waits."""
    stream = host.open_http()
    stream.send_headers(Request("POST", headers=JSON).headers)
    stream.send_body(VALID)
    assert stream.paused == StreamType.HTTP_REQUEST
    assert stream.sent
    assert stream.sent.body == b""


@pytest.mark.filter(configuration={"requiredKeys": ["user.id", "items.1.name"]})
@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"user": {"id": None}, "items": [0, {"name": "a"}]}, 200),
        ({"user": {}, "items": [0, {"name": "a"}]}, 403),
        ({"user": {"id": 1}, "items": [0, {}]}, 403),
        ({"user": {"id": 1}, "items": [{"name": "a"}]}, 403),
    ],
)
def test_keys_look_inside(host: Host, payload: Any, status: int) -> None:
    """A dot in a required key goes into objects, and into lists by number."""
    assert host.request("POST", "/", json=payload).status == status


@pytest.mark.parametrize("configuration", [None, {}])
def test_no_configuration_requires_no_keys(new_host: Callable[..., Host], configuration: Any) -> None:
    """Any JSON passes then."""
    assert new_host(configuration=configuration).request("POST", "/", json=1).status == 200


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        ("{", 'the plugin configuration is not a valid json: "{"'),
        ("[]", "the plugin configuration has no list of requiredKeys"),
        ({"requiredKeys": [1]}, "the plugin configuration has no list of requiredKeys"),
    ],
)
def test_a_bad_configuration_is_refused(new_host: Callable[..., Host], configuration: Any, problem: str) -> None:
    """The plugin does not start, and the log says why."""
    with pytest.raises(Refused, match=f"error parsing plugin configuration: {problem}"):
        new_host(configuration=configuration)
