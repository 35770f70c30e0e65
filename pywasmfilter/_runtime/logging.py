"""The standard library's `logging`, sent to the proxy's log with its levels.

The root logger gets one handler, which replaces the last resort and makes `logging.basicConfig()` a no-op, and lets
every level through: it is the proxy's own level that decides, and loggers know it. So a line that the proxy would drop
is no record, and is never formatted, unless a handler of the filter's own may want it.

The modules of the standard library are parameters here, since `install` runs in the middle of their import. Under a
plain Python `testing.surroundings` puts the same things in place.
"""

from __future__ import annotations

from .. import _abi, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def install(logging: ModuleType) -> None:
    """Set up the root logger; runs right after the first import of `logging`."""
    handler = new_handler(logging, lambda text: _abi.host.call_foreign_function("pyfilter.output", text))
    logging.lastResort = handler  # type: ignore[attr-defined]  # the module is a parameter here
    logging.root.addHandler(handler)
    logging.root.setLevel(1)
    logging.Logger.isEnabledFor = knowing_the_proxy(logging)


def new_handler(logging: ModuleType, output: Callable[[str], object]) -> Any:
    """A handler that writes records to the proxy's log. While the module is built, `output` gets them."""

    class ProxyHandler(logging.Handler):  # type: ignore[name-defined,misc]  # as above
        """Writes records to the proxy's log."""

        follows_proxy = True

        def emit(self, record: logging.LogRecord) -> None:  # type: ignore[name-defined]
            level = abi_level(record.levelno)
            try:
                if _abi.building:
                    output(self.format(record))
                elif log.enabled(level):
                    _abi.host.log(level, self.format(record))
            except Exception:  # noqa: BLE001  # as logging's own handlers do
                self.handleError(record)

    handler = ProxyHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    return handler


def knowing_the_proxy(logging: ModuleType) -> Callable[[Any, int], bool]:
    """`Logger.isEnabledFor` that is False for what the proxy would drop, if there is no handler besides its own."""
    by_level = logging.Logger.isEnabledFor

    def is_enabled_for(self: Any, level: int) -> bool:
        """Whether a record of this level would reach the proxy's log, or a handler of the filter's own."""
        return by_level(self, level) and (_abi.building or log.enabled(abi_level(level)) or _has_others(self))

    def _has_others(logger: Any) -> bool:
        while logger is not None:
            for handler in logger.handlers:
                if not (isinstance(handler, logging.NullHandler) or hasattr(handler, "follows_proxy")):
                    return True
            logger = logger.parent if logger.propagate else None
        return False

    return is_enabled_for


def abi_level(level: int) -> int:
    """DEBUG 10 → debug 1, INFO 20 → info 2, … CRITICAL 50 → critical 5; below DEBUG → trace 0."""
    return max(0, min(level // 10, 5))
