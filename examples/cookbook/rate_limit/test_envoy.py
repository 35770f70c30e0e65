"""The example in a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_reports_are_limited_and_health_checks_are_not(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Two reports pass and the third does not; health checks always do."""
    reports = [fetch(envoy, f"/reports/{number}") for number in range(3)]
    assert [report.status for report in reports] == [200, 200, 429]
    assert int(reports[2].headers["retry-after"]) in {1, 2}
    assert {fetch(envoy, "/healthz").status for _ in range(40)} == {200}
