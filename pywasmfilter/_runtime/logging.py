"""The standard library's `logging`, sent to the proxy's log with its levels.

The root logger gets one handler, which replaces the last resort and makes `logging.basicConfig()` a no-op, and lets
every level through: it is the proxy's own level that decides, and it is asked before a record is formatted.
"""

from __future__ import annotations

from .. import _abi, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from types import ModuleType


def install(logging: ModuleType) -> None:
    """Set up the root logger; runs right after the first import of `logging`."""

    class ProxyHandler(logging.Handler):  # type: ignore[name-defined,misc]  # the module is a parameter here
        """Writes records to the proxy's log."""

        def emit(self, record: logging.LogRecord) -> None:  # type: ignore[name-defined]
            level = _abi_level(record.levelno)
            try:
                if _abi.building:
                    _abi.host.call_foreign_function("pyfilter.output", self.format(record))
                elif log.enabled(level):
                    _abi.host.log(level, self.format(record))
            except Exception:  # noqa: BLE001  # as logging's own handlers do
                self.handleError(record)

    handler = ProxyHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.lastResort = handler  # type: ignore[attr-defined]  # as above
    logging.root.addHandler(handler)
    logging.root.setLevel(1)


def _abi_level(level: int) -> int:
    """DEBUG 10 → debug 1, INFO 20 → info 2, … CRITICAL 50 → critical 5; below DEBUG → trace 0."""
    return max(0, min(level // 10, 5))
