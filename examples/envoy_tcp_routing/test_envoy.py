"""The example chooses a connection's cluster by its source address."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

pytestmark = pytest.mark.envoy


@pytest.mark.parametrize(
    ("source", "cluster"),
    [("127.0.0.1", "egress-router2"), ("127.0.0.2", "egress-router1"), ("127.0.0.255", "egress-router2")],
)
def test_the_last_byte_decides(envoy: EnvoyProcess, source: str, cluster: str) -> None:
    """Even goes to egress-router1, odd to egress-router2, and the log says so."""
    port = envoy.listener_port("main")
    with closing(HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))) as connection:
        connection.request("GET", "/")
        local = connection.sock.getsockname()[1]
        assert connection.getresponse().read() == f"{cluster}\n".encode()
    envoy.wait_for_log(f"routed {source}:{local} to {cluster}", 10)
