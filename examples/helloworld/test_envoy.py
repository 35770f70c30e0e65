"""The example greets and tells the time, in a real Envoy."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

TICK = re.compile(r"It's (\d+): random value: (\d+)$")


def test_start_greets(envoy: EnvoyProcess) -> None:
    """The plugin greets at info when it starts in a virtual machine: the trial, the main one and the worker's."""
    assert envoy.wait_for_log("OnPluginStart from Go!", 10, count=3).level == "info"


def test_ticks_tell_the_time_and_a_random_number(envoy: EnvoyProcess) -> None:
    """A tick logs the nanoseconds since 1970, another random number of 64 bits each time, and that it was called."""
    envoy.wait_for_log("OnTick called", 10, count=4)
    lines = [line.message for line in envoy.wasm_log()]
    ticks = [match for line in lines if (match := TICK.fullmatch(line))]
    assert lines.count("OnTick called") >= 4
    assert len({match[2] for match in ticks}) == len(ticks) >= 4
    assert all(int(match[2]) < 2**64 for match in ticks)
    assert all(abs(time.time_ns() - int(match[1])) < 60 * 10**9 for match in ticks)


def test_requests_pass(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A plugin without contexts for streams lets requests through."""
    answer = fetch(envoy)
    assert (answer.status, answer.body) == (200, b"example body\n")
