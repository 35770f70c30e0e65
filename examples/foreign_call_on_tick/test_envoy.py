"""The example calls a function of Envoy every millisecond, in a real Envoy."""

from __future__ import annotations

import re
import zlib

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

pytestmark = pytest.mark.envoy


def test_start_sets_the_tick_period(envoy: EnvoyProcess) -> None:
    """The plugin says that it ticks every millisecond in each virtual machine: a trial, the main one, the worker's."""
    envoy.wait_for_log("set tick period milliseconds: 1", 10, count=3)


def test_function_is_called_on_every_tick(envoy: EnvoyProcess) -> None:
    """Calls are numbered from 1, and each gives the compressed text."""
    for count in range(1, 10):
        line = envoy.wait_for_log(f"foreign function (compress) called: {count}, result: ", 10)
        found = re.search(r"result: ([0-9a-f]+)$", line.message)
        assert found, line
        assert zlib.decompress(bytes.fromhex(found[1])) == b"hello world!"
