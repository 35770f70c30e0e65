"""Caches: values that are kept for a while, by this worker or by the proxy for all workers.

Both kinds have the same methods, and both are bounded: they may forget anything at any time, and what clients send can
be a key.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import wraps

from . import _abi, _slots, shared
from ._tasks import Future
from .contexts import Context
from .exceptions import CasMismatch
from .types import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, Protocol, TypeVar

    Text = str | bytes
    P = ParamSpec("P")
    R = TypeVar("R")

    class Codec(Protocol):
        """What makes text or bytes of a value, and the value of bytes again, such as the module `json`."""

        def dumps(self, value: Any, /) -> Text: ...
        def loads(self, data: bytes, /) -> Any: ...


_SECOND = 1_000_000_000  # nanoseconds
_LONGEST = 1_000_000_000  # seconds, about 30 years
_NUMBER_SIZE = 8
_MISSING: Any = object()
"""Where a value would be; None is one."""


def _nanoseconds(ttl: float) -> int:
    if not 0 < ttl <= _LONGEST:
        raise ValueError(f"a time to live is more than 0 seconds, and {_LONGEST} at most, not {ttl!r}")
    return round(ttl * _SECOND)


class LocalCache:
    """A cache in the memory of this worker: any values, each for `ttl` seconds, `max_entries` of them at most.

        USERS = LocalCache(ttl=60)

    Of more entries the one that was not used for longest is forgotten. Values are kept as they are, not as copies.
    Raises ValueError for numbers that make no cache. May be made at import time.
    """

    def __init__(self, *, ttl: float, max_entries: int = 1024) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries is 1 or more, not {max_entries!r}")
        self._ttl = _nanoseconds(ttl)
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, tuple[int, Any]] = OrderedDict()
        self._function: str | None = None

    def get(self, key: Text, default: Any = None) -> Any:
        """The value of a key; `default` if there is none, or its time is up."""
        name = _slots.as_bytes(key)
        expires, value = self._entries.get(name, (0, default))
        if not expires:
            return default
        if time.monotonic_ns() >= expires:
            del self._entries[name]
            return default
        self._entries.move_to_end(name)
        return value

    def set(self, key: Text, value: Any, ttl: float | None = None) -> bool:
        """Keep a value for `ttl` seconds, by default the cache's. Returns True."""
        name = _slots.as_bytes(key)
        expires = time.monotonic_ns() + (self._ttl if ttl is None else _nanoseconds(ttl))
        self._entries[name] = expires, value
        self._entries.move_to_end(name)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return True

    def delete(self, key: Text) -> None:
        """Forget a key. Does nothing if there is none."""
        self._entries.pop(_slots.as_bytes(key), None)

    def update(self, key: Text, function: Callable[[Any], Any], ttl: float | None = None) -> Any:
        """Replace a value by `function(value)`, which gets None if there is none. Returns the new value."""
        value = function(self.get(key))
        self.set(key, value, ttl)
        return value

    def _as_returned(self, value: Any) -> Any:
        return value

    def __repr__(self) -> str:
        return f"LocalCache(ttl={self._ttl / _SECOND:g}, max_entries={self._max_entries})"


class Cache:
    """A cache in the proxy's shared data, for all VMs with this vm_id: each value for `ttl` seconds.

        TOKENS = Cache("tokens", ttl=60)
        CLAIMS = Cache("claims", ttl=60, codec=json)

    Values are bytes, or text that comes back as bytes; with a `codec` they are what its `dumps` takes and its `loads`
    gives, as the module `json` has them. Values that the codec cannot read are not there.

    A proxy never forgets a key of its shared data. So the cache has a fixed number of `slots`, and each key has its
    place in one of them. Two keys with the same place displace each other, so have several times as many slots as keys
    that matter at a time; a key never gets another one's value, and it cannot be told from outside which keys compete.
    A key and its value have `max_bytes` together; what is larger is not kept. So the cache never takes more of the
    proxy's memory than `slots` times `max_bytes`, and a hundred bytes for each slot.

    Raises ValueError for numbers that make no cache. May be made at import time.
    """

    def __init__(
        self, name: str, *, ttl: float, slots: int = 1024, max_bytes: int = 16_384, codec: Codec | None = None
    ) -> None:
        if slots < 1 or max_bytes < 1:
            raise ValueError(f"slots and max_bytes are 1 or more, not {slots!r} and {max_bytes!r}")
        self.name = name
        """Plugins with one vm_id that use the same name, `slots` and codec use the same cache."""
        self._ttl = _nanoseconds(ttl)
        self._max_bytes = max_bytes
        self._codec = codec
        self._slots = _slots.Slots(f"cache/{name}", slots)
        self._function: str | None = None

    def get(self, key: Text, default: Any = None) -> Any:
        """The value of a key; `default` if there is none, or its time is up (`proxy_get_shared_data`)."""
        name = _slots.as_bytes(key)
        value, _ = self._read(name, self._place(name))
        return default if value is _MISSING else value

    def set(self, key: Text, value: Any, ttl: float | None = None) -> bool:
        """Keep a value for `ttl` seconds, by default the cache's (`proxy_set_shared_data`).

        Returns whether it is kept: not if it is too large, and then an older value of the key is forgotten too. Raises
        TypeError for a value that is neither text nor bytes, without a codec, or what the codec raises.
        """
        name = _slots.as_bytes(key)
        entry = self._entry(name, value, ttl)
        if not entry:
            self.delete(name)
            return False
        _abi.host.set_shared_data(self._place(name), entry, 0)
        return True

    def delete(self, key: Text) -> None:
        """Forget a key. Does nothing if there is none (`proxy_get_shared_data`, `proxy_set_shared_data`)."""
        name = _slots.as_bytes(key)
        place = self._place(name)
        if _value_of(name, shared.find(place)[0]) is not None:
            _abi.host.set_shared_data(place, b"", 0)

    def update(self, key: Text, function: Callable[[Any], Any], ttl: float | None = None) -> Any:
        """Replace a value by `function(value)`, which gets None if there is none, and again if another VM was faster.

        Returns the new value, which is kept as `set` does. No update is lost as long as the key is not displaced.
        Raises CasMismatch after 1000 attempts, as `hostcalls.update_shared_data` does.
        """
        name = _slots.as_bytes(key)
        place = self._place(name)
        for _ in range(_MOST_ATTEMPTS):
            value, cas = self._read(name, place)
            new = function(None if value is _MISSING else value)
            if shared.store(place, self._entry(name, new, ttl), cas):
                return new
        raise CasMismatch("proxy_set_shared_data", Status.CAS_MISMATCH)

    def _place(self, name: bytes) -> str:
        return self._slots.place(self._slots.digest(name))

    def _read(self, name: bytes, place: str) -> tuple[Any, int]:
        """The value of a key, and the number for `shared.store`."""
        entry, cas = shared.find(place)
        data = _value_of(name, entry)
        if data is None:
            return _MISSING, cas
        try:
            return (data if self._codec is None else self._codec.loads(data)), cas
        except ValueError:  # stored with another codec, by a plugin that an update replaces for instance
            return _MISSING, cas

    def _entry(self, name: bytes, value: Any, ttl: float | None) -> bytes:
        """What is stored: the end of its time, the key and the value; nothing if that is too large."""
        data = self._encoded(value)
        if len(name) + len(data) > self._max_bytes:
            return b""
        expires = time.monotonic_ns() + (self._ttl if ttl is None else _nanoseconds(ttl))
        numbers = (number.to_bytes(_NUMBER_SIZE, "little") for number in (expires, len(name)))
        return b"".join((*numbers, name, data))

    def _encoded(self, value: Any) -> bytes:
        data = value if self._codec is None else self._codec.dumps(value)
        if not isinstance(data, str | bytes):
            raise TypeError(f"a Cache without a codec keeps str and bytes, not {value!r}; see its argument codec")
        return _slots.as_bytes(data)

    def _as_returned(self, value: Any) -> Any:
        """What `get` makes of what a function returned. Raises TypeError if that is something else."""
        if isinstance(value, str) and self._codec is None:
            raise TypeError(f"{self!r} would give bytes for the text that the function returns; give it a codec=")
        return self._encoded(value) if self._codec is None else self._codec.loads(self._encoded(value))

    def __repr__(self) -> str:
        return f"Cache({self.name!r}, ttl={self._ttl / _SECOND:g})"


_MOST_ATTEMPTS = 1000


def _value_of(name: bytes, entry: bytes | None) -> bytes | None:
    """The value in an entry, if it is this key's and its time is not up."""
    if entry is None:
        return None
    expires, size = (int.from_bytes(entry[start : start + _NUMBER_SIZE], "little") for start in (0, _NUMBER_SIZE))
    start = 2 * _NUMBER_SIZE
    if size != len(name) or entry[start : start + size] != name or time.monotonic_ns() >= expires:
        return None
    return entry[start + size :]


_GIVEN_UP: Any = object()
"""The result for those who wait for a call whose caller was cancelled."""


def cached(
    cache: Cache | LocalCache, *, key: Callable[..., Text] | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Decorate an `async def` function so that what it returns is kept in a cache.

        @cached(LocalCache(ttl=60))
        async def user_of(context: Context, token: str) -> str: ...

    The key is the one argument besides contexts, text or bytes, or what `key` makes of all the arguments. Callers in
    this VM that ask for one key at the same time share one call: the others wait for the first one. An exception is
    raised in all of them, and not kept. If the first caller's stream ends, another one calls again.

    A cache is for one function; its `set` and `delete` change what is kept. Raises TypeError for a function that is not
    async, ValueError for a second one.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        _claim(cache, function)
        key_of = key or _only_argument
        calls: dict[bytes, Future[R]] = {}

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            name = _slots.as_bytes(key_of(*args, **kwargs))
            while True:
                value = cache.get(name, _MISSING)
                if value is _MISSING and name in calls:
                    value = await calls[name]
                elif value is _MISSING:
                    value = await _first(function(*args, **kwargs), cache, name, calls)
                if value is not _GIVEN_UP:
                    return value  # type: ignore[no-any-return]

        return call

    return decorate


async def _first(
    coroutine: Coroutine[Any, Any, R], cache: Cache | LocalCache, name: bytes, calls: dict[bytes, Future[R]]
) -> R:
    """What the first caller does for all that ask for the same meanwhile."""
    future: Future[R] = Future()
    calls[name] = future
    try:
        value: R = cache._as_returned(await coroutine)  # noqa: SLF001  # of this module
        cache.set(name, value)
    except Exception as error:
        del calls[name]
        future.set_exception(error)
        raise
    except BaseException:
        del calls[name]
        future.set_result(_GIVEN_UP)
        raise
    del calls[name]
    future.set_result(value)
    return value


def _claim(cache: Cache | LocalCache, function: Any) -> None:
    code = getattr(function, "__code__", None)
    if code is None or not code.co_flags & _COROUTINE:
        raise TypeError(f"@cached is for `async def` functions; others use the cache's get and set: {function!r}")
    if cache._function is not None:  # noqa: SLF001
        raise ValueError(f"{cache!r} is that of {cache._function} already, whose values {function!r} would get")  # noqa: SLF001
    cache._function = function.__qualname__  # noqa: SLF001


_COROUTINE = 0x80  # CO_COROUTINE


def _only_argument(*args: object, **kwargs: object) -> Text:
    found = [argument for argument in (*args, *kwargs.values()) if not isinstance(argument, Context)]
    if len(found) != 1 or not isinstance(found[0], str | bytes):
        raise TypeError("a function that is @cached has one argument besides contexts, str or bytes, or else a key=…")
    return found[0]
