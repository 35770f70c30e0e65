"""The plugin greets when it starts, and then tells the time and a random number every second."""

from __future__ import annotations

import re

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host

TICK = re.compile(r"It's (\d+): random value: (\d+)")


def test_start_greets(host: Host) -> None:
    """One line at info, before anything else happens."""
    assert host.log == [(LogLevel.INFO, "OnPluginStart from Go!")]


def test_ticks_come_every_second(host: Host) -> None:
    """Each logs the time, and that it was called."""
    host.advance(2.9)
    assert host.messages.count("OnTick called") == 2
    host.advance(0.1)
    assert host.messages.count("OnTick called") == 3


def test_the_time_is_the_proxys(host: Host) -> None:
    """In nanoseconds since 1970, a second later at each tick."""
    start = host.clock.nanoseconds
    host.advance(2)
    times = [int(match[1]) for line in host.messages if (match := TICK.fullmatch(line))]
    assert times == [start + 10**9, start + 2 * 10**9]


def test_the_numbers_are_random(host: Host) -> None:
    """Another one of 64 bits at each tick."""
    host.advance(20)
    numbers = [int(match[2]) for line in host.messages if (match := TICK.fullmatch(line))]
    assert len(set(numbers)) == 20
    assert 2**56 < max(numbers) < 2**64  # all smaller: once in 2^160 runs


def test_requests_pass(host: Host) -> None:
    """The plugin looks at no request."""
    assert host.request("GET", "/").status == 200
    assert host.messages == ["OnPluginStart from Go!"]
