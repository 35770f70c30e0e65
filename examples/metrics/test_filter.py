"""The filter counts requests by the value of a header."""

from __future__ import annotations

from pywasmfilter import MetricType
from pywasmfilter.testing import Host


def counter(value: str) -> str:
    """The counter's name, in which Envoy finds its tags."""
    return f"custom_header_value_counts_value={value}_reporter=wasmgosdk"


def test_each_value_is_counted(host: Host) -> None:
    """Every value has a counter of its own."""
    for value in ("foo", "bar", "foo", "foo"):
        assert host.request(headers={"my-custom-header": value}).status == 200
    assert host.metrics[counter("foo")].kind == MetricType.COUNTER
    assert {name: metric.value for name, metric in host.metrics.items()} == {counter("foo"): 3, counter("bar"): 1}


def test_requests_without_the_header_do_not_count(host: Host) -> None:
    """There is not even a metric for them."""
    assert host.request().status == 200
    assert host.metrics == {}
