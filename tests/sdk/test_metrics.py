"""Metrics: the ABI's calls, and objects that define themselves at their first use."""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter import (
    BadArgument,
    Counter,
    Gauge,
    Histogram,
    MetricType,
    NotFound,
    counter,
    gauge,
    histogram,
    hostcalls,
)
from pywasmfilter.testing import Body, Host
from tests.e2e.conftest import FILTERS
from tests.sdk.conftest import MemoryHost
from tests.sdk.stateful import ask, text, value


def test_the_abis_calls(host: MemoryHost) -> None:
    """Counters and gauges are incremented and read, gauges set, histograms given values; the rest is refused."""
    counter, gauge, histogram = (hostcalls.define_metric(kind, kind.name) for kind in MetricType)
    assert host.metrics == [(0, b"COUNTER"), (1, b"GAUGE"), (2, b"HISTOGRAM")]
    hostcalls.increment_metric(counter, 3)
    hostcalls.increment_metric(gauge, -3)
    hostcalls.record_metric(histogram, 7)
    assert (hostcalls.get_metric(counter), hostcalls.get_metric(gauge)) == (3, -3)
    hostcalls.record_metric(gauge, 10)
    assert hostcalls.get_metric(gauge) == 10
    assert host.recorded == {b"HISTOGRAM": [7]}
    with pytest.raises(BadArgument, match="counters and gauges can be read, histograms cannot"):
        hostcalls.get_metric(histogram)
    with pytest.raises(BadArgument, match="histograms take values with record_metric"):
        hostcalls.increment_metric(histogram, 1)
    with pytest.raises(NotFound):
        hostcalls.record_metric(99, 1)


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
def test_a_metric_is_defined_at_its_first_use(host: MemoryHost, kind: Any) -> None:
    """Making one asks no proxy, so it may stand at the top of a file; in a VM it is defined once."""
    metric = kind("requests")
    assert host.metrics == []
    use = metric.increment if kind is Counter else metric.record
    use(1)
    use(2)
    assert host.metrics == [(metric._type, b"requests")]
    assert repr(metric) == f"{kind.__name__}('requests')"


@pytest.mark.parametrize(
    ("define", "kind"),
    [
        (hostcalls.define_counter_metric, Counter),
        (hostcalls.define_gauge_metric, Gauge),
        (hostcalls.define_histogram_metric, Histogram),
    ],
)
def test_the_go_sdks_names_define_at_once(host: MemoryHost, define: Any, kind: Any) -> None:
    """define_…_metric gives an object that the proxy knows already."""
    metric = define("m")
    assert type(metric) is kind
    assert host.metrics == [(kind._type, b"m")]
    assert metric.define() == 0
    assert len(host.metrics) == 1


def test_counters(host: MemoryHost) -> None:
    """A counter grows by one or by more; its value is that of all VMs; it never shrinks or stands still."""
    counter = Counter("c")
    counter.increment()
    counter.increment(4)
    hostcalls.increment_metric(hostcalls.define_metric(MetricType.COUNTER, "c"), 10)
    assert counter.value == 15
    for offset in (0, -1):
        with pytest.raises(ValueError, match=f"a counter grows by 1 or more, not by {offset}"):
            counter.increment(offset)
    assert counter.value == 15


def test_gauges_and_histograms(host: MemoryHost) -> None:
    """A gauge goes up and down and can be set; a histogram keeps what it is given."""
    gauge, histogram = Gauge("g"), Histogram("h")
    gauge.record(10)
    gauge.add(-12)
    assert gauge.value == -2
    for number in (0, 5):
        histogram.record(number)
    assert host.recorded == {b"h": [0, 5]}


def test_tags_are_parts_of_the_name(host: MemoryHost) -> None:
    """Each tag is `_key=value` in the order given; a value cannot begin another tag."""
    assert Counter("hits", code="200", zone="a").name == "hits_code=200_zone=a"
    assert Counter("hits", zone="a", code="200").name == "hits_zone=a_code=200"
    assert Gauge("g", who="x_admin=yes").name == "g_who=x_admin.yes"


def test_tagged(host: MemoryHost) -> None:
    """The same tags give the same object, of the same type and defined once; the metric itself is another one."""
    hits = Counter("hits")
    hits.tagged(code="200").increment()
    hits.tagged(code="200").increment()
    hits.tagged(code="404").increment()
    assert hits.tagged(code="200") is hits.tagged(code="200") is not hits.tagged(code="404")
    assert type(Gauge("g").tagged(a="b")) is Gauge
    assert Counter("hits", a="1").tagged(b="2").name == "hits_a=1_b=2"
    assert host.metrics == [(0, b"hits_code=200"), (0, b"hits_code=404")]
    assert (hits.tagged(code="200").value, hits.tagged(code="404").value, hits.value) == (2, 1, 0)


@pytest.mark.parametrize(("make", "kind"), [(counter, Counter), (gauge, Gauge), (histogram, Histogram)])
def test_metrics_by_name(host: MemoryHost, make: Any, kind: Any) -> None:
    """The functions give the metric of a name and tags, the same object each time, without asking the proxy."""
    metric = make("by_name", code=200)
    assert type(metric) is kind
    assert metric.name == "by_name_code=200"
    assert make("by_name", code="200") is metric
    assert make("by_name_code=200") is metric
    assert make("by_name", code=404) is not metric
    assert {type(other("by_name")) for other in (counter, gauge, histogram)} == {Counter, Gauge, Histogram}
    assert host.metrics == []


@pytest.fixture(params=["python", "wasm"])
def filters(request: pytest.FixtureRequest) -> Host:
    """A host with a filter, in both bodies, whose histogram LATENCY has recorded nothing."""
    body: Body = request.param
    return Host(FILTERS / "state.py", body=body)


LATENCY = "latency_of=code"


def test_metrics_of_vms(filters: Host) -> None:
    """Each VM has objects of its own for what is the proxy's one metric."""
    other = filters.start(new_vm=True)
    for worker in (filters, other, filters):
        value(worker, "counter('hits', zone='a').increment()")
    assert value(other, "counter('hits', zone='a').value") == 3
    assert value(filters, "counter('hits', zone='a') is counter('hits', zone='a')") is True
    assert filters.metrics["hits_zone=a"].value == 3


def test_the_time_of_a_block(filters: Host) -> None:
    """In whole milliseconds, of blocks that wait too, also of those that fail."""
    waiting = ask(filters, "timed_block(self, 1.5)")
    filters.advance(1.4996)
    assert LATENCY not in filters.metrics
    filters.advance(1)
    assert waiting.text == "'done'"
    assert filters.metrics[LATENCY].recorded == [1500]
    assert text(filters, "timed_block(self, -1)").startswith("ValueError")
    assert filters.metrics[LATENCY].recorded == [1500, 0]


def test_the_time_of_a_function(filters: Host) -> None:
    """Each call is recorded, of plain and of async functions, which keep their names; calls may overlap."""
    assert value(filters, "(timed(2), timed.__name__)") == (4, "timed")
    assert filters.metrics[LATENCY].recorded == [0]
    streams = [ask(filters, f"timed_async({seconds})") for seconds in (2, 1)]
    filters.advance(3)
    assert [stream.text for stream in streams] == ["'2 s'", "'1 s'"]
    assert filters.metrics[LATENCY].recorded == [0, 1000, 2000]
    assert text(filters, "timed('x')").startswith("TypeError")
    assert len(filters.metrics[LATENCY].recorded) == 4
