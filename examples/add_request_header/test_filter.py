"""The example adds its header to every request and says so in the log, in a real Envoy."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

pytestmark = pytest.mark.envoy


def test_the_upstream_sees_the_header(serve_example: Callable[[], EnvoyProcess]) -> None:
    """The upstream receives x-chapter once, a client's own value stays, and each request is logged at info."""
    envoy = serve_example()
    url = f"http://127.0.0.1:{envoy.listener_port('main')}/"

    assert chapters(urllib.request.Request(url)) == ["Chapter09"]
    assert chapters(urllib.request.Request(url, headers={"X-Chapter": "Chapter01"})) == ["Chapter01", "Chapter09"]

    envoy.wait_for_log("added custom header to request", timeout=10, count=2)
    assert [line for line in envoy.wasm_log() if line.level == "info"] == [
        ("info", "added custom header to request")
    ] * 2


def chapters(request: urllib.request.Request) -> list[str]:
    with urllib.request.urlopen(request, timeout=10) as response:
        received = json.load(response)
    return [value for name, value in received["headers"] if name == "x-chapter"]
