"""The module logs the two configurations that it gets."""

from __future__ import annotations

import pytest

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host

VM = '{"name": "vm configuration"}'

pytestmark = pytest.mark.filter(vm_configuration=VM, configuration='{"name": "plugin configuration"}')


def test_both_configurations_are_logged(host: Host) -> None:
    """The VM's when the VM starts, then the plugin's; each as it was given."""
    assert host.log == [
        (LogLevel.INFO, 'vm config: {"name": "vm configuration"}'),
        (LogLevel.INFO, 'plugin config: {"name": "plugin configuration"}'),
    ]


def test_a_plugin_in_the_same_vm_shows_its_own(host: Host) -> None:
    """Every plugin has a configuration of its own."""
    host.start(vm_configuration=VM, configuration="another")
    assert host.messages[-1] == "plugin config: another"


@pytest.mark.filter(vm_configuration=None, configuration=None)
def test_no_configuration_is_empty(host: Host) -> None:
    """The module starts all the same."""
    assert host.messages == ["vm config: ", "plugin config: "]


def test_traffic_just_passes(host: Host) -> None:
    """The plugin looks at no request."""
    assert host.request().status == 200
    assert len(host.messages) == 2
