"""The example in a real Envoy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_visitors_are_routed_and_stay(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Both versions have visitors, the route is that of the cookie, and it stays so."""
    answers = [fetch(envoy) for _ in range(200)]
    seen = Counter(answer.body for answer in answers)
    assert set(seen) == {b"blue\n", b"green\n"}  # one of them only: once in a billion runs
    assert seen[b"blue\n"] > seen[b"green\n"]
    for answer in answers[:20]:
        cookie = answer.headers["set-cookie"].partition(";")[0]
        assert fetch(envoy, headers={"cookie": cookie}).body == answer.body


def test_asking_for_a_version(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A tester sees the version of choice."""
    assert {fetch(envoy, headers={"x-ask-version": "green"}).body for _ in range(10)} == {b"green\n"}
