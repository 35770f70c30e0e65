"""What a filter finds around it in a module, put in place while a callback runs under a plain Python.

The clock is the host's, there is no sleeping, `os.environ` is what the proxy gives, and `print`, `sys.stderr`,
`logging` and `warnings` reach the proxy's log. What is written to the standard streams goes on to where it would, so
that a debugger can be used. While the filter is imported the environment is empty and nothing is logged, as in a build.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pywasmfilter import _abi, _errors
from pywasmfilter._runtime.logging import knowing_the_proxy, new_handler
from pywasmfilter._tasks import ADVICE
from pywasmfilter.types import LogLevel

from . import filter_time

if TYPE_CHECKING:
    from .vm import VM


class Surroundings:
    """The surroundings of one VM."""

    def __init__(self, vm: VM) -> None:
        self._clock = vm.proxy.clock
        self._of_the_test = _OfTheTest()
        self._handlers = [new_handler(logging, lambda _text: None), self._of_the_test]
        self._streams = {"stdout": _LogStream(LogLevel.INFO), "stderr": _LogStream(LogLevel.ERROR)}
        self._environment = dict(entry.decode("utf-8", "surrogateescape").split("=", 1) for entry in vm.environment)
        self._replaced: list[tuple[Any, str, Any]] = []
        self._level = logging.NOTSET
        self._depth = 0

    def enter(self) -> None:
        """Put them in place."""
        self._depth += 1
        if self._depth > 1:
            return
        members = [
            *filter_time.MEMBERS,
            *_REFUSED,
            *_event_loops(),
            *((sys, name, stream) for name, stream in self._streams.items()),
            (sys, "unraisablehook", _unraisable),
            (warnings, "showwarning", _show_warning),
            (os, "environ", {} if _abi.building else self._environment),
            (logging.Logger, "isEnabledFor", _is_enabled_for),
            (logging.root, "handlers", self._handlers),
        ]
        self._of_the_test.handlers = logging.root.handlers
        for name, stream in self._streams.items():
            stream.target = getattr(sys, name)
        self._level = logging.root.level
        self._replaced = [(owner, name, getattr(owner, name)) for owner, name, _ in members]
        filter_time.running.append(self._clock)
        for owner, name, value in members:
            setattr(owner, name, value)
        logging.root.setLevel(1)

    def leave(self) -> None:
        """Put back what was there."""
        self._depth -= 1
        if self._depth:
            return
        logging.root.setLevel(self._level)
        for owner, name, value in self._replaced:
            setattr(owner, name, value)
        if self._replaced:
            filter_time.running.pop()
        self._replaced = []


class _LogStream(io.TextIOBase):
    """A stream whose lines reach the log as well."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, level: LogLevel) -> None:
        self.target: Any = None
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        self.target.write(text.encode("utf-8", "backslashreplace").decode())
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _log(self._level, line)
        return len(text)

    def flush(self) -> None:
        self.target.flush()
        if self._line:
            line, self._line = self._line, ""
            _log(self._level, line)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self.target.isatty())

    def fileno(self) -> int:
        return int(self.target.fileno())


class _OfTheTest(logging.Handler):
    """Lets the test's own handlers, such as pytest's, have the filter's records too."""

    follows_proxy = True  # whether a line is a record does not depend on it

    def __init__(self) -> None:
        super().__init__()
        self.handlers: list[logging.Handler] = []

    def emit(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


_is_enabled_for = knowing_the_proxy(logging)


def _show_warning(message: Any, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    _log(LogLevel.WARN, f"{filename}:{lineno}: {category.__name__}: {message}")


def _unraisable(unraisable: Any) -> None:
    (sys.__unraisablehook__ if _abi.building else _errors.report_unraisable)(unraisable)


def _log(level: LogLevel, text: str) -> None:
    if not _abi.building:
        _abi.host.log(level, text)


def _event_loops() -> list[tuple[Any, str, Any]]:
    """What makes them, if asyncio is there."""
    asyncio: Any = sys.modules.get("asyncio")
    return [] if asyncio is None else [(place, "new_event_loop", _no_loop) for place in (asyncio, asyncio.events)]


def _no_loop() -> NoReturn:
    raise RuntimeError(f"asyncio's event loop is not available: {ADVICE}")


def _no_exit(*_: object) -> NoReturn:
    raise RuntimeError("a filter cannot end its proxy")


_REFUSED: Final = [(os, "_exit", _no_exit), (os, "abort", _no_exit)]
