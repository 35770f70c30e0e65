"""Token buckets, of one worker and of all, in both bodies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import SharedTokenBucket, Status, TokenBucket
from pywasmfilter.testing import Body, Host
from tests.e2e.conftest import FILTERS
from tests.sdk.stateful import text, value

BOTH = pytest.mark.parametrize("limit", ["LIMIT", "SHARED_LIMIT"])


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Host:
    """A new host with the filter; its buckets hold four tokens, and get two per second."""
    body: Body = request.param
    return Host(FILTERS / "state.py", body=body)


@BOTH
def test_a_burst_passes_and_then_the_rate(host: Host, limit: str) -> None:
    """A bucket is full at first, however long before that it was made; then each token takes its time."""
    assert value(host, f"[{limit}.take('k') for _ in range(6)]") == [True] * 4 + [False] * 2
    host.advance(0.499)
    assert value(host, f"{limit}.take('k')") is False
    host.advance(0.001)
    assert value(host, f"[{limit}.take('k') for _ in range(2)]") == [True, False]
    host.advance(1)
    assert value(host, f"[{limit}.take('k') for _ in range(3)]") == [True, True, False]
    host.advance(1000)
    assert value(host, f"[{limit}.take('k') for _ in range(5)]") == [True] * 4 + [False]


@BOTH
def test_keys_have_buckets_of_their_own(host: Host, limit: str) -> None:
    """What one key has used up the other still has; without a key there is one bucket, and text and bytes are equal."""
    assert value(host, f"[{limit}.take(key, 4) for key in ('a', b'b', 'b', b'a')]") == [True, True, False, False]
    assert value(host, f"[{limit}.take(n=4), {limit}.take()]") == [True, False]


@BOTH
def test_retry_after(host: Host, limit: str) -> None:
    """It says in how many seconds the tokens are there, takes none, and is right."""
    assert value(host, f"{limit}.retry_after('k', 4)") == 0.0
    assert value(host, f"({limit}.take('k', 3), {limit}.retry_after('k'), {limit}.retry_after('k', 3))") == (
        True,
        0.0,
        1.0,
    )
    host.advance(1)
    assert value(host, f"({limit}.retry_after('k', 4), {limit}.take('k', 4))") == (0.5, False)
    host.advance(0.5)
    assert value(host, f"({limit}.retry_after('k', 4), {limit}.take('k', 4))") == (0.0, True)


@BOTH
@pytest.mark.parametrize("n", ["0", "-1", "4.5", "float('nan')"])
def test_what_no_bucket_can_give(host: Host, limit: str, n: str) -> None:
    """It is refused as an error, since it would never come, and changes nothing."""
    value(host, f"{limit}.take('k', 3)")
    for method in ("take", "retry_after"):
        assert text(host, f"{limit}.{method}('k', {n})").startswith("ValueError: a bucket of 4 tokens cannot give")
    assert value(host, f"[{limit}.take('k') for _ in range(2)]") == [True, False]


@pytest.mark.parametrize("make", [TokenBucket, lambda *args, **more: SharedTokenBucket("name", *args, **more)])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "a rate is more than 0 tokens per second"),
        ((float("inf"), 1), "a rate is more than 0"),
        ((1, 0.5), "a burst is 1 token or more"),
        ((1, 1, 0), "max_keys is 1 or more, not 0"),
    ],
)
def test_numbers_that_make_no_bucket(make: Callable[..., object], arguments: tuple[float, ...], message: str) -> None:
    """They are refused where the limit is made, which is when the filter is built."""
    rate, burst, *more = arguments
    with pytest.raises(ValueError, match=message):
        make(rate, burst, **({"max_keys": more[0]} if more else {}))


# One worker's


def test_each_worker_has_its_own(host: Host) -> None:
    """So two of them let twice as much pass."""
    other = host.start(new_vm=True)
    assert [value(worker, "LIMIT.take('k', 4)") for worker in (host, other, host)] == [True, True, False]


def test_the_bucket_that_was_not_used_for_longest_is_forgotten(host: Host) -> None:
    """Of three keys where there is room for two; a refusal is a use."""
    assert value(host, "[LIMIT.take(key, 4) for key in 'aba']") == [True, True, False]
    assert value(host, "[LIMIT.take(key) for key in 'cabc']") == [True, False, True, True]


# Of all workers


def test_workers_have_one_bucket(host: Host) -> None:
    """What one has taken, the other cannot; with another vm_id it is another bucket."""
    other, foreign = host.start(new_vm=True), host.start(vm_id="other")
    assert [value(worker, "SHARED_LIMIT.take('k', 3)") for worker in (host, other, foreign)] == [True, False, True]
    assert [value(worker, "SHARED_LIMIT.retry_after('k', 3)") for worker in (host, other)] == [1.0, 1.0]


def test_no_token_is_given_twice(host: Host) -> None:
    """If another worker takes from the bucket in between, its tokens are counted before this one's."""
    value(host, "SHARED_LIMIT.take('k', 2)")
    host.fail("set_shared_data", Status.CAS_MISMATCH, times=3)
    assert value(host, "SHARED_LIMIT.take('k', 2)") is True
    assert value(host, "SHARED_LIMIT.take('k')") is False


def test_a_crowd_is_refused(host: Host) -> None:
    """Where others are always faster, a worker does not hang, and lets nothing pass."""
    value(host, "SHARED_LIMIT.take('k')")
    host.fail("set_shared_data", Status.CAS_MISMATCH, times=1000)
    assert value(host, "SHARED_LIMIT.take('k')") is False
    host.failures.clear()
    assert value(host, "SHARED_LIMIT.retry_after('k', 4)") == 0.5


def test_a_refusal_stores_nothing(host: Host) -> None:
    """So those that are refused do not hold up the others."""
    value(host, "SHARED_LIMIT.take('k', 4)")
    before = len(host.trace.calls("set_shared_data"))
    assert value(host, "SHARED_LIMIT.take('k')") is False
    assert len(host.trace.calls("set_shared_data")) == before


def test_the_memory_is_bounded(host: Host) -> None:
    """However many keys there are: nine are in a value that has room for eight."""
    assert value(host, "[TIGHT_LIMIT.take(str(number), 2) for number in range(50)]") == [True] * 50
    assert len(host.shared_data) == 2
    assert len(host.shared_data[b"pywasmfilter/limit/tight/0"]) == 8 * 24


def test_the_fullest_of_the_others_is_forgotten(host: Host) -> None:
    """A new key displaces the bucket that lacks least, and not its own; one that is full again takes no room."""
    assert value(host, "[TIGHT_LIMIT.take(str(n), 1 if n == 5 else 4) for n in range(8)]") == [True] * 8
    assert value(host, "[TIGHT_LIMIT.take('new') for _ in range(5)]") == [True] * 4 + [False]
    assert value(host, "[TIGHT_LIMIT.take(str(n)) for n in range(8)]") == [False] * 5 + [True] + [False] * 2
    host.advance(2)
    assert value(host, "TIGHT_LIMIT.take('last')") is True
    assert len(host.shared_data[b"pywasmfilter/limit/tight/0"]) == 24


def test_foreign_data_are_no_bucket(host: Host) -> None:
    """What others put under the limit's keys does no harm."""
    value(host, "TIGHT_LIMIT.take('k', 4)")
    for garbage in (b"", b"\0", b"\xff" * 30):
        host.shared("")[b"pywasmfilter/limit/tight/0"] = garbage, 1
        assert value(host, "[TIGHT_LIMIT.take('k') for _ in range(5)]") == [True] * 4 + [False]


def test_other_limits_for_the_same_buckets(host: Host) -> None:
    """What was taken under a stricter limit does not count: a bucket that could not be this limit's is full."""
    assert value(host, "[SharedTokenBucket('again', rate=0.001, burst=3).take('a') for _ in range(4)]") == [
        True
    ] * 3 + [False]
    assert value(host, "SharedTokenBucket('again', rate=100, burst=1).retry_after('a')") == 0
    assert value(host, "SharedTokenBucket('again', rate=100, burst=1).take('a')") is True


def test_a_bucket_that_is_never_full() -> None:
    """A rate so small that no clock counts so far is no rate."""
    with pytest.raises(ValueError, match="seconds to be full again"):
        TokenBucket(5e-324, 1)
