"""Timers: any number of them over the one tick that a proxy has, and the user's own tick beside them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import HttpContext, PluginContext, _abi, _state, hostcalls, plugin
from pywasmfilter._timers import LONGEST, Timers, timers_of
from tests.sdk.conftest import MemoryHost, begin

START = 1_700_000_000_000_000_000


class Ticking:
    """The plugin 1, the clock, and the proxy's timer: it ticks again and again, as the plugin has asked it to."""

    def __init__(self, host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.now = START
        self.ticks = 0
        self.said: list[tuple[float, object]] = []
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now)

        @plugin("p")
        class Plugin(PluginContext):
            http_context = HttpContext
            on_tick = self.on_tick

        self.plugin = begin(None)
        host.running = 1, 1
        self._next = 0
        self._told = 0

    def on_tick(self) -> None:
        self.say("tick")

    def say(self, what: object) -> None:
        """Note something, with the seconds since the start."""
        self.said.append(((self.now - START) / 1e9, what))

    def saying(self, what: object) -> Callable[[], None]:
        return lambda: self.say(what)

    @property
    def periods(self) -> list[int]:
        """What the proxy was told, in milliseconds."""
        return [call[2] for call in self.host.calls if call[0] == "set_tick_period_milliseconds"]

    @property
    def timers(self) -> Timers:
        return timers_of(self.plugin)

    def _hear(self) -> None:
        """What the proxy was told since the last time begins a period."""
        if self._told < len(self.periods):
            self._told = len(self.periods)
            self._next = self.now + self.periods[-1] * 1_000_000 if self.periods[-1] else 0

    def advance(self, seconds: float) -> None:
        """Let time pass, with ticks in their turn."""
        end = self.now + round(seconds * 1e9)
        self._hear()
        while self._next and self._next <= end:
            self.now = self._next
            self.ticks += 1
            self._next += self.periods[-1] * 1_000_000
            self.plugin._on_tick()
            self._hear()
        self.now = end


@pytest.fixture
def ticking(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> Ticking:
    return Ticking(host, monkeypatch)


def test_one_timer(ticking: Ticking) -> None:
    """It is called once, and then the proxy ticks no more."""
    ticking.timers.call_later(1.5, ticking.saying("a"))
    ticking.advance(1.499)
    assert ticking.said == []
    ticking.advance(10)
    assert ticking.said == [(1.5, "a")]
    assert (ticking.periods, ticking.ticks) == ([1500, 0], 1)


def test_many_timers(ticking: Ticking) -> None:
    """Each is called in its turn, those of one moment in the order in which they were made, with a tick per moment."""
    chance = random.Random(1)
    wanted = [(chance.randrange(1, 500) / 1000, number) for number in range(2000)]
    for seconds, number in wanted:
        ticking.timers.call_later(seconds, ticking.saying(number))
    ticking.advance(1)
    assert ticking.said == sorted(wanted)
    assert ticking.ticks == len({seconds for seconds, _ in wanted})
    assert ticking.periods[-1] == 0


def test_an_earlier_one(ticking: Ticking) -> None:
    """A timer that is due before all others makes the proxy tick sooner; a later one changes nothing."""
    ticking.timers.call_later(5, ticking.saying("late"))
    ticking.timers.call_later(1, ticking.saying("early"))
    ticking.timers.call_later(3, ticking.saying("between"))
    assert ticking.periods == [5000, 1000]
    ticking.advance(5)
    assert ticking.said == [(1, "early"), (3, "between"), (5, "late")]


def test_fractions_of_a_millisecond(ticking: Ticking) -> None:
    """No timer is called too early, and the least is a tick of a millisecond."""
    ticking.timers.call_later(0, ticking.saying("at once"))
    ticking.timers.call_later(0.0015, ticking.saying("later"))
    ticking.advance(1)
    assert ticking.said == [(0.001, "at once"), (0.002, "later")]


def test_a_timer_that_makes_timers(ticking: Ticking) -> None:
    """What is added for the very moment has its turn in the next tick, so a tick always comes to its end."""

    def again() -> None:
        ticking.say("again")
        if len(ticking.said) < 5:
            ticking.timers.call_later(0, again)

    again()
    ticking.advance(1)
    assert ticking.said == [(moment / 1000, "again") for moment in range(5)]


def test_cancelling(ticking: Ticking) -> None:
    """What is cancelled is not called, be it by another one of the same moment; twice, or too late, is nothing."""
    victims: list[Any] = []
    ticking.timers.call_later(1, lambda: [victim.cancel() for victim in victims])
    victims += [ticking.timers.call_later(1, ticking.saying("never")) for _ in range(3)]
    first = ticking.timers.call_later(0.5, ticking.saying("never"))
    first.cancel()
    first.cancel()
    done = ticking.timers.call_later(2, ticking.saying("done"))
    ticking.advance(3)
    done.cancel()
    assert ticking.said == [(2, "done")]
    assert ticking.periods[-1] == 0


def test_many_that_are_cancelled(ticking: Ticking) -> None:
    """Cancelled timers of a far future do not pile up, and those that are left come in time."""
    timers = [ticking.timers.call_later(1000 + number, ticking.saying(number)) for number in range(10_000)]
    for timer in timers[1:]:
        timer.cancel()
    assert len(ticking.timers._heap) < 200
    ticking.advance(1001)
    assert ticking.said == [(1000, 0)]


def test_an_exception(ticking: Ticking) -> None:
    """It is logged, and the others have their turn."""
    ticking.timers.call_later(1, lambda: 1 / 0)
    ticking.timers.call_later(1, ticking.saying("on"))
    ticking.advance(1)
    assert ticking.said == [(1, "on")]
    (message,) = [str(text) for _, text in ticking.host.logged]
    assert message.startswith("p: uncaught exception in a timer\n")
    assert message.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), LONGEST + 1])
def test_times_that_are_none(ticking: Ticking, seconds: float) -> None:
    """They are refused, with what is allowed."""
    with pytest.raises(ValueError, match=f"a time to wait is 0 to {LONGEST} seconds, not"):
        ticking.timers.call_later(seconds, print)
    ticking.timers.call_later(LONGEST, print)
    assert ticking.periods == [LONGEST * 1000]


def test_the_owner(ticking: Ticking) -> None:
    """The owner is what calls act on; a timer whose owner is gone is not called."""
    stream = begin(2)
    gone = begin(3)
    ticking.timers.call_later(1, lambda: ticking.say(_abi.host.get_effective_context()), stream)
    ticking.timers.call_later(1, ticking.saying("never"), gone)
    ticking.timers.call_later(1, lambda: ticking.say(_abi.host.get_effective_context()))
    del _state.contexts[3]
    begin(3)  # ids are used again
    ticking.advance(1)
    assert ticking.said == [(1, 2), (1, 1)]


# The user's own tick


def test_a_plugin_without_timers(ticking: Ticking) -> None:
    """Its ticks go straight to `on_tick`."""
    hostcalls.set_tick_period_milliseconds(100)
    ticking.advance(0.35)
    assert ticking.said == [(0.1, "tick"), (0.2, "tick"), (0.3, "tick")]
    assert ticking.periods == [100]
    assert ticking.plugin._abi_timers is None


def test_the_users_tick_beside_timers(ticking: Ticking) -> None:
    """Both come at their times, whichever was there first."""
    ticking.timers.call_later(0.15, ticking.saying("a"))
    hostcalls.set_tick_period_milliseconds(100)
    ticking.timers.call_later(0.25, ticking.saying("b"))
    ticking.advance(0.35)
    assert ticking.said == [(0.1, "tick"), (0.15, "a"), (0.2, "tick"), (0.25, "b"), (0.3, "tick")]
    ticking.advance(0.1)
    assert ticking.said[-1] == (0.4, "tick")


def test_timers_beside_the_users_tick(ticking: Ticking) -> None:
    """A period that was set before the first timer goes on as it was."""
    hostcalls.set_tick_period_milliseconds(100)
    ticking.advance(0.1)
    ticking.timers.call_later(0.05, ticking.saying("a"))
    ticking.advance(0.2)
    assert ticking.said == [(0.1, "tick"), (0.15, "a"), (0.2, "tick"), (0.3, "tick")]


def test_another_period(ticking: Ticking) -> None:
    """It counts from now on, shorter or longer; 0 ends the ticks, and timers go on."""
    ticking.timers.call_later(10, ticking.saying("a"))
    hostcalls.set_tick_period_milliseconds(1000)
    ticking.advance(0.5)
    hostcalls.set_tick_period_milliseconds(100)
    ticking.advance(0.1)
    assert ticking.said == [(0.6, "tick")]
    hostcalls.set_tick_period_milliseconds(3000)
    ticking.advance(3)
    assert ticking.said[1:] == [(3.6, "tick")]
    hostcalls.set_tick_period_milliseconds(0)
    ticking.advance(10)
    assert ticking.said[2:] == [(10, "a")]
    assert ticking.periods[-1] == 0


def test_another_period_within_the_tick(ticking: Ticking) -> None:
    """A tick may change the period, or end it."""

    def on_tick() -> None:
        ticking.say("tick")
        hostcalls.set_tick_period_milliseconds(200 if len(ticking.said) < 3 else 0)

    ticking.plugin.on_tick = on_tick
    ticking.timers.call_later(5, ticking.saying("a"))
    hostcalls.set_tick_period_milliseconds(100)
    ticking.advance(6)
    assert ticking.said == [(0.1, "tick"), (0.3, "tick"), (0.5, "tick"), (5, "a")]


def test_a_tick_that_fails(ticking: Ticking) -> None:
    """It is logged as `on_tick`, and the next one comes."""
    ticking.plugin.on_tick = lambda: 1 / 0
    ticking.timers.call_later(5, ticking.saying("a"))
    hostcalls.set_tick_period_milliseconds(1000)
    ticking.advance(5)
    assert ticking.said == [(5, "a")]
    assert str(ticking.host.logged[0][1]).startswith("p: uncaught exception in on_tick\n")


def test_a_tick_that_comes_too_early(ticking: Ticking) -> None:
    """A proxy may tick a little before its time: nothing is called then, and it is asked again."""
    ticking.timers.call_later(1, ticking.saying("a"))
    ticking.advance(0.9)
    ticking.plugin._on_tick()
    assert ticking.said == []
    assert ticking.periods == [1000, 100]
    ticking.advance(0.1)
    assert ticking.said == [(1, "a")]


def test_a_tick_that_comes_late(ticking: Ticking) -> None:
    """All that was due meanwhile is called, in its order."""
    for seconds in (3, 1, 2):
        ticking.timers.call_later(seconds, ticking.saying(seconds))
    ticking.now += 10_000_000_000
    ticking.plugin._on_tick()
    assert [what for _, what in ticking.said] == [1, 2, 3]


def test_the_clock_is_monotonic(ticking: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the machine's date moves no timer."""
    monkeypatch.setattr(time, "time_ns", lambda: 1 / 0)
    monkeypatch.setattr(time, "time", lambda: 1 / 0)
    ticking.timers.call_later(1, ticking.saying("a"))
    ticking.advance(1)
    assert ticking.said == [(1, "a")]
