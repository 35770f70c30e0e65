"""The example calls its upstream on every tick and logs what comes back, in a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import ServeExample

pytestmark = pytest.mark.envoy


def test_start_sets_the_tick_period(envoy: EnvoyProcess) -> None:
    """Each plugin says that it ticks every 100 ms in each virtual machine: a trial one, the main one, the worker's."""
    envoy.wait_for_log("set tick period milliseconds: 100", 10, count=6)


@pytest.mark.parametrize("context_id", [1, 2])
def test_both_plugins_count_their_responses(envoy: EnvoyProcess, context_id: int) -> None:
    """The two plugins share a virtual machine, are contexts 1 and 2 in it, and each counts its own responses."""
    for count in range(1, 10):
        envoy.wait_for_log(f"called {count} for contextID={context_id}", 10)


def test_responses_are_logged(envoy: EnvoyProcess) -> None:
    """Both paths are called, and the headers of the responses are logged as they come; there are no trailers."""
    envoy.wait_for_log("response header for the dispatched call: :status: 200", 10)
    envoy.wait_for_log("response header for the dispatched call: :status: 503", 10)
    envoy.wait_for_log("response header for the dispatched call: server: envoy", 10)
    assert "response trailer" not in envoy.log_text
    assert {line.level for line in envoy.wasm_log()} == {"info"}


def test_unknown_cluster_is_critical(serve_example: ServeExample) -> None:
    """A call that cannot be made is logged at critical, at every tick, and nothing is counted."""
    envoy = serve_example(replace={"web_service": "another"})
    assert envoy.wait_for_log("dispatch httpcall failed: proxy_http_call", 10, count=4).level == "critical"
    assert "called" not in envoy.log_text
