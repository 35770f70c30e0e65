"""The example holds requests until the next tick."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy


def test_a_request_goes_on_after_a_tick(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The first request is postponed, then resumed, and answered as if nothing had been."""
    answer = fetch(envoy)

    assert (answer.status, answer.body) == (200, b"example body\n")
    envoy.wait_for_log("resume request", 10)
    assert [line.message for line in envoy.wasm_log()] == [
        "postpone request with contextID=2",
        "resume request with contextID=2",
    ]


def test_a_client_that_leaves_does_not_disturb_the_others(serve_example: ServeExample) -> None:
    """Of two requests that wait, one whose client goes away; the other is resumed all the same, and nothing fails."""
    envoy = serve_example()
    port = envoy.listener_port("main")
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as staying:
        with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as leaving:
            leaving.request("GET", "/")
            envoy.wait_for_log("postpone request with contextID=2", 10)
        staying.request("GET", "/")
        assert staying.getresponse().status == 200
    envoy.stop()  # so that its log is complete
    assert {line.level for line in envoy.wasm_log()} == {"info"}
