"""The example counts requests by a header's value, in a real Envoy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_each_value_is_counted(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The counter has a tag for the value and one for the reporter; requests without the header do not count."""
    for value, count in {"foo": 3, "bar": 5}.items():
        for _ in range(count):
            assert fetch(envoy, headers={"my-custom-header": value}).status == 200
    assert fetch(envoy).status == 200

    assert set(re.findall(r"^custom_header_value_counts.*$", envoy.admin("/stats/prometheus"), re.MULTILINE)) == {
        'custom_header_value_counts{value="foo",reporter="wasmgosdk"} 3',
        'custom_header_value_counts{value="bar",reporter="wasmgosdk"} 5',
    }
    assert "custom_header_value_counts_value=foo_reporter=wasmgosdk: 3\n" in envoy.admin("/stats")
