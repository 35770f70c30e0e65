"""The example counts requests in the proxy's shared data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy


def test_workers_count_together(serve_example: ServeExample, fetch: Fetch) -> None:
    """Forty requests, eight at a time, to two workers: each number from 1 to 40 is logged exactly once."""
    envoy = serve_example(concurrency=2)

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: fetch(envoy), range(40)))

    assert {(answer.status, answer.body) for answer in answers} == {(200, b"example body\n")}
    envoy.wait_for_log("shared value: ", 10, count=40)
    assert sorted(int(line.message.removeprefix("shared value: ")) for line in envoy.wasm_log()) == list(range(1, 41))
