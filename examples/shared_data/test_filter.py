"""The filter counts the requests of all workers in the proxy's shared data."""

from __future__ import annotations

from pywasmfilter import Status
from pywasmfilter.testing import Host


def test_requests_are_counted(host: Host) -> None:
    """The log has the number of each; the value is eight bytes, the least significant one first."""
    for _ in range(10):
        assert host.request().status == 200
    assert host.messages == [f"shared value: {count}" for count in range(1, 11)]
    assert host.shared_data == {b"shared_data_key": (10).to_bytes(8, "little")}


def test_workers_count_together(host: Host) -> None:
    """A second worker has a VM of its own, and goes on where the first one is."""
    workers = [host.plugin, host.start(new_vm=True)]
    for worker in workers * 3:
        worker.request()
    assert host.messages == [f"shared value: {count}" for count in range(1, 7)]


def test_a_start_begins_anew(host: Host) -> None:
    """The value is empty, which stands for nothing."""
    assert host.shared_data == {b"shared_data_key": b""}


def test_no_update_is_lost(host: Host) -> None:
    """If another worker was faster, the filter reads again and counts once."""
    host.fail("set_shared_data", Status.CAS_MISMATCH, times=3)
    host.request()
    assert host.messages == ["shared value: 1"]
    assert len(host.trace.calls("get_shared_data")) == 4
