"""What a filter finds where a program finds an operating system.

`install` runs while the runtime image is built. `prepare_vm` runs in every VM before the user's code, because a VM
begins as a copy of the build's memory: its random numbers and its environment must be its own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import _thread
import faulthandler
import io
import os
import sys
import time
import warnings

from .. import _abi, _errors
from ..exceptions import MisuseError
from . import codecs, importer
from .logging import install as install_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, NoReturn


_LONGEST_LINE = 1 << 22


class LogStream(io.TextIOBase):
    """A text stream that writes to the proxy's log, a record per line; during a build, to the build's output."""

    encoding = "utf-8"
    errors = "backslashreplace"

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
        if len(self._line) > _LONGEST_LINE:
            self.flush()
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
    "a filter must not stop its worker. In an `async def` callback `await pywasmfilter.sleep(seconds)` waits; there "
    "are http_call, gather, timeout and create_task too, and on_tick"
)


def _no_sleep(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(f"sleep is not available: {_TIMER_ADVICE}")


def _no_loop(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(f"asyncio's event loop is not available: {_TIMER_ADVICE}")


def _no_exit(*_: object) -> NoReturn:
    raise RuntimeError("a filter cannot end its proxy")


class _Lock:
    """threading.Lock where there is one thread: who waits for another to release it would wait for ever."""

    def __init__(self) -> None:
        self._locked = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; raises RuntimeError instead of waiting for it."""
        if self._locked and blocking and timeout != 0:
            raise RuntimeError(f"a wait for what only another thread could do, and there is none; {_TIMER_ADVICE}")
        free, self._locked = not self._locked, True
        return free

    def release(self) -> None:
        """Give the lock back."""
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False

    def locked(self) -> bool:
        """Whether it is taken."""
        return self._locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _urandom(size: int, _host: Any = os.urandom) -> bytes:
    """os.urandom: random bytes from the proxy. Not while the module is built, when they would be frozen into it."""
    if _abi.building:
        raise MisuseError(
            "random bytes were asked for while the module is being built: they would be the same in every worker and "
            "known to everyone who has the module. Draw them in a callback such as on_plugin_start"
        )
    return _host(size)  # type: ignore[no-any-return]


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    text = f"{filename}:{lineno}: {category.__name__}: {message}"
    if _abi.building:
        _abi.host.call_foreign_function("pyfilter.output", text)
    else:
        _abi.host.log(3, text)


def _unraisable(unraisable: Any, _default: Any = sys.unraisablehook) -> None:
    (_default if _abi.building else _errors.report_unraisable)(unraisable)


def install() -> None:
    """Replace what would reach for an operating system."""
    _replace(
        sys,
        stdout=(out := LogStream(2, "<stdout>")),
        __stdout__=out,
        stderr=(err := LogStream(4, "<stderr>")),
        __stderr__=err,
        stdin=None,
        __stdin__=None,
        unraisablehook=_unraisable,
    )
    _replace(warnings, showwarning=_show_warning)
    _replace(time, sleep=_no_sleep)
    _replace(os, _exit=_no_exit, abort=_no_exit, urandom=_urandom)
    _replace(_thread, lock=_Lock, LockType=_Lock, allocate_lock=_Lock, allocate=_Lock)
    _replace(_signal, raise_signal=_no_exit)
    _replace(faulthandler, **dict.fromkeys(_CRASHES, _no_exit))
    os.environ.clear()
    codecs.install()
    importer.after_import.update(
        asyncio=_after_asyncio, logging=_after_logging, queue=_after_queue, random=_after_random
    )


_CRASHES = ("_fatal_error_c_thread", "_read_null", "_sigabrt", "_sigfpe", "_sigsegv")


def _replace(module: ModuleType, **members: object) -> None:
    for name, member in members.items():
        setattr(module, name, member)


def _after_asyncio(module: ModuleType) -> None:
    for place in (module, module.tasks):
        _replace(place, sleep=_no_sleep)
    for place in (module, module.events):
        _replace(place, new_event_loop=_no_loop)


def _after_queue(module: ModuleType) -> None:
    _replace(module, SimpleQueue=module._PySimpleQueue)  # noqa: SLF001  # its locks are the ones above


def _after_logging(module: ModuleType) -> None:
    install_handler(module)


_unseeded: list[Any] = []
"""Random generators that took their seed from the build's host: `random`'s own and those made without a seed."""


def _after_random(module: ModuleType) -> None:
    """Watch generators being made during the build, until `stop_watching`."""
    if not _abi.building:
        return
    original = module.Random.seed
    _unseeded.append(module._inst)  # noqa: SLF001  # it is behind `random.random` and the others

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
        if name:
            os.environ[name] = value
