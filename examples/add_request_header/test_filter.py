"""The filter adds its header to every request and says so in the log."""

from __future__ import annotations

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host


def test_upstream_sees_the_header(host: Host) -> None:
    """A request reaches the upstream with the header x-chapter."""
    stream = host.request()
    assert stream.sent
    assert stream.sent.headers["x-chapter"] == "Chapter09"
    assert stream.status == 200


def test_a_clients_own_value_stays(host: Host) -> None:
    """What the client sent under that name is kept, and comes first."""
    stream = host.request(headers={"X-Chapter": "Chapter01"})
    assert stream.sent
    assert stream.sent.headers.get_all("x-chapter") == ["Chapter01", "Chapter09"]


def test_each_request_is_logged(host: Host) -> None:
    """There is one line at info for every request, and nothing else."""
    host.request("GET", "/")
    host.request("POST", "/", body="data")
    assert host.log == [(LogLevel.INFO, "added custom header to request")] * 2
