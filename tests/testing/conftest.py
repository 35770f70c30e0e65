"""The filter that does what a test says, in the emulated host."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pywasmfilter.testing import Host, NewHost
from tests.e2e.conftest import FILTERS

NewScripted: TypeAlias = Callable[..., Host]


@pytest.fixture
def scripted(new_host: NewHost) -> NewScripted:
    """A function that starts the scripted filter; the script is its configuration.

    The calls of the filter to the cluster "auth" wait for the test.
    """

    def start(script: str, plugin: str = "http", **options: Any) -> Host:
        configuration = textwrap.dedent(script)
        host = new_host(FILTERS / "scripted.py", plugin=plugin, configuration=configuration, **options)
        host.clusters["auth"] = None
        host.log.clear()  # the filter says that it begins
        return host

    return start
