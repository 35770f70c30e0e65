"""The plugin calls a function of the proxy every millisecond."""

from __future__ import annotations

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host


def test_start_sets_the_tick_period(host: Host) -> None:
    """The plugin asks for ticks every millisecond and says so."""
    assert host.plugin.tick_period == 0.001
    assert host.log == [(LogLevel.INFO, "set tick period milliseconds: 1")]


def test_the_function_is_called_on_every_tick(host: Host) -> None:
    """Calls are numbered from 1, and the log has the result of each, in hexadecimal."""
    host.foreign_functions["compress"] = bytes.upper
    host.advance(0.010)
    result = b"HELLO WORLD!".hex()
    expected = [f"foreign function (compress) called: {count}, result: {result}" for count in range(1, 11)]
    assert host.messages[1:] == expected


def test_the_result_is_envoys(host: Host) -> None:
    """The host's own `compress` does what Envoy's does: this is the result that the README shows."""
    host.tick()
    assert host.messages[-1].endswith("result: 789ccb48cdc9c95728cf2fca495104001e89047e")


def test_a_proxy_without_the_function(host: Host) -> None:
    """The call fails, which is critical, and the plugin counts on."""
    del host.foreign_functions["compress"]
    host.advance(0.002)
    failures = [line for line in host.log if line.level == LogLevel.CRITICAL]
    assert all(line.message.startswith("foreign function (compress) failed: ") for line in failures)
    assert len(failures) == 2
    assert host.messages[-1] == "foreign function (compress) called: 2, result: "
