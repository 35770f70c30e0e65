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
├── CallError                    a call to another service came to nothing that could be returned
│   ├── CallFailed               an HTTP call without a response
│   └── GrpcError                a gRPC call or stream that ended with a status other than OK; `.status`, `.details`
├── BodyTooLarge                 a body is larger than the filter is ready to take; `.max_bytes`
├── ValueError
│   └── ConfigError              a configuration does not fit; `.problems`
└── RuntimeError
    └── MisuseError              a call that cannot work where it stands, whatever the host
BaseException
└── CancelledError               thrown into a coroutine that is not wanted any more
"""

from __future__ import annotations

from . import _abi
from .types import GrpcStatus, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class HostcallError(Exception):
    """The host refused a call. `function` is its ABI name, `status` the number it answered."""

    def __init__(self, function: str, status: int) -> None:
        name = Status(status).name if status in Status.__members__.values() else "unknown status"
        advice = _ADVICE.get(function, "") if status in (Status.NOT_FOUND, Status.BAD_ARGUMENT) else ""
        super().__init__(f"{function}: {name} ({status})" + (f"; {advice}" if advice else ""))
        self.function = function
        self.status = status


class NotFound(HostcallError):
    """NOT_FOUND: there is nothing under that name."""


class BadArgument(HostcallError):
    """BAD_ARGUMENT: an argument is wrong, or the thing it names is not available in this callback."""


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


class CallError(Exception):
    """A call to another service came to nothing that could be returned."""


class CallFailed(CallError):
    """An HTTP call ended without a response: its cluster has no host to ask, its connection broke off, or the response
    was too large for the proxy.
    """


class GrpcError(CallError):
    """A gRPC call or stream ended with a status other than OK: its number (`GrpcStatus`), and what is said of it."""

    def __init__(self, status: int, details: str) -> None:
        name = GrpcStatus(status).name if status in GrpcStatus.__members__.values() else "unknown status"
        super().__init__(f"{name} ({status})" + (f": {details}" if details else ""))
        self.status = status
        self.details = details


class BodyTooLarge(Exception):
    """A body has more than `max_bytes` bytes. If no one catches it, the client of a request gets a 413."""

    def __init__(self, what: str, max_bytes: int, size: int) -> None:
        super().__init__(f"the body of the {what} has {size} bytes or more, and the filter takes {max_bytes}")
        self.max_bytes = max_bytes


class ConfigError(ValueError):
    """A configuration does not fit the class that it is for.

    `problems` are pairs of a path (`rules[0].name`; "" for the whole) and what is wrong there. They are the first of
    `count`.
    """

    def __init__(self, problems: list[tuple[str, str]], count: int) -> None:
        lines = [f"{path}: {text}" if path else text for path, text in problems]
        if count > len(lines):
            lines.append(f"and {count - len(lines)} more")
        super().__init__(lines[0] if count == 1 else "\n  ".join([f"{count} problems", *lines]))
        self.problems = problems
        self.count = count


class MisuseError(RuntimeError):
    """A call that cannot work where it stands, whatever the host."""


class CancelledError(BaseException):
    """Thrown into a coroutine that is not wanted any more, so that its `finally` blocks run.

    Its stream is over, its time is up (`timeout`), or somebody called `Task.cancel`. As asyncio's it is no Exception:
    an `except Exception` lets it through.
    """


_READING = (
    "headers and trailers can be read in their own callback, while the stream is paused from it, and in "
    "on_http_stream_done; those of a call in the call's own callback"
)
_CHANGING = (
    "headers and trailers can be changed in their own callback and while the stream is paused from it, and not after a "
    "body was awaited unless the proxy holds headers back (allow_on_headers_stop_iteration): see "
    "PluginContext.holds_headers, and body(hold_headers=True)"
)
_SHARED_QUEUE = "no queue has this id; register_shared_queue and resolve_shared_queue give ids"
_ADVICE = {
    "proxy_get_header_map_value": _READING,
    "proxy_get_header_map_size": _READING,
    "proxy_set_header_map_pairs": _CHANGING,
    "proxy_add_header_map_value": _CHANGING,
    "proxy_replace_header_map_value": _CHANGING,
    "proxy_remove_header_map_value": _CHANGING,
    "proxy_get_buffer_bytes": (
        "a plugin's configuration can be read in on_plugin_start only (plugin_configuration keeps it); the body of a "
        "call's response, if there is one, and the arguments of a foreign function in their own callbacks"
    ),
    "proxy_set_buffer_bytes": ("a body can be changed in its own callback and while the stream is paused from it"),
    "proxy_set_property": "properties can be set in callbacks of a stream, unless they are declared read-only",
    "proxy_set_effective_context": "there is no context with this id any more",
    "proxy_done": "it ends a plugin whose on_plugin_done returned False",
    "proxy_http_call": "does the proxy know the cluster, and are :method, :path and :authority among the headers?",
    "proxy_grpc_call": "the cluster must be one that the proxy knows",
    "proxy_grpc_stream": "the cluster must be one that the proxy knows",
    "proxy_grpc_send": "no gRPC stream with this token is open",
    "proxy_grpc_close": "no gRPC call or stream with this token is open",
    "proxy_grpc_cancel": "no gRPC call or stream with this token is open",
    "proxy_resolve_shared_queue": "no VM with this vm_id has registered a queue of this name yet",
    "proxy_enqueue_shared_queue": _SHARED_QUEUE,
    "proxy_dequeue_shared_queue": _SHARED_QUEUE,
    "proxy_increment_metric": "counters and gauges can be incremented, histograms take values with record_metric",
    "proxy_get_metric": "counters and gauges can be read, histograms cannot",
    "proxy_call_foreign_function": "does the proxy have a function of this name, and are these its arguments?",
}
"""Host function → when it works, for the statuses with which hosts say that it does not."""

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
