"""The example adds its header to every response, in a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_every_response_gets_the_header(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Each of several responses carries x-chaptername, once, with the upstream's own headers left alone."""
    for path in ("/", "/some/path?query=1", "/again"):
        answer = fetch(envoy, path)
        assert answer.status == 200
        assert answer.headers.get_all("X-ChapterName") == ["ExtendingEnvoy"]
        assert answer.headers["content-type"] == "application/json"
