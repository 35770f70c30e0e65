"""The clocks that a filter sees under a plain Python: those of its host while it runs, and the machine's otherwise.

`time` and `datetime` are patched with these only while a callback runs. What a filter or a package has kept of them, as
`from time import time` does, stays right: it asks each time whose clock counts. As in a module, local time is UTC.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from .proxy import Clock

_NANOSECONDS: Final = 1_000_000_000

running: list[Clock] = []
"""The clocks of the hosts whose filters run now, the innermost last."""


def _now(name: str, unit: int) -> Callable[[], Any]:
    """A function of `time` without arguments."""
    real = getattr(time, name)

    def now() -> Any:
        if not running:
            return real()
        nanoseconds = running[-1].nanoseconds
        return nanoseconds if unit == 1 else nanoseconds / unit

    return now


def _of_now(name: str) -> Callable[..., Any]:
    """A function of `time` that takes a number of seconds, or else those of now."""
    real, in_utc = getattr(time, name), {"localtime": time.gmtime}.get(name)

    def of(seconds: float | None = None) -> Any:
        if not running:
            return real(seconds)
        return (in_utc or real)(running[-1].nanoseconds / _NANOSECONDS if seconds is None else seconds)

    return of


def _with_format(format: str, t: Any = None) -> str:  # noqa: A002  # the name that `time.strftime` gives it
    if not running or t is not None:
        return _strftime(format) if t is None else _strftime(format, t)
    return _strftime(format, time.gmtime())


def _sleep(seconds: float) -> None:
    if running:
        _refuse_to_sleep()
    _real_sleep(seconds)


def _refuse_to_sleep() -> NoReturn:
    raise RuntimeError(
        "sleep is not available: a filter must not stop its worker. `await pywasmfilter.sleep(seconds)` waits in an "
        "`async def` callback"
    )


_strftime, _real_sleep = time.strftime, time.sleep
_Date: TypeAlias = dt.date
_Datetime: TypeAlias = dt.datetime


class _LikeTheReal(type):
    """Makes a class pass for the one it stands in for."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Datetime if issubclass(cls, _Datetime) else _Date)


class HostDatetime(_Datetime, metaclass=_LikeTheReal):
    """`datetime.datetime` by the running host's clock."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        """The time of now."""
        if not running:
            return _Datetime.now(tz)
        in_utc = _Datetime.fromtimestamp(running[-1].nanoseconds / _NANOSECONDS, dt.UTC)
        return in_utc.replace(tzinfo=None) if tz is None else in_utc.astimezone(tz)

    @classmethod
    def utcnow(cls) -> Any:
        """The time of now in UTC, without a time zone."""
        return cls.now(dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        """The time of now."""
        return cls.now()


class HostDate(_Date, metaclass=_LikeTheReal):
    """`datetime.date` by the running host's clock."""

    @classmethod
    def today(cls) -> Any:
        """The day of now."""
        return HostDatetime.now().date()


MEMBERS: Final[list[tuple[Any, str, Any]]] = [
    *((time, name, _now(name, _NANOSECONDS)) for name in ("time", "monotonic", "perf_counter")),
    *((time, name, _now(name, 1)) for name in ("time_ns", "monotonic_ns", "perf_counter_ns")),
    *((time, name, _of_now(name)) for name in ("gmtime", "localtime", "ctime")),
    (time, "strftime", _with_format),
    (time, "sleep", _sleep),
    (dt, "datetime", HostDatetime),
    (dt, "date", HostDate),
]
"""Module, name, and what stands there while a filter runs."""
