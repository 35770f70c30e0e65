"""Whatever a filter does in whichever order, the proxy lives on and serves the next request.

Envoy itself breaks down when a stream is answered twice in one callback, or when a response goes on that has not begun
or is in the middle of its own callback. The SDK lets none of that reach it.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.http1 import MessageError
from pywasmfilter_compiler.envoy.run import Server, serve

from tests.e2e.scripting import INCLUDED, evaluate, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

ACTIONS = {
    "answer": "self.send_http_response(403, body='no')",
    "close": "self.close_http_request()",
    "close the response": "self.close_http_response()",
    "resume": "self.resume_http_request()",
    "resume the response": "self.resume_http_response()",
    "raise": "raise LookupError",
}

PLACES = {
    "request headers": """
        def on_http_request_headers(self, *_):
            {actions}
    """,
    "request body": """
        def on_http_request_body(self, body_size, end_of_stream):
            if not end_of_stream:
                return Action.PAUSE
            {actions}
    """,
    "response headers": """
        def on_http_response_headers(self, *_):
            {actions}
    """,
    "response body": """
        def on_http_response_body(self, body_size, end_of_stream):
            if not end_of_stream:
                return Action.PAUSE
            {actions}
    """,
    "the reply that a request waits for": """
        def on_http_request_headers(self, *_):
            def reply(*_):
                {actions}
            self.dispatch_http_call("upstream", [(":method", "GET"), (":path", "/"), (":authority", "x")], reply)
            return Action.PAUSE
    """,
    "the reply that a response waits for": """
        def on_http_response_headers(self, *_):
            def reply(*_):
                {actions}
            self.dispatch_http_call("upstream", [(":method", "GET"), (":path", "/"), (":authority", "x")], reply)
            return Action.PAUSE
    """,
}

SEQUENCES = [*((action,) for action in ACTIONS), *itertools.product(ACTIONS, repeat=2)]
BODY = b"x" * 200_000  # several parts in each direction


def code(place: str, sequence: tuple[str, ...]) -> str:
    """The script for a place: its actions one below the other."""
    before = PLACES[place].partition("{actions}")[0]
    indent = before[before.rindex("\n") :]
    return PLACES[place].replace("{actions}", indent.join(ACTIONS[action] for action in sequence))


@pytest.fixture(scope="module", params=["http", "http-continue"])
def server(request: pytest.FixtureRequest, build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[Server]:
    """An Envoy with the scripted filter, for either policy."""
    module = build_filter("scripted", include=INCLUDED).path
    with serve(module, root_id=request.param, upstream=upstream.url) as serving:
        yield serving


@pytest.mark.parametrize("place", PLACES)
def test_no_sequence_of_actions_brings_the_proxy_down(server: Server, place: str) -> None:
    """After each sequence of one or two actions the same Envoy, with the same VM, answers the next request."""
    for sequence in SEQUENCES:
        with suppress(OSError, MessageError):  # the filter may cut the client off
            run(server.port, code(place, sequence), method="POST", body=BODY, timeout=0.25)
        assert evaluate(server.port, "1 + 1") == 2, sequence
    assert "Wasm VM failed" not in server.envoy.log_text
