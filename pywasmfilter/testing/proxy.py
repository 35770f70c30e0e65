"""What the VMs of one proxy share: log, clock, shared data and queues, metrics, foreign functions, other services."""

from __future__ import annotations

import heapq
import time
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from pywasmfilter.types import LogLevel, MetricType, Status

from .abi import HostError
from .calls import Clusters
from .trace import Trace

if TYPE_CHECKING:
    from .plugin import Plugin

_NANOSECONDS = 1_000_000_000
_MOST_SECONDS = 1e9


class LogLine(NamedTuple):
    """What a filter logged."""

    level: LogLevel
    message: str

    def __str__(self) -> str:
        return f"[{self.level.name.lower()}] {self.message}"


@dataclass
class Metric:
    """A counter or gauge has a value, a histogram what was recorded."""

    kind: MetricType
    value: int = 0
    recorded: list[int] = field(default_factory=list)


@dataclass
class SharedQueue:
    """A queue that a plugin registered, known by a VM's id and its name; the last one to register it listens."""

    key: tuple[str, str]
    items: deque[bytes] = field(default_factory=deque)
    listener: weakref.ref[Plugin] | None = None

    def notify(self, queue_id: int) -> None:
        """Tell the plugin of one item."""
        if self.listener is not None and (plugin := self.listener()) is not None:
            plugin.callback("proxy_on_queue_ready", queue_id)


class Clock:
    """A clock that stands still until a test moves it, and what is to happen when it does.

    It begins with the time of the machine. `time.time()` and its kind show it to filters, in both bodies.
    """

    def __init__(self) -> None:
        self.nanoseconds = time.time_ns()
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = count()
        self._cancelled: set[int] = set()

    def call_later(self, seconds: float, action: Callable[[], object]) -> int:
        """Do something when so many seconds have passed; the number is for `cancel`."""
        number = next(self._numbers)
        heapq.heappush(self._due, (self.nanoseconds + round(seconds * _NANOSECONDS), number, action))
        return number

    def cancel(self, number: int) -> None:
        """Do it no more."""
        self._cancelled.add(number)

    def next_due(self, until: int) -> Callable[[], object] | None:
        """What is due first, not after `until` in nanoseconds; the clock then shows when."""
        while self._due and self._due[0][0] <= until:
            due, number, action = heapq.heappop(self._due)
            if number not in self._cancelled:
                self.nanoseconds = max(self.nanoseconds, due)
                return action
            self._cancelled.discard(number)
        return None

    def until(self, seconds: float) -> int:
        """The nanoseconds at which so many seconds have passed."""
        return self.nanoseconds + round(seconds * _NANOSECONDS)


class Proxy:
    """The public attributes are state that a test may read, and set before it matters."""

    def __init__(self) -> None:
        self.log: list[LogLine] = []
        """What filters logged, in order."""
        self.log_level = LogLevel.TRACE
        """What `hostcalls.get_log_level` answers."""
        self.clock = Clock()
        self.metrics: dict[str, Metric] = {}
        """Metrics by name."""
        self.queues: dict[int, SharedQueue] = {}
        self.foreign_functions: dict[str, Callable[[bytes], bytes]] = {
            "compress": zlib.compress,
            "uncompress": _uncompress,
            "clear_route_cache": self._clear_route_cache,
        }
        """Foreign functions by name. Envoy's that need nothing of Envoy are there; a test adds what else it needs."""
        self.route_cache_clears = 0
        """How often filters asked for another choice of the route."""
        self.clusters = Clusters(self)
        """Other services that filters can call, and the calls that wait for an answer."""
        self.trace = Trace()
        """Every callback, with the host calls made in it."""
        self.failures: Counter[tuple[str, Status]] = Counter()
        self._shared_data: dict[str, dict[bytes, tuple[bytes, int]]] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._numbers = count(1)
        self._busy = False

    def shared(self, vm_id: str) -> dict[bytes, tuple[bytes, int]]:
        """The shared data of the VMs with an id: key → (value, cas)."""
        return self._shared_data.setdefault(vm_id, {})

    def fail(self, function: str, status: Status = Status.INTERNAL_FAILURE, *, times: int = 1) -> None:
        """Let the next calls of a host function fail, named with or without its `proxy_`, whatever they ask."""
        self.failures[f"proxy_{function.removeprefix('proxy_')}", status] += times

    def check_failure(self, function: str) -> None:
        """Raises HostError if this call of a host function is to fail."""
        for name, status in self.failures:
            if name == function and self.failures[name, status] > 0:
                self.failures[name, status] -= 1
                raise HostError(status)

    def number(self) -> int:
        """A number that nothing else has; ids and tokens are made of them."""
        return next(self._numbers)

    def post(self, action: Callable[[], object], *, first: bool = False) -> None:
        """Do something when no callback runs, after or before all that waits for that."""
        (self._posted.appendleft if first else self._posted.append)(action)

    def drain(self) -> None:
        """Do all that was put off. What comes up meanwhile is done too, in its turn."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._posted:
                self._posted.popleft()()
        finally:
            self._busy = False

    def advance(self, seconds: float) -> None:
        """Let time pass: ticks come, calls time out, delayed answers arrive, each at its time."""
        if not 0 <= seconds < _MOST_SECONDS:
            raise ValueError(f"time passes by 0 or more seconds, not by {seconds}")
        end = self.clock.until(seconds)
        while (action := self.clock.next_due(end)) is not None:
            action()
            self.drain()
        self.clock.nanoseconds = end

    def _clear_route_cache(self, _arguments: bytes) -> bytes:
        self.route_cache_clears += 1
        return b""


def _uncompress(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        raise HostError(Status.SERIALIZATION_FAILURE) from None
