"""The example adds its header to every request and says so in the log, in a real Envoy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_upstream_sees_the_header(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The upstream receives x-chapter once, a client's own value stays, and each request is logged at info."""

    def chapters(**headers: str) -> list[str]:
        received = json.loads(fetch(envoy, headers=headers).body)["headers"]
        return [value for name, value in received if name == "x-chapter"]

    assert chapters() == ["Chapter09"]
    assert chapters(**{"X-Chapter": "Chapter01"}) == ["Chapter01", "Chapter09"]

    envoy.wait_for_log("added custom header to request", 10, count=2)
    assert envoy.wasm_log() == [("info", "added custom header to request")] * 2
