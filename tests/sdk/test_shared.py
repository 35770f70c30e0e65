"""Shared data and queues: the ABI's calls, and an update that is not lost to a faster VM."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import CasMismatch, Empty, NotFound, hostcalls
from tests.sdk.conftest import MemoryHost


def test_data_is_stored_under_its_key(host: MemoryHost) -> None:
    """Text and bytes are the same key and value; each change has another CAS number; what is not there is NotFound."""
    with pytest.raises(NotFound):
        hostcalls.get_shared_data("kéy")
    hostcalls.set_shared_data("kéy", "välue")
    value, cas = hostcalls.get_shared_data("kéy".encode())
    assert value == "välue".encode()
    hostcalls.set_shared_data("kéy", b"\xff", cas)
    changed, other_cas = hostcalls.get_shared_data("kéy")
    assert changed == b"\xff"
    assert other_cas not in {0, cas}


def test_a_stale_cas_is_a_mismatch(host: MemoryHost) -> None:
    """With the number of an older value nothing is stored; without a number the value is stored in any case."""
    hostcalls.set_shared_data("k", b"1")
    _, cas = hostcalls.get_shared_data("k")
    hostcalls.set_shared_data("k", b"2")
    with pytest.raises(CasMismatch):
        hostcalls.set_shared_data("k", b"3", cas)
    assert host.data[b"k"][0] == b"2"
    hostcalls.set_shared_data("k", b"4")
    assert host.data[b"k"][0] == b"4"


def disturbed(host: MemoryHost, times: int) -> Callable[[bytes | None], bytes]:
    """An update that another VM gets ahead of so many times: each appends a byte of its own."""
    seen: list[bytes | None] = []

    def update(value: bytes | None) -> bytes:
        seen.append(value)
        if len(seen) <= times:
            host.set_shared_data("k", (value or b"") + b"o", 0)
        return (value or b"") + b"m"

    return update


def test_an_update_of_nothing(host: MemoryHost) -> None:
    """The update gets None and its result is stored; text is accepted, and bytes come back."""
    assert hostcalls.update_shared_data("k", lambda value: "né\udcff" if value is None else "") == b"n\xc3\xa9\xff"
    assert host.data[b"k"][0] == b"n\xc3\xa9\xff"


@pytest.mark.parametrize("times", [0, 1, 5])
def test_an_update_is_repeated_on_what_others_stored(host: MemoryHost, times: int) -> None:
    """No update of anybody is lost, and the result is what was stored in the end."""
    hostcalls.set_shared_data("k", b"")
    assert hostcalls.update_shared_data("k", disturbed(host, times)) == b"o" * times + b"m"
    assert host.data[b"k"][0] == b"o" * times + b"m"


def test_updates_end(host: MemoryHost) -> None:
    """If others are always faster, a worker does not hang: after a thousand attempts the mismatch is raised."""
    hostcalls.set_shared_data("k", b"")
    with pytest.raises(CasMismatch):
        hostcalls.update_shared_data("k", disturbed(host, 5000))
    assert host.data[b"k"][0] == b"o" * 1000


def test_the_last_attempt_counts(host: MemoryHost) -> None:
    """An update that succeeds at the thousandth attempt is no error."""
    hostcalls.set_shared_data("k", b"")
    assert hostcalls.update_shared_data("k", disturbed(host, 999)) == b"o" * 999 + b"m"


def test_an_exception_of_the_update_stores_nothing(host: MemoryHost) -> None:
    """What the update raises comes through, and the value is as it was."""
    hostcalls.set_shared_data("k", b"old")

    def fail(_value: bytes | None) -> bytes:
        raise KeyError

    with pytest.raises(KeyError):
        hostcalls.update_shared_data("k", fail)
    assert host.data[b"k"][0] == b"old"


def test_queues_keep_their_order(host: MemoryHost) -> None:
    """Items come out as they went in, as bytes; an empty queue is Empty."""
    queue = hostcalls.register_shared_queue("jobs")
    hostcalls.enqueue_shared_queue(queue, "ä")
    hostcalls.enqueue_shared_queue(queue, b"\xff")
    assert [hostcalls.dequeue_shared_queue(queue) for _ in range(2)] == ["ä".encode(), b"\xff"]
    with pytest.raises(Empty):
        hostcalls.dequeue_shared_queue(queue)


def test_queues_have_names(host: MemoryHost) -> None:
    """Registering twice gives the same queue; resolving finds it, in this VM or another, and never makes one."""
    queue, other = hostcalls.register_shared_queue("jobs"), hostcalls.register_shared_queue("other")
    host.queues[(b"receiver", b"jobs")] = []
    assert hostcalls.register_shared_queue(b"jobs") == hostcalls.resolve_shared_queue("", "jobs") == queue != other
    assert hostcalls.resolve_shared_queue(b"receiver", "jobs") not in (queue, other)
    with pytest.raises(NotFound, match="no VM with this vm_id has registered a queue of this name yet"):
        hostcalls.resolve_shared_queue("receiver", "other")


@pytest.mark.parametrize(
    "use", [hostcalls.dequeue_shared_queue, lambda queue: hostcalls.enqueue_shared_queue(queue, b"")]
)
def test_an_unknown_queue(host: MemoryHost, use: Callable[[int], object]) -> None:
    """An id that nobody gave out is NotFound, with advice."""
    with pytest.raises(NotFound, match="register_shared_queue and resolve_shared_queue give ids"):
        use(1)
