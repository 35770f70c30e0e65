"""Metrics: counters, gauges and histograms of the proxy, the same for all its workers.

They may be made anywhere, also at import time; the proxy hears of one at its first use in each VM. Envoy shows a
metric as `wasmcustom.<name>` and never forgets one: a tag whose values a client chooses fills its memory.
"""

from __future__ import annotations

import time
from functools import wraps

from . import _abi
from .types import MetricType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    M = TypeVar("M", bound="_Metric")


def define_metric(metric_type: MetricType, name: str) -> int:
    """Define a metric (`proxy_define_metric`). Returns its id, a new one each time, for the same metric of a name."""
    return _abi.host.define_metric(metric_type, name)


def increment_metric(metric_id: int, offset: int) -> None:
    """Add to a metric (`proxy_increment_metric`); to a counter more than 0. BadArgument for a histogram."""
    _abi.host.increment_metric(metric_id, offset)


def record_metric(metric_id: int, value: int) -> None:
    """Set a gauge, or give a histogram a value of 0 or more (`proxy_record_metric`). Envoy adds it to a counter."""
    _abi.host.record_metric(metric_id, value)


def get_metric(metric_id: int) -> int:
    """The value of a counter or gauge, over all workers (`proxy_get_metric`). BadArgument for a histogram."""
    return _abi.host.get_metric(metric_id)


class _Metric:
    """A metric by its name, and the same with tags.

    A tag becomes a part `_key=value` of the name, in the order given. Envoy makes a tag of it again where its
    configuration says so, under `stats_config.stats_tags`: `{tag_name: key, regex: "(_key=([a-zA-Z0-9.]+))"}`.
    """

    _type: ClassVar[MetricType]

    def __init__(self, name: str, /, **tags: object) -> None:
        self.name: str = name + _suffix(tags)
        self._id: int | None = None
        self._tagged: dict[str, _Metric] = {}

    def tagged(self, /, **tags: object) -> Self:
        """The metric with further tags; the same object each time."""
        suffix = _suffix(tags)
        metric = self._tagged.get(suffix)
        if metric is None:
            metric = self._tagged[suffix] = type(self)(self.name + suffix)
        return metric  # type: ignore[return-value]  # it was made by type(self)

    def define(self) -> int:
        """Let the proxy know it, if it does not yet (`proxy_define_metric`). Returns its id in this VM."""
        if self._id is None:
            self._id = define_metric(self._type, self.name)
        return self._id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _suffix(tags: dict[str, object]) -> str:
    """Tags as part of a name. A value cannot pretend to be another tag."""
    return "".join(f"_{key}={str(value).replace('=', '.')}" for key, value in tags.items())


def _unsigned(value: int) -> int:
    if value < 0:
        raise ValueError(f"a value is 0 or more, not {value}")
    return value


class Counter(_Metric):
    """A number that grows."""

    _type = MetricType.COUNTER

    def increment(self, offset: int = 1) -> None:
        """Add 1 or more (`proxy_increment_metric`). Raises ValueError for less."""
        if offset < 1:
            raise ValueError(f"a counter grows by 1 or more, not by {offset}")
        increment_metric(self.define(), offset)

    @property
    def value(self) -> int:
        """The sum of all workers (`proxy_get_metric`)."""
        return get_metric(self.define())


class Gauge(_Metric):
    """A number that goes up and down."""

    _type = MetricType.GAUGE

    def add(self, offset: int) -> None:
        """Add a number, which may be negative (`proxy_increment_metric`)."""
        increment_metric(self.define(), offset)

    def record(self, value: int) -> None:
        """Set it to 0 or more, for all workers (`proxy_record_metric`). Raises ValueError for less."""
        record_metric(self.define(), _unsigned(value))

    @property
    def value(self) -> int:
        """The value now (`proxy_get_metric`)."""
        return get_metric(self.define())


class Histogram(_Metric):
    """A distribution of numbers, such as durations in milliseconds. Its values cannot be read back."""

    _type = MetricType.HISTOGRAM

    def record(self, value: int) -> None:
        """Give it a value of 0 or more (`proxy_record_metric`). Raises ValueError for less."""
        record_metric(self.define(), _unsigned(value))

    def time(self) -> _Stopwatch:
        """Record how long something takes, in whole milliseconds, also if it raises (`proxy_record_metric`).

        Of a block, which may `await`, as in `with LATENCY.time(): …`, or of every call of a function, plain or async,
        that is decorated with `@LATENCY.time()`.
        """
        return _Stopwatch(self)


class _Stopwatch:
    """What `Histogram.time` gives."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._start = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._histogram.record((time.monotonic_ns() - self._start) // _MILLISECOND)

    def __call__(self, function: F) -> F:
        histogram = self._histogram
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with _Stopwatch(histogram):
                return function(*args, **kwargs)

        @wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with _Stopwatch(histogram):
                return await function(*args, **kwargs)

        return call_async if flags & _COROUTINE else call  # type: ignore[return-value]


_MILLISECOND = 1_000_000  # nanoseconds
_COROUTINE = 0x80  # CO_COROUTINE


_known: dict[tuple[type[_Metric], str], _Metric] = {}
"""What the functions below have made, by type and name."""


def counter(name: str, /, **tags: object) -> Counter:
    """The counter of this name, and of these tags; the same object each time in a VM. See `Counter`."""
    return _metric(Counter, name, tags)


def gauge(name: str, /, **tags: object) -> Gauge:
    """The gauge of this name, and of these tags; the same object each time in a VM. See `Gauge`."""
    return _metric(Gauge, name, tags)


def histogram(name: str, /, **tags: object) -> Histogram:
    """The histogram of this name, and of these tags; the same object each time in a VM. See `Histogram`."""
    return _metric(Histogram, name, tags)


def _metric(kind: type[M], name: str, tags: dict[str, object]) -> M:
    key = kind, name + _suffix(tags)
    metric = _known.get(key)
    if metric is None:
        metric = _known[key] = kind(key[1])
    return metric  # type: ignore[return-value]  # the key says its type
