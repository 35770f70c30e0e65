"""Timers of a plugin: any number of them over the one tick that the ABI has.

The proxy ticks while there is something to wait for, and the period is always the time until the next of them. What
the user asks for with `set_tick_period_milliseconds` is one of them, whose function is `on_tick`. A plugin that has no
timers has none of this: its ticks go straight to `on_tick`.
"""

from __future__ import annotations

import time
from heapq import heapify, heappop, heappush

from . import _abi, _errors
from ._state import EffectiveContext, is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MILLISECOND = 1_000_000  # nanoseconds
LONGEST = 0x7FFFFFFF // 1000  # seconds; what a proxy's timer takes
_MANY = 64
"""How many cancelled timers may wait for their time to come before they are swept out."""


class Timer:
    """A function that is called once, some time from now, in proxy_on_tick with `owner` as the effective context."""

    __slots__ = ("_timers", "at", "function", "number", "owner")

    def __init__(self, timers: Timers, at: int, number: int, function: Callable[[], object], owner: Any) -> None:
        self._timers = timers
        self.at = at
        self.number = number
        self.function: Callable[[], object] | None = function
        self.owner: Any = owner

    def cancel(self) -> None:
        """Do not call the function any more. Does nothing if it was called already."""
        if self.function is not None:
            self.function = self.owner = None
            self._timers.forget_one()

    def __lt__(self, other: Timer) -> bool:
        """Which of two comes first; of those for the same moment, the one that was made first."""
        return (self.at, self.number) < (other.at, other.number)


def timers_of(context: Any) -> Timers:
    """The timers of a plugin, or of a stream's plugin."""
    plugin = getattr(context, "plugin", context)
    timers: Timers | None = plugin._abi_timers  # see `contexts.PluginContext`
    if timers is None:
        timers = plugin._abi_timers = Timers(plugin)
    return timers


class Timers:
    """The timers of one plugin in one VM."""

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin
        self._heap: list[Timer] = []
        self._cancelled = 0
        self._number = 0
        self._armed: int | None = None
        """When the tick is due that the proxy was last told of; None if it has come, or there is none."""
        self._period: int = plugin._abi_tick_period
        """In milliseconds, what the proxy was told."""
        self._running = False
        self._user: Timer | None = None
        plugin._on_tick = self._on_tick  # in place of the class's method, which goes straight to `on_tick`
        self.follow_user_period()

    def call_later(self, seconds: float, function: Callable[[], object], owner: Any = None) -> Timer:
        """Call a function in so many seconds, or as soon as possible after that; a proxy counts in milliseconds.

        It is not called if `owner`, by default the plugin, is gone by then. Raises ValueError for a negative number.
        """
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"a time to wait is 0 to {LONGEST} seconds, not {seconds!r}")
        return self._add(time.monotonic_ns() + int(seconds * 1_000_000_000), function, owner or self._plugin)

    def _add(self, at: int, function: Callable[[], object], owner: Any) -> Timer:
        self._number += 1
        timer = Timer(self, at, self._number, function, owner)
        heappush(self._heap, timer)
        if not self._running and self._heap[0] is timer:
            self._arm()
        return timer

    def forget_one(self) -> None:
        """A timer was cancelled: its place is freed when its time comes, or when there are many like it."""
        self._cancelled += 1
        if self._cancelled > max(_MANY, len(self._heap) // 2):
            self._heap = [timer for timer in self._heap if timer.function is not None]
            heapify(self._heap)
            self._cancelled = 0

    def follow_user_period(self) -> None:
        """The user has changed the period of `on_tick`."""
        if self._user is not None:
            self._user.cancel()
            self._user = None
        if self._plugin._abi_tick_period:
            self._schedule_user(time.monotonic_ns())
        elif not self._running:
            self._arm()

    def _schedule_user(self, now: int) -> None:
        self._user = self._add(now + self._plugin._abi_tick_period * _MILLISECOND, self._user_tick, self._plugin)

    def _user_tick(self) -> object:
        self._schedule_user(time.monotonic_ns())
        return self._plugin._run_on_tick()

    def _on_tick(self) -> None:
        """proxy_on_tick: call what is due. What that adds for this very moment has its turn in the next tick."""
        self._running, self._armed = True, None
        due = time.monotonic_ns()
        last = self._number
        later = []
        try:
            while self._heap and self._heap[0].at <= due:
                timer = heappop(self._heap)
                if timer.number > last:
                    later.append(timer)
                else:
                    self._fire(timer)
        finally:
            self._running = False
            for timer in later:
                heappush(self._heap, timer)
            self._arm()

    def _fire(self, timer: Timer) -> None:
        function = timer.function
        owner: Any = timer.owner
        if function is None:
            self._cancelled -= 1
            return
        timer.function = timer.owner = None
        if not is_alive(owner):
            return
        with EffectiveContext(owner.context_id):
            try:
                function()
            except BaseException as exception:  # the other timers must have their turn
                _errors.report(owner, "on_tick" if function == self._user_tick else "a timer", exception)

    def _arm(self) -> None:
        """Make the proxy tick when the next timer is due. Its ticks repeat, so it is told of the end of them too."""
        while self._heap and self._heap[0].function is None:
            heappop(self._heap)
            self._cancelled -= 1
        if not self._heap:
            self._armed = None
            if self._period:
                self._set_period(0)
        elif self._heap[0].at != self._armed:
            self._armed = self._heap[0].at
            self._set_period(max(1, -(-(self._armed - time.monotonic_ns()) // _MILLISECOND)))

    def _set_period(self, milliseconds: int) -> None:
        self._period = milliseconds
        with EffectiveContext(self._plugin.context_id):
            _abi.host.set_tick_period_milliseconds(milliseconds)
