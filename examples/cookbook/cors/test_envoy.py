"""The example in a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

ORIGIN = "access-control-allow-origin"


def test_a_browser_may_call(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The preflight is answered, and the response may be read."""
    headers = {"origin": "https://app.example.com", "access-control-request-method": "DELETE"}
    answer = fetch(envoy, method="OPTIONS", headers=headers)
    assert (answer.status, answer.headers[ORIGIN]) == (204, "https://app.example.com")
    answer = fetch(envoy, headers={"origin": "https://shop.example.org"})
    assert (answer.status, answer.headers[ORIGIN]) == (200, "https://shop.example.org")


def test_another_page_may_not(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """No permission for an origin that is not in the list."""
    assert fetch(envoy, headers={"origin": "https://evil.com"}).headers[ORIGIN] is None
