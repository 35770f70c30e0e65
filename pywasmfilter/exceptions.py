"""Every exception the SDK raises.

Exception
├── HostcallError                a host call answered a status other than OK; `.status`, `.function`
│   ├── NotFound                 1
│   ├── BadArgument              2; also what most hosts answer for a call at the wrong time
│   ├── SerializationFailure     3
│   ├── ParseFailure             4
│   ├── InvalidMemoryAccess      6
│   ├── Empty                    7
│   ├── CasMismatch              8
│   ├── InternalFailure          10
│   └── Unimplemented            12
└── RuntimeError
    └── MisuseError              a call that cannot work where it stands, whatever the host
"""

from __future__ import annotations

from . import _abi
from .types import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class HostcallError(Exception):
    """The host refused a call. `function` is its ABI name, `status` the number it answered."""

    advice = ""

    def __init__(self, function: str, status: int) -> None:
        name = Status(status).name if status in Status.__members__.values() else "unknown status"
        super().__init__(f"{function}: {name} ({status})" + (f"; {self.advice}" if self.advice else ""))
        self.function = function
        self.status = status


class NotFound(HostcallError):
    """NOT_FOUND: there is nothing under that name."""


class BadArgument(HostcallError):
    """BAD_ARGUMENT: an argument is wrong, or the thing it names is not available in this callback."""

    advice = "is this the right callback for it? Headers are there in their own, and to be read in on_http_stream_done"


class SerializationFailure(HostcallError):
    """SERIALIZATION_FAILURE: the host cannot put the value into bytes."""


class ParseFailure(HostcallError):
    """PARSE_FAILURE: the host cannot read what it was given."""


class InvalidMemoryAccess(HostcallError):
    """INVALID_MEMORY_ACCESS: the module has no memory left for the answer."""


class Empty(HostcallError):
    """EMPTY: the queue holds nothing."""


class CasMismatch(HostcallError):
    """CAS_MISMATCH: somebody else changed the value in between; read it again and retry."""


class InternalFailure(HostcallError):
    """INTERNAL_FAILURE: the host failed, or the operator restricted the module's capabilities."""


class Unimplemented(HostcallError):
    """UNIMPLEMENTED: this host does not offer the function."""


class MisuseError(RuntimeError):
    """A call that cannot work where it stands, whatever the host."""


_BY_STATUS = {
    1: NotFound,
    2: BadArgument,
    3: SerializationFailure,
    4: ParseFailure,
    6: InvalidMemoryAccess,
    7: Empty,
    8: CasMismatch,
    10: InternalFailure,
    12: Unimplemented,
}


def raise_for_status(function: str, status: int) -> NoReturn:
    """Raise the exception for a status other than OK. The one place where statuses become exceptions."""
    if _abi.building:
        raise MisuseError(
            f"{function} was called while the module is being built: there is no proxy at import time. "
            "Call it from a callback such as on_plugin_start"
        )
    raise _BY_STATUS.get(status, HostcallError)(function, status)
