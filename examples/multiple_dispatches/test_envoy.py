"""The example holds a response until ten calls have been answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_a_response_waits_for_ten_calls(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The response carries how many calls there were, each answer is logged with what is left, and the next response
    waits for ten calls of its own.
    """
    expected = [f"pending dispatched requests: {n}" for n in range(9, 0, -1)]
    expected.append("response resumed after processed 10 dispatched request")

    for count in (1, 2):
        answer = fetch(envoy)

        assert (answer.status, answer.body) == (200, b"example body\n")
        assert answer.headers.get_all("total-dispatched") == ["10"]
        envoy.wait_for_log("response resumed", 10, count=count)
        assert [line.message for line in envoy.wasm_log()] == expected * count
