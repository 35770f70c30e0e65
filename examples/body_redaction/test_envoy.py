"""The example replaces response bodies that hold a secret; the upstream sends back what it received, as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

LARGE = b"." * 100_000  # more than a proxy reads at once


def test_a_body_without_a_secret_stays(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Small or in many parts, and without a content-length of which nobody knows whether it is right."""
    for body in (b"nothing to hide", LARGE):
        answer = fetch(envoy, method="POST", body=body)
        assert answer.status == 200
        assert json.loads(answer.body)["body"] == body.decode()
        assert "content-length" not in answer.headers


@pytest.mark.parametrize("body", [b"the secret is 42", LARGE + b"secret" + LARGE, LARGE + LARGE + b"secret"])
def test_a_body_with_a_secret_is_replaced(envoy: EnvoyProcess, fetch: Fetch, body: bytes) -> None:
    """All of it, wherever the word stands; what is left says how long the body was."""
    answer = fetch(envoy, method="POST", body=body)

    assert answer.status == 200
    match = re.fullmatch(rb"Original message body \((\d+) bytes\) redacted\.\n", answer.body)
    assert match
    assert int(match[1]) > len(body)
