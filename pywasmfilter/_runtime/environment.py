"""What a filter finds where a program finds an operating system.

`install` runs while the runtime image is built. `prepare_vm` runs in every VM before the user's code, because a VM
begins as a copy of the build's memory: its random numbers and its environment must be its own.
"""

from __future__ import annotations

import io
import os
import sys
import time
import warnings

from .. import _abi
from ..exceptions import MisuseError
from . import importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, NoReturn


class LogStream(io.TextIOBase):
    """A text stream that writes to the proxy's log, a record per line; during a build, to the build's output."""

    encoding = "utf-8"
    errors = "surrogateescape"

    def __init__(self, level: int, name: str) -> None:
        self.name = name
        self.mode = "w"
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        """Log every line that is complete now."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes str, not {type(text).__name__}")
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        """Log the incomplete line, if there is one."""
        if self._line:
            line, self._line = self._line, ""
            self._log(line)

    def writable(self) -> bool:
        """Always."""
        return True

    def _log(self, line: str) -> None:
        if _abi.building:
            _abi.host.call_foreign_function("pyfilter.output", line)
        else:
            _abi.host.log(self._level, line)


_TIMER_ADVICE = (
    "a filter must not wait: it would stop its whole worker. Use hostcalls.set_tick_period_milliseconds and on_tick"
)


def _no_sleep(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(f"sleep is not available: {_TIMER_ADVICE}")


def _no_exit(*_: object) -> NoReturn:
    raise RuntimeError("a filter cannot end its proxy")


def _urandom(size: int, _host: Any = os.urandom) -> bytes:
    """os.urandom: random bytes from the proxy. Not while the module is built, when they would be frozen into it."""
    if _abi.building:
        raise MisuseError(
            "random bytes were asked for while the module is being built: they would be the same in every worker and "
            "known to everyone who has the module. Draw them in a callback such as on_plugin_start"
        )
    return _host(size)  # type: ignore[no-any-return]


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    text = f"{filename}:{lineno}: {category.__name__}: {message}"
    if _abi.building:
        _abi.host.call_foreign_function("pyfilter.output", text)
    else:
        _abi.host.log(3, text)


def install() -> None:
    """Replace what would reach for an operating system."""
    sys.stdout = sys.__stdout__ = LogStream(2, "<stdout>")
    sys.stderr = sys.__stderr__ = LogStream(4, "<stderr>")
    sys.stdin = sys.__stdin__ = None
    warnings.showwarning = _show_warning
    time.sleep = _no_sleep
    os._exit = os.abort = _no_exit
    os.urandom = _urandom
    os.environ.clear()
    importer.after_import.update(asyncio=_after_asyncio, logging=_after_logging, random=_after_random)


def _after_asyncio(module: ModuleType) -> None:
    module.sleep = module.tasks.sleep = _no_sleep


def _after_logging(module: ModuleType) -> None:
    from .logging import install as install_handler  # noqa: PLC0415  # it needs what was imported just now

    install_handler(module)


_unseeded: list[Any] = []
"""Random generators that took their seed from the build's host: `random`'s own and those made without a seed."""


def _after_random(module: ModuleType) -> None:
    """Watch generators being made during the build, until `stop_watching`."""
    original = module.Random.seed
    _unseeded.append(module._inst)

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if any(generator is self for generator in _unseeded[1:]):
            _unseeded.remove(self)
        if a is None and not isinstance(self, module.SystemRandom):
            _unseeded.append(self)
        original(self, a, version)

    module.Random.seed = seed
    _watched.append((module.Random, original))


_watched: list[tuple[Any, Any]] = []


def stop_watching() -> None:
    """The build is over."""
    for cls, original in _watched:
        cls.seed = original
    _watched.clear()


def prepare_vm() -> None:
    """Give this VM its own random numbers and its own environment."""
    for generator in _unseeded:
        generator.seed()
    os.environ.clear()
    for entry in _abi.host.environ():
        name, _, value = entry.decode("utf-8", "surrogateescape").partition("=")
        os.environ[name] = value
