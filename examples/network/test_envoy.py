"""The example logs a connection from beginning to end, and counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

COUNTER = "wasmcustom.proxy_wasm_go.connection_counter"


def test_a_connection_is_logged_and_counted(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The data of both directions, the upstream's address and its cluster's metadata are logged, in this order; the
    counter is there from the start, and counts the connection once it has ended.
    """
    assert connections(envoy) == 0

    answer = fetch(envoy, headers={"This-Is-Key": "this-is-value", "Connection": "close"})
    assert (answer.status, answer.body) == (200, b"example body\n")

    envoy.wait_for_log("connection complete!", 10)
    assert connections(envoy) == 1
    log = [line.message for line in envoy.wasm_log() if line.level == "info"]
    assert log[0] == "new connection!"
    assert log[1].startswith(">>>>>> downstream data received >>>>>>\nGET / HTTP/1.1\r\n")
    assert "\r\nThis-Is-Key: this-is-value\r\n" in log[1]
    assert log[2].startswith("remote address: 127.0.0.1:")
    assert set(log[3:6]) == {
        "upstream cluster metadata location[region]=ap-northeast-1",
        "upstream cluster metadata location[cloud_provider]=aws",
        "upstream cluster metadata location[az]=ap-northeast-1a",
    }
    assert log[6].startswith("<<<<<< upstream data received <<<<<<\nHTTP/1.1 200 OK\r\n")
    assert log[-2:] == ["downstream connection close!", "connection complete!"]


def connections(envoy: EnvoyProcess) -> int:
    (line,) = envoy.admin("/stats?filter=connection_counter").splitlines()
    return int(line.rpartition(": ")[2])
