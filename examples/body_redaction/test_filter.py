"""The filter replaces response bodies that hold a secret."""

from __future__ import annotations

import pytest

from pywasmfilter import StreamType
from pywasmfilter.testing import Host, Response


@pytest.mark.parametrize("body", ["the secret is 42", ["the sec", "ret is 42"], ["the ", "", "secret is 4", "2"]])
def test_a_body_with_a_secret_is_replaced(host: Host, body: str | list[str]) -> None:
    """All of it, in however many pieces it comes; what is left says how long the body was."""
    stream = host.request(upstream=Response(body=body))
    assert stream.status == 200
    assert stream.body == b"Original message body (16 bytes) redacted.\n"


@pytest.mark.parametrize("body", ["nothing to hide", ["nothing ", "to hide"]])
def test_a_body_without_a_secret_stays(host: Host, body: str | list[str]) -> None:
    """Nothing of it is changed."""
    assert host.request(upstream=Response(body=body)).body == b"nothing to hide"


def test_no_length_is_announced(host: Host) -> None:
    """When the headers pass, nobody knows how long the body will be, so content-length is gone."""
    assert "content-length" not in host.request(upstream=Response(body="the secret is 42")).headers


def test_nothing_passes_before_all_is_there(host: Host) -> None:
    """A piece without a secret waits for the rest, which may hold one."""
    host.upstream = None  # this test answers itself
    stream = host.request()
    stream.respond_headers(200)
    stream.respond_body("the sec")
    assert stream.paused == StreamType.HTTP_RESPONSE
    assert stream.partial_response
    assert stream.partial_response.body == b""
