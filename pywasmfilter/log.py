"""Write to the proxy's log: one function per level of the ABI (`proxy_log`), allowed in every callback.

The proxy drops what is below its own level; `enabled` asks before an expensive message is put together. Python's
`print`, `warnings` and `logging` arrive in the same log.
"""

from __future__ import annotations

from . import _abi
from .exceptions import InternalFailure, Unimplemented
from .types import LogLevel


def trace(message: str | bytes) -> None:
    """Log at level trace."""
    _abi.host.log(0, message)


def debug(message: str | bytes) -> None:
    """Log at level debug."""
    _abi.host.log(1, message)


def info(message: str | bytes) -> None:
    """Log at level info."""
    _abi.host.log(2, message)


def warn(message: str | bytes) -> None:
    """Log at level warn."""
    _abi.host.log(3, message)


def error(message: str | bytes) -> None:
    """Log at level error."""
    _abi.host.log(4, message)


def critical(message: str | bytes) -> None:
    """Log at level critical."""
    _abi.host.log(5, message)


def enabled(level: LogLevel | int) -> bool:
    """Whether the proxy keeps messages of this level now (`proxy_get_log_level`).

    True where the proxy cannot say, as in ABI versions before 0.2.1.
    """
    try:
        return _abi.host.get_log_level() <= level
    except (InternalFailure, Unimplemented):  # an old host, or an operator who forbids to ask
        return True
