"""The example adds its header to every response, in a real Envoy."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

pytestmark = pytest.mark.envoy


def test_every_response_gets_the_header(serve_example: Callable[[], EnvoyProcess]) -> None:
    """Each of several responses carries x-chaptername, once, with the upstream's own headers left alone."""
    port = serve_example().listener_port("main")
    for path in ("/", "/some/path?query=1", "/again"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            assert response.status == 200
            assert response.headers.get_all("X-ChapterName") == ["ExtendingEnvoy"]
            assert response.headers["content-type"] == "application/json"
