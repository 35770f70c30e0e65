"""What a filter finds around it in a module, put in place while a callback runs under a plain Python.

The clock is the host's, there is no sleeping, the proxy's environment is in `os.environ`, and `print`, `sys.stderr`,
`logging` and `warnings` reach the proxy's log. What is written to the standard streams goes on to where it would, so
that a debugger can be used.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pywasmfilter.types import LogLevel

if TYPE_CHECKING:
    from .vm import VM

_NANOSECONDS: Final = 1_000_000_000


class Surroundings:
    """The surroundings of one VM."""

    def __init__(self, vm: VM) -> None:
        clock = vm.proxy.clock
        self._vm = vm
        self._handler = _Handler(vm)
        self._streams = _LogStream(vm, LogLevel.INFO), _LogStream(vm, LogLevel.ERROR)
        self._environment = dict(entry.decode().split("=", 1) for entry in vm.environment)
        self._replaced: list[tuple[Any, str, Any]] = []
        self._members: list[tuple[Any, str, Any]] = [
            (time, "time", lambda: clock.nanoseconds / _NANOSECONDS),
            (time, "time_ns", lambda: clock.nanoseconds),
            (time, "monotonic", lambda: clock.nanoseconds / _NANOSECONDS),
            (time, "monotonic_ns", lambda: clock.nanoseconds),
            (time, "sleep", _no_sleep),
            (warnings, "showwarning", self._show_warning),
        ]
        self._depth = 0

    def enter(self) -> None:
        """Put them in place."""
        self._depth += 1
        if self._depth > 1:
            return
        self._replaced = [(owner, name, getattr(owner, name)) for owner, name, _ in self._members]
        self._replaced += [(sys, "stdout", sys.stdout), (sys, "stderr", sys.stderr)]
        for owner, name, value in self._members:
            setattr(owner, name, value)
        for stream, name in zip(self._streams, ("stdout", "stderr"), strict=True):
            stream.target = getattr(sys, name)
            setattr(sys, name, stream)
        logging.root.addHandler(self._handler)
        self._level = logging.root.level
        logging.root.setLevel(1)
        self._hidden = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)

    def leave(self) -> None:
        """Put back what was there."""
        self._depth -= 1
        if self._depth:
            return
        for name, value in self._hidden.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        logging.root.setLevel(self._level)
        logging.root.removeHandler(self._handler)
        for owner, name, value in self._replaced:
            setattr(owner, name, value)

    def _show_warning(self, message: Any, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        _log(self._vm, LogLevel.WARN, f"{filename}:{lineno}: {category.__name__}: {message}")


class _LogStream(io.TextIOBase):
    """A stream whose lines reach the log as well."""

    def __init__(self, vm: VM, level: LogLevel) -> None:
        self.target: Any = None
        self._vm = vm
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        self.target.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _log(self._vm, self._level, line)
        return len(text)

    def flush(self) -> None:
        self.target.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self.target.isatty())

    def fileno(self) -> int:
        return int(self.target.fileno())


class _Handler(logging.Handler):
    """Writes records to the proxy's log, with their levels."""

    def __init__(self, vm: VM) -> None:
        super().__init__()
        self._vm = vm
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        _log(self._vm, LogLevel(max(0, min(record.levelno // 10, 5))), self.format(record))


def _log(vm: VM, level: LogLevel, text: str) -> None:
    vm.answer("proxy_log", (int(level), text.encode("utf-8", "backslashreplace")))


def _no_sleep(*_: object) -> NoReturn:
    raise RuntimeError("sleep is not available: a filter must not wait, it would stop its whole worker")
