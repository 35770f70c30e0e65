"""The filter changes the body of a request, or of its response, as two headers of the request say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter.testing import Host, Request, Response

ORIGINAL = "[original body]"
CASES = [
    ("append", b"[original body][this is appended body]"),
    ("prepend", b"[this is prepended body][original body]"),
    ("replace", b"[this is replaced body]"),
    ("invalid", b"[this is replaced body]"),
    ("", b"[this is replaced body]"),
]


def echo(request: Request) -> Response:
    return Response(body=request.body)


@pytest.mark.parametrize(("operation", "expected"), CASES)
def test_the_requests_body_is_changed(host: Host, operation: str, expected: bytes) -> None:
    """The upstream gets the changed body, without a length that would be wrong; the log has the original."""
    stream = host.request("PUT", "/", {"buffer-operation": operation}, ORIGINAL)
    assert stream.sent
    assert stream.sent.body == expected
    assert "content-length" not in stream.sent.headers
    assert host.messages == ["original request body: [original body]"]


@pytest.mark.parametrize(("operation", "expected"), CASES)
def test_the_responses_body_is_changed(host: Host, operation: str, expected: bytes) -> None:
    """If a header of the request says so, it is the client that gets the changed body, and the request's stays."""
    headers = {"buffer-replace-at": "response", "buffer-operation": operation}
    stream = host.request("PUT", "/", headers, ORIGINAL, upstream=echo)
    assert stream.body == expected
    assert "content-length" not in stream.headers
    assert stream.sent
    assert stream.sent.body == b"[original body]"
    assert host.messages == ["original response body: [original body]"]


@pytest.mark.parametrize("where", ["request", "response"])
def test_a_body_in_pieces_is_changed_once(host: Host, where: str) -> None:
    """What comes is held back until all of it is there."""
    headers = {"content-length": "9", "buffer-replace-at": where, "buffer-operation": "append"}
    pieces = ["one", "two", "six"]
    stream = host.request("PUT", "/", headers, pieces, upstream=lambda _: Response(body=pieces))
    changed = stream.sent if where == "request" else stream.response
    assert changed
    assert changed.body == b"onetwosix[this is appended body]"


@pytest.mark.parametrize("where", ["request", "response"])
def test_a_request_without_a_length_is_refused(host: Host, where: str) -> None:
    """A request that announces no body gets a 400, which is not changed itself."""
    stream = host.request("PUT", "/", {"buffer-replace-at": where})
    assert (stream.status, stream.text) == (400, "content must be provided")
    assert stream.sent is None


@pytest.mark.filter(configuration="echo")
@pytest.mark.parametrize("body", ["frame1...frame2...", ["frame1...", "frame2..."]])
def test_echo_answers_with_all_frames(host: Host, body: str | list[str]) -> None:
    """With the configuration `echo` the request's body comes back whole."""
    stream = host.request("POST", "/", body=body)
    assert (stream.status, stream.text) == (200, "frame1...frame2...")


def test_another_configuration_changes_bodies(new_host: Callable[..., Host]) -> None:
    """Only `echo` echoes."""
    stream = new_host(configuration="echo!").request("PUT", "/", body=ORIGINAL)
    assert stream.sent
    assert stream.sent.body == b"[this is replaced body]"
