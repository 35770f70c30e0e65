"""The filter chooses a connection's cluster by the address of its client."""

from __future__ import annotations

import pytest

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host


class FilterState:
    """Envoy's function `set_envoy_filter_state`, which only remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def __call__(self, arguments: bytes) -> bytes:
        self.told.append(arguments)
        return b""


@pytest.fixture
def filter_state(host: Host) -> FilterState:
    state = host.foreign_functions["set_envoy_filter_state"] = FilterState()
    return state


@pytest.mark.parametrize(
    ("source", "cluster"),
    [
        ("127.0.0.1:4711", "egress-router2"),
        ("127.0.0.2:4711", "egress-router1"),
        ("127.0.0.255:4712", "egress-router2"),
        ("[2001:db8::1]:4712", "egress-router2"),
        ("[2001:db8::a]:4711", "egress-router1"),
    ],
)
def test_the_last_byte_decides(host: Host, filter_state: FilterState, source: str, cluster: str) -> None:
    """Even goes to egress-router1, odd to egress-router2, and the log says so."""
    host.properties["source.address"] = source
    host.connect()
    (arguments,) = filter_state.told
    assert b"envoy.tcp_proxy.cluster" in arguments
    assert cluster.encode() in arguments
    assert host.log == [(LogLevel.INFO, f"routed {source} to {cluster}")]


def test_data_passes(host: Host, filter_state: FilterState) -> None:
    """The filter looks at nothing of what client and upstream send."""
    connection = host.connect()
    connection.from_client("ping")
    connection.from_upstream("pong")
    assert (connection.to_upstream, connection.to_client) == (b"ping", b"pong")
    assert len(filter_state.told) == 1


def test_without_an_address_nothing_is_chosen(host: Host, filter_state: FilterState) -> None:
    """Envoy's own choice stands, and the log has a warning."""
    del host.properties["source.address"]
    host.connect()
    assert filter_state.told == []
    assert host.log == [(LogLevel.WARN, "the connection has no source address")]
