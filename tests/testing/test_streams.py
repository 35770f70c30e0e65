"""What a test sees of streams is what client and upstream would see of Envoy, or why there is nothing yet."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from pywasmfilter.testing import Host, Response, Unfinished
from tests.e2e.conftest import FILTERS

NewHost = Callable[..., Host]


@pytest.fixture
def scripted(new_host: NewHost) -> NewHost:
    """A function that starts the scripted filter; the script is its configuration."""

    def start(script: str, plugin: str = "http") -> Host:
        return new_host(FILTERS / "scripted.py", plugin=plugin, configuration=textwrap.dedent(script))

    return start


APPENDING = """
    def on_http_{}_body(self, body_size, end_of_stream):
        self.{}.buffer.{}
"""


def test_longer_body_ends_where_content_length_says(scripted: NewHost) -> None:
    """A filter that leaves content-length and makes a body longer has the rest cut off, on both ways."""
    host = scripted(APPENDING.format("request", "request", "append('!')"))
    stream = host.request("POST", body="four", upstream=Response(200, body="four"))
    assert stream.sent is not None
    assert (stream.sent.body, stream.body) == (b"four", b"four")
    host = scripted(APPENDING.format("response", "response", "append('!')"))
    assert host.request(upstream=Response(200, body="four")).body == b"four"


def test_shorter_body_is_waited_for(scripted: NewHost) -> None:
    """One that makes it shorter lets the receiver wait for the rest, and there is no response."""
    host = scripted(APPENDING.format("request", "request", "replace('')"))
    with pytest.raises(Unfinished, match="the upstream waits for 4 more bytes"):
        _ = host.request("POST", body="four").status
    host = scripted(APPENDING.format("response", "response", "replace('')"))
    with pytest.raises(Unfinished, match="the client waits for 4 more bytes"):
        _ = host.request(upstream=Response(200, body="four")).status


def test_known_headers_have_one_line(scripted: NewHost) -> None:
    """What is sent twice is one line if the proxy knows the name, two otherwise; pseudo-headers are in front."""
    sent = scripted("").request(headers=[("accept", "a"), ("x-a", "1"), ("accept", "b"), ("x-a", "2")]).sent
    assert sent is not None
    assert sent.headers.get_all("accept") == ["a,b"]
    assert sent.headers.get_all("x-a") == ["1", "2"]
    assert [name for name in sent.headers if name.startswith(":")] == list(sent.headers)[:4]


def test_headers_about_the_connection_stay_behind(scripted: NewHost) -> None:
    """Neither the filter nor the upstream sees them, and no more those that `connection` names."""
    headers = {"connection": "keep-alive, x-a", "keep-alive": "1", "x-a": "1", "x-b": "2"}
    sent = scripted("").request(headers=headers).sent
    assert sent is not None
    assert {"connection", "keep-alive", "x-a", "x-b"} & set(sent.headers) == {"x-b"}


def test_upstream_is_lost_before_it_answers(scripted: NewHost) -> None:
    """The proxy answers with a 503, which passes the filter as any answer does."""
    host = scripted("def on_http_response_headers(self, *_): self.response.headers['x-seen'] = str(self.answered)")
    stream = host.open_http(lambda _: None)
    stream.send_headers({":method": "GET", ":path": "/", ":authority": "a", ":scheme": "http"}, end_of_stream=True)
    stream.break_upstream()
    assert (stream.status, stream.headers["x-seen"]) == (503, "False")
    assert stream.text.endswith("reset reason: connection termination")


def test_upstream_is_lost_while_it_answers(scripted: NewHost) -> None:
    """Once the client has headers, the response breaks off."""
    stream = scripted("").open_http(lambda _: None)
    stream.send_headers({":method": "GET", ":path": "/", ":authority": "a", ":scheme": "http"}, end_of_stream=True)
    stream.respond_headers(200)
    stream.respond_body("half")
    stream.break_upstream()
    assert stream.reset
    assert stream.partial_response is not None
    assert stream.partial_response.body == b"half"


def test_client_that_has_not_sent_all_is_disconnected(scripted: NewHost) -> None:
    """An answer before the end of the request closes the connection, and says so."""
    stream = scripted("def on_http_request_headers(self, *_): self.send_http_response(403)").open_http()
    stream.send_headers({":method": "POST", ":path": "/", ":authority": "a", ":scheme": "http"})
    assert (stream.status, stream.headers["connection"]) == (403, "close")


def test_connection_is_half_closed(scripted: NewHost) -> None:
    """A side that has ended leaves the other one open; with both the connection is over, closed by who ended first."""
    host = scripted("def on_downstream_close(self, peer_type): log.info(PeerType(peer_type).name)", plugin="tcp")
    for first, second, closed in (("client", "upstream", "LOCAL"), ("upstream", "client", "REMOTE")):
        stream = host.connect()
        getattr(stream, f"from_{first}")(end_of_stream=True)
        assert not stream.ended
        assert stream.upstream_ended == (first == "upstream")
        getattr(stream, f"from_{second}")(b"rest", end_of_stream=True)
        assert stream.ended
        assert host.messages[-1] == closed


def test_upstream_of_a_connection_is_lost(scripted: NewHost) -> None:
    """The proxy closes the client's connection."""
    host = scripted("def on_downstream_close(self, peer_type): log.info(PeerType(peer_type).name)", plugin="tcp")
    stream = host.connect()
    stream.break_upstream()
    assert stream.ended
    assert host.messages[-1] == "LOCAL"


def test_client_that_leaves_a_paused_connection_is_noticed_later(scripted: NewHost) -> None:
    """As long as the filter holds a new connection back there is no upstream, and nobody looks at the client."""
    script = """
        def on_new_connection(self):
            shared["paused"] = self
            hostcalls.set_tick_period_milliseconds(1000)
            return Action.PAUSE

        def on_tick(self):
            shared["paused"].resume_downstream()
    """
    host = scripted(script, plugin="tcp")
    stream = host.connect()
    stream.close_client()
    assert (stream.connected, stream.ended) == (False, False)
    host.advance(1)
    assert stream.ended
