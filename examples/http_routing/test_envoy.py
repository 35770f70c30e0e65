"""The example sends requests to one of two upstreams, in a real Envoy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

PRIMARY = b"hello from primary!\n"
CANARY = b"hello from canary!\n"


def test_chance_decides(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Both upstreams get requests, and where each goes is as the number that is logged for it says."""
    bodies = [fetch(envoy).body for _ in range(64)]  # all of one kind: once in 2^63 runs
    assert set(bodies) == {PRIMARY, CANARY}

    envoy.wait_for_log("value: ", 10, count=len(bodies))
    values = [re.fullmatch(r"value: (\d+)\n", line.message) for line in envoy.wasm_log()]
    numbers = [int(match[1]) for match in values if match]
    assert [PRIMARY if number % 2 else CANARY for number in numbers] == bodies
    assert max(numbers) < 2**32


@pytest.mark.parametrize(("first", "expected"), [(1, PRIMARY), (2, CANARY)])
def test_configuration_decides(serve_example: ServeExample, fetch: Fetch, first: int, expected: bytes) -> None:
    """The first byte of a configuration stands in for the number, for every request."""
    envoy = serve_example(plugin_configuration=bytes([first]) + b" and more")
    assert {fetch(envoy).body for _ in range(8)} == {expected}
    envoy.wait_for_log(f"value: {first}\n", 10, count=8)
