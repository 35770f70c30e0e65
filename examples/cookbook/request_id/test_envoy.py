"""The example in a real Envoy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_upstream_client_and_log_agree(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """All three have the same id and trace, which are new for each request."""
    answers = [fetch(envoy, f"/{number}") for number in range(10)]
    for number, answer in enumerate(answers):
        sent = dict(json.loads(answer.body)["headers"])
        request_id, trace = answer.headers["x-request-id"], answer.headers["x-trace-id"]
        assert (sent["x-request-id"], sent["traceparent"].split("-")[1]) == (request_id, trace)
        envoy.wait_for_log(f"request {request_id} trace {trace} GET '/{number}'", 10)
    assert len({answer.headers["x-trace-id"] for answer in answers}) == 10
