"""The filter logs a connection from beginning to end, and counts it."""

from __future__ import annotations

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host

COUNTER = "proxy_wasm_go.connection_counter"


def test_a_new_connection_is_logged(host: Host) -> None:
    """Before any data has come."""
    host.connect()
    assert host.log == [(LogLevel.INFO, "new connection!")]


def test_the_clients_data_is_logged(host: Host) -> None:
    """And reaches the upstream as it is. The end of it, without data, is no line of its own."""
    connection = host.connect()
    connection.from_client("this is client message")
    connection.from_client(end_of_stream=True)
    assert host.messages[1:] == [">>>>>> downstream data received >>>>>>\nthis is client message"]
    assert connection.to_upstream == b"this is client message"


def test_the_upstreams_data_is_logged_after_where_it_is_from(host: Host) -> None:
    """Its address and the metadata of its cluster come first."""
    host.properties["upstream.address"] = "127.0.0.1:8099"
    host.properties["xds.cluster_metadata.filter_metadata"] = {"location": {"region": "ap-northeast-1", "az": "1a"}}
    connection = host.connect()
    connection.from_upstream("this is server message")
    assert host.messages[1:] == [
        "remote address: 127.0.0.1:8099",
        "upstream cluster metadata location[region]=ap-northeast-1",
        "upstream cluster metadata location[az]=1a",
        "<<<<<< upstream data received <<<<<<\nthis is server message",
    ]
    assert connection.to_client == b"this is server message"


def test_what_the_proxy_does_not_know_is_a_warning(host: Host) -> None:
    """The data is logged all the same."""
    host.connect().from_upstream("this is server message")
    assert [line.message for line in host.log if line.level == LogLevel.WARN] == [
        "failed to get upstream remote address: not found",
        "failed to get upstream location metadata: not found",
    ]
    assert "remote address: " in host.messages
    assert host.messages[-1] == "<<<<<< upstream data received <<<<<<\nthis is server message"


def test_data_need_not_be_text(host: Host) -> None:
    """Any bytes pass, and are in the log."""
    connection = host.connect()
    connection.from_client(b"\x16\x03\x01\xff")
    assert connection.to_upstream == b"\x16\x03\x01\xff"
    assert host.messages[-1].endswith("\n\x16\x03\x01\udcff")


def test_the_end_is_logged(host: Host) -> None:
    """First that the client's connection is closed, then that all is over."""
    host.connect().close_client()
    assert host.messages[1:] == ["downstream connection close!", "connection complete!"]


def test_connections_are_counted_when_they_end(host: Host) -> None:
    """The counter is there from the start."""
    assert host.metrics[COUNTER].value == 0
    connections = [host.connect() for _ in range(3)]
    assert host.metrics[COUNTER].value == 0
    for connection in connections:
        connection.close_client()
    assert host.metrics[COUNTER].value == 3
