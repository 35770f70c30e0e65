"""The log functions: one per level."""

from __future__ import annotations

import pytest

from pywasmfilter import LogLevel, Status, log
from pywasmfilter.exceptions import raise_for_status
from tests.sdk.conftest import MemoryHost


@pytest.mark.parametrize("level", LogLevel, ids=lambda level: level.name)
def test_each_level_has_a_function(host: MemoryHost, level: LogLevel) -> None:
    """The function of a level's name logs at that level, text or bytes as they are."""
    function = getattr(log, level.name.lower())
    function("text")
    function(b"bytes")
    assert host.logged == [(level, "text"), (level, b"bytes")]


@pytest.mark.parametrize("proxy", range(7))
def test_enabled_is_the_proxys_threshold(host: MemoryHost, proxy: int) -> None:
    """A level is enabled if it is the proxy's own or above it; at 6, off, none is."""
    host.log_level = proxy
    assert [level for level in LogLevel if log.enabled(level)] == [level for level in LogLevel if level >= proxy]
    assert log.enabled(5) is (proxy <= 5)


def test_enabled_where_the_proxy_cannot_say(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before ABI 0.2.1 there is no call for the level: everything counts as kept."""
    monkeypatch.setattr(host, "get_log_level", lambda: raise_for_status("proxy_get_log_level", Status.UNIMPLEMENTED))
    assert all(log.enabled(level) for level in LogLevel)
