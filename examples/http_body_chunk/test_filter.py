"""The filter finds a word in a request's body as soon as its chunk has come."""

from __future__ import annotations

from pywasmfilter import LogLevel, StreamType
from pywasmfilter.testing import Host, Request


def test_a_body_with_the_pattern_is_refused(host: Host) -> None:
    """A 403 with a header and a body that names the chunk; the log says what the filter read."""
    stream = host.request("POST", "/", body="This is a payload with the pattern word.")
    assert (stream.status, stream.text) == (403, "pattern found in chunk: 1")
    assert stream.headers["powered-by"] == "proxy-wasm-go-sdk"
    assert host.messages == [
        "OnHttpRequestBody called. BodySize: 40, totalRequestBodyReadSize: 0, endOfStream: false",
        "read chunk size: 40",
        "pattern found in chunk: 1",
        "local 403 response sent",
    ]


def test_the_answer_does_not_wait_for_the_end_of_the_body(host: Host) -> None:
    """The client that still sends gets its 403 with the fourth chunk, and nothing of the body reaches the upstream."""
    stream = host.open_http()
    stream.send_headers(Request("POST").headers)
    for number in (1, 2, 3):
        stream.send_body(f"chunk{number}" + "." * number)
        assert host.messages[-1] == f"read chunk size: {6 + number}"
        assert stream.paused == StreamType.HTTP_REQUEST
    stream.send_body("chunk4 with pattern ...")
    assert (stream.status, stream.text) == (403, "pattern found in chunk: 4")
    assert stream.sent
    assert stream.sent.body == b""


def test_a_body_without_the_pattern_goes_on(host: Host) -> None:
    """All of it reaches the upstream; the log says that nothing was found, and no error."""
    stream = host.request("POST", "/", body=["This is ", "a generic payload."])
    assert stream.sent
    assert stream.sent.body == b"This is a generic payload."
    assert stream.status == 200
    assert host.messages[-1] == "pattern not found"
    assert {line.level for line in host.log} == {LogLevel.INFO}


def test_a_word_between_two_chunks_is_not_found(host: Host) -> None:
    """Each chunk is looked at by itself."""
    assert host.request("POST", "/", body=["a pat", "tern"]).status == 200
