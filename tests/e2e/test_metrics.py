"""Metrics as Envoy shows them: values over all workers, and tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.bootstrap import WasmPlugin, bootstrap, direct_response, http_listener
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.scripting import INCLUDED, evaluate, eventually, failure, run, script, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

TAGS = {name: rf"(_{name}=([a-zA-Z0-9.-]+))" for name in ("method", "status")}

AT_START = script("""
    def on_plugin_start(self, plugin_configuration_size):
        Counter("starts").increment()
""")


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """Two workers, and tags for what the tests count."""
    plugin = WasmPlugin(build_filter("scripted", include=INCLUDED).path, root_id="http", configuration=AT_START)
    config = bootstrap([http_listener([plugin], [direct_response(200, "direct")])], tags=TAGS)
    with EnvoyProcess(config, concurrency=2) as process:
        yield process


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("pyfilter")


def shown(envoy: EnvoyProcess, name: str) -> list[str]:
    """The lines of a metric as Prometheus would read them, without its type."""
    text = envoy.admin("/stats/prometheus")
    return sorted(line for line in text.splitlines() if re.match(rf"{name}\b", line))


def test_counter(envoy: EnvoyProcess, port: int) -> None:
    """A counter grows by what it is told, from every VM, and can be read back."""
    for _ in range(10):
        assert evaluate(port, "Counter('requests').increment()") is None
    assert evaluate(port, "(Counter('requests').increment(5), Counter('requests').value)") == (None, 15)
    assert eventually(lambda: shown(envoy, "requests"), ["requests{} 15"]) == ["requests{} 15"]


def test_tags(envoy: EnvoyProcess, port: int) -> None:
    """Tags are parts of the name for which the proxy's configuration has regular expressions."""
    tagged = "Counter('tagged').tagged(method='GET', status={})"
    for status, times in (("200", 3), ("404", 1)):
        for _ in range(times):
            evaluate(port, tagged.format(repr(status)) + ".increment()")
    wanted = ['tagged{method="GET",status="200"} 3', 'tagged{method="GET",status="404"} 1']
    assert eventually(lambda: shown(envoy, "tagged"), wanted) == wanted
    assert evaluate(port, "Counter('tagged', method='GET', status='404').value") == 1


def test_tag_cannot_pretend_to_be_another(envoy: EnvoyProcess, port: int) -> None:
    """A tag's value that looks like another tag does not become one."""
    evaluate(port, "Counter('guarded').tagged(method='GET_status=500').increment()")
    wanted = ['guarded_status_500{method="GET"} 1']
    assert eventually(lambda: shown(envoy, "guarded_status_500"), wanted) == wanted


def test_gauge(envoy: EnvoyProcess, port: int) -> None:
    """A gauge goes up and down, or is set."""
    code = """
        def on_http_request_headers(self, *_):
            gauge = hostcalls.define_gauge_metric("depth")
            gauge.record(5)
            gauge.add(3)
            gauge.add(-1)
            return self.send_http_response(200, body=repr(gauge.value))
    """
    assert value(run(port, code)) == 7
    assert eventually(lambda: shown(envoy, "depth"), ["depth{} 7"]) == ["depth{} 7"]


def test_histogram(envoy: EnvoyProcess, port: int) -> None:
    """A histogram has a count, a sum and buckets; it cannot be read back."""
    for size in (1, 20, 300):
        evaluate(port, f"Histogram('sizes').record({size})")
    wanted = ["sizes_count{} 3"]
    assert eventually(lambda: shown(envoy, "sizes_count"), wanted) == wanted
    assert 'sizes_bucket{le="50"} 2' in shown(envoy, "sizes_bucket")
    assert failure(port, "hostcalls.get_metric(hostcalls.define_metric(MetricType.HISTOGRAM, 'sizes'))") == (
        "BadArgument: proxy_get_metric: BAD_ARGUMENT (2); counters and gauges can be read, histograms cannot"
    )


def test_metric_of_every_vm(envoy: EnvoyProcess) -> None:
    """What a plugin counts at its start is counted in the trial VM, on the main thread and in each worker."""
    assert eventually(lambda: shown(envoy, "starts"), ["starts{} 4"]) == ["starts{} 4"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Counter('wrong').increment(0)", "ValueError: a counter grows by 1 or more, not by 0"),
        ("hostcalls.increment_metric(4712, 1)", "NotFound: proxy_increment_metric: NOT_FOUND (1)"),
        ("hostcalls.get_metric(4712)", "NotFound: proxy_get_metric: NOT_FOUND (1)"),
        ("hostcalls.define_metric(7, 'wrong')", "BadArgument: proxy_define_metric: BAD_ARGUMENT (2)"),
        ("Gauge('wrong').add(2**63)", "OverflowError: "),
    ],
)
def test_wrong_uses(port: int, expression: str, message: str) -> None:
    """What a metric cannot do raises."""
    assert failure(port, expression).startswith(message)


def test_functions(port: int) -> None:
    """The same by numbers: each definition has another id for one and the same metric."""
    code = """
        def on_http_request_headers(self, *_):
            first, second = (hostcalls.define_metric(MetricType.COUNTER, "numbered") for _ in range(2))
            hostcalls.increment_metric(first, 2)
            hostcalls.record_metric(second, 3)
            answer = first != second, hostcalls.get_metric(first), hostcalls.get_metric(second)
            return self.send_http_response(200, body=repr(answer))
    """
    assert value(run(port, code)) == (True, 5, 5)
