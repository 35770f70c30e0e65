"""The example logs both configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_both_configurations_are_logged(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Each VM logs its own configuration, then the plugin's, exactly as they stand in the file; traffic just passes."""
    vm = ("info", 'vm config: {\n  "name": "vm configuration"\n}\n')
    plugin = ("info", 'plugin config: {\n  "name": "plugin configuration"\n}\n')

    envoy.wait_for_log("plugin config: ", 10, count=3)  # a trial VM, the main thread's and the worker's
    log = envoy.wasm_log()
    assert log[:2] == [vm, plugin]
    assert sorted(log) == sorted([vm, plugin] * 3)
    assert fetch(envoy).body == b"example body\n"
