"""Limits to how often something may happen: token buckets, for each worker or for all of them together.

A bucket holds `burst` tokens and is refilled with `rate` of them per second. Whoever takes tokens that are there may go
on. There is a bucket for each key, a client's address for instance, and all of them are full at first.

What is kept of a bucket is a single number: when it will be full again. A bucket that is full needs none.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from . import _slots, shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    Text = str | bytes

_SECOND = 1_000_000_000  # nanoseconds
_LONGEST = 1_000_000_000  # seconds until a bucket is full again: thirty years


class _Bucket:
    """What all buckets of a limiter have in common, in nanoseconds of the proxy's monotonic clock."""

    def __init__(self, rate: float, burst: float) -> None:
        if not 0 < rate <= _SECOND:
            raise ValueError(f"a rate is more than 0 tokens per second, and {_SECOND} at most, not {rate!r}")
        if not 1 <= burst < _SECOND:
            raise ValueError(f"a burst is 1 token or more, and less than {_SECOND}, not {burst!r}")
        if burst / rate > _LONGEST:
            raise ValueError(f"a bucket of {burst!r} tokens would take {burst / rate:.3g} seconds to be full again")
        self.rate = rate
        """Tokens that come back per second."""
        self.burst = burst
        """Tokens in a full bucket."""

    def _full_at(self, full_at: int, now: int, n: float) -> int:
        """When a bucket will be full again if n tokens are taken out of it now."""
        if not 0 < n <= self.burst:
            raise ValueError(f"a bucket of {self.burst} tokens cannot give {n!r}")
        latest = now + round(self.burst * _SECOND / self.rate)
        if full_at > latest:  # another limit of that name has left it
            full_at = now
        return max(full_at, now) + round(n * _SECOND / self.rate)

    def _missing(self, full_at: int, now: int) -> int:
        """How long until a bucket that is full then holds what was taken out of it; 0 or less if it does already."""
        return full_at - now - round(self.burst * _SECOND / self.rate)


class TokenBucket(_Bucket):
    """A token bucket for each key, in the memory of this worker: `rate` tokens per second, `burst` at most.

        LIMIT = TokenBucket(rate=5, burst=20)

        def on_http_request_headers(self, num_headers, end_of_stream):
            if not LIMIT.take(self.request.headers.get("x-api-key", "")):
                return self.send_http_response(429, [("retry-after", "1")])

    Each worker has buckets of its own, and the proxy spreads connections over its workers: what passes in total is
    between this limit and the limit times the number of workers. `SharedTokenBucket` counts for all of them.

    Of more than `max_keys` buckets the one that was not used for longest is forgotten, so it is full when it is used
    again. Raises ValueError for numbers that make no bucket. May be made at import time.
    """

    def __init__(self, rate: float, burst: float, *, max_keys: int = 10_000) -> None:
        super().__init__(rate, burst)
        if max_keys < 1:
            raise ValueError(f"max_keys is 1 or more, not {max_keys!r}")
        self._max_keys = max_keys
        self._buckets: OrderedDict[bytes, int] = OrderedDict()

    def take(self, key: Text = "", n: float = 1) -> bool:
        """Take n tokens out of a bucket if it has them. Returns whether it had.

        Raises ValueError if n is not more than 0, or more than a full bucket has.
        """
        name, now = _slots.as_bytes(key), time.monotonic_ns()
        full_at = self._full_at(self._buckets.get(name, 0), now, n)
        allowed = self._missing(full_at, now) <= 0
        if allowed:
            self._buckets[name] = full_at
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)  # it is there: only a bucket that is not full can be too empty
        return allowed

    def retry_after(self, key: Text = "", n: float = 1) -> float:
        """In how many seconds a bucket will have n tokens; 0.0 if it has them. Takes none. Raises as `take` does.

        Round it up for a `retry-after` header: `str(math.ceil(…))`.
        """
        now = time.monotonic_ns()
        full_at = self._full_at(self._buckets.get(_slots.as_bytes(key), 0), now, n)
        return max(0, self._missing(full_at, now)) / _SECOND

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self.rate}, burst={self.burst})"


_WAYS = 8
"""How many buckets one value of the shared data has room for."""
_TIME_SIZE = 8
_ENTRY_SIZE = _slots.DIGEST_SIZE + _TIME_SIZE
_MOST_ATTEMPTS = 100


class SharedTokenBucket(_Bucket):
    """A token bucket for each key, for all VMs with this vm_id together: `rate` tokens per second, `burst` at most.

        LIMIT = SharedTokenBucket("api", rate=100, burst=200)

    The buckets are in the proxy's shared data under `name`, and are taken from with its compare-and-swap: two workers
    never get the same token. A `take` costs two host calls, or one if the bucket is empty; if other workers take from
    the same bucket at that moment, two more for each of them. After a hundred such attempts it is refused.

    The memory for `max_keys` buckets is all that is ever used, about 40 bytes for each. Of more keys, those whose
    buckets lack least are forgotten first, and their buckets are full again; it cannot be told from outside which keys
    compete. Keys are kept as hashes. Raises ValueError for numbers that make no bucket. May be made at import time.
    """

    def __init__(self, name: str, rate: float, burst: float, *, max_keys: int = 32_768) -> None:
        super().__init__(rate, burst)
        if max_keys < 1:
            raise ValueError(f"max_keys is 1 or more, not {max_keys!r}")
        self.name = name
        """Plugins with one vm_id that use the same name use the same buckets."""
        self._slots = _slots.Slots(f"limit/{name}", -(-max_keys // _WAYS))

    def take(self, key: Text = "", n: float = 1) -> bool:
        """Take n tokens out of a bucket if it has them (`proxy_get_shared_data`, `proxy_set_shared_data`).

        Returns whether it had. Raises ValueError if n is not more than 0, or more than a full bucket has.
        """
        digest = self._slots.digest(_slots.as_bytes(key))
        place = self._slots.place(digest)
        for _ in range(_MOST_ATTEMPTS):
            value, cas = shared.find(place)
            now = time.monotonic_ns()
            buckets = _unpack(value or b"", now)
            full_at = self._full_at(buckets.pop(digest, 0), now, n)
            if self._missing(full_at, now) > 0:
                return False
            if len(buckets) == _WAYS:
                del buckets[min(buckets, key=buckets.__getitem__)]
            buckets[digest] = full_at
            if shared.store(place, _pack(buckets), cas):
                return True
        return False

    def retry_after(self, key: Text = "", n: float = 1) -> float:
        """In how many seconds a bucket will have n tokens, if nobody takes any until then; 0.0 if it has them.

        Takes none (`proxy_get_shared_data`). Raises as `take` does.
        """
        digest = self._slots.digest(_slots.as_bytes(key))
        value, _ = shared.find(self._slots.place(digest))
        now = time.monotonic_ns()
        full_at = self._full_at(_unpack(value or b"", now).get(digest, 0), now, n)
        return max(0, self._missing(full_at, now)) / _SECOND

    def __repr__(self) -> str:
        return f"SharedTokenBucket({self.name!r}, rate={self.rate}, burst={self.burst})"


def _unpack(value: bytes, now: int) -> dict[bytes, int]:
    """The buckets in a value by the digests of their keys, without those that are full."""
    entries = (value[start : start + _ENTRY_SIZE] for start in range(0, len(value), _ENTRY_SIZE))
    buckets = {entry[:-_TIME_SIZE]: int.from_bytes(entry[-_TIME_SIZE:], "little") for entry in entries}
    return {digest: full_at for digest, full_at in buckets.items() if full_at > now}


def _pack(buckets: dict[bytes, int]) -> bytes:
    return b"".join(digest + full_at.to_bytes(_TIME_SIZE, "little") for digest, full_at in buckets.items())
