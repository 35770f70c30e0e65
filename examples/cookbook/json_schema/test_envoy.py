"""The example in a real Envoy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

JSON = {"content-type": "application/json"}


def test_a_good_order_reaches_the_upstream(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The whole body arrives."""
    order = b'{"item": "tea", "number": 2}'
    answer = fetch(envoy, "/orders", method="POST", headers=JSON, body=order)
    assert answer.status == 200
    assert json.loads(answer.body)["body"] == order.decode()


def test_a_bad_order_is_answered(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """What is wrong is said; too large an order is answered 413, also if its size is not announced."""
    answer = fetch(envoy, "/orders", method="POST", headers=JSON, body=b'{"item": "TEA", "number": 2}')
    assert answer.status == 400
    assert json.loads(answer.body)["detail"] == "data.item must match pattern ^[a-z]+$"
    parts = iter([b'{"item": "', b"x" * 600, b"x" * 600, b'"}'])
    assert fetch(envoy, "/orders", method="POST", headers=JSON, body=parts).status == 413
