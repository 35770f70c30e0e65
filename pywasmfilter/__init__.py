"""Write Proxy-Wasm filters for Envoy and Istio as Python classes.

    from pywasmfilter import HttpContext, http_filter

    @http_filter("add-header")
    class AddHeader(HttpContext):
        def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
            self.response.headers["x-hello"] = "world"

`contexts` says which callbacks there are and in which order they come, `hostcalls` what a filter can ask of its proxy.
"""

from __future__ import annotations

from . import foreign_functions, hostcalls, log, properties
from ._bodies import Chunk
from ._errors import Deny, on_error
from ._tasks import Future, Task, gather, sleep, timeout
from .buffers import Buffer
from .callouts import GrpcReply, GrpcStream
from .calls import GrpcMessages, HttpReply
from .contexts import Context, HttpContext, PluginContext, TcpContext, VMContext
from .decorators import http_filter, plugin, tcp_filter, vm
from .exceptions import (
    BadArgument,
    BodyTooLarge,
    CallError,
    CallFailed,
    CancelledError,
    CasMismatch,
    ConfigError,
    Empty,
    GrpcError,
    HostcallError,
    InternalFailure,
    InvalidMemoryAccess,
    MisuseError,
    NotFound,
    ParseFailure,
    SerializationFailure,
    Unimplemented,
)
from .headers import HeaderMap
from .messages import Request, Response
from .metrics import Counter, Gauge, Histogram, counter, gauge, histogram
from .properties import Property
from .types import (
    Action,
    BufferType,
    GrpcStatus,
    LogLevel,
    MapType,
    MetricType,
    PeerType,
    Status,
    StreamType,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import memory
    from .cache import Cache, LocalCache, cached
    from .rate_limit import SharedTokenBucket, TokenBucket
    from .rules import HeaderMatch, Match, Rule, Ruleset
    from .schedule import every, on_queue
    from .upstreams import UnknownCluster, Upstream, upstream

_LAZY: dict[str, str] = {
    "Cache": "cache",
    "HeaderMatch": "rules",
    "LocalCache": "cache",
    "Match": "rules",
    "Rule": "rules",
    "Ruleset": "rules",
    "SharedTokenBucket": "rate_limit",
    "TokenBucket": "rate_limit",
    "UnknownCluster": "upstreams",
    "Upstream": "upstreams",
    "cached": "cache",
    "every": "schedule",
    "memory": "memory",
    "on_queue": "schedule",
    "upstream": "upstreams",
}
"""What only some filters need → the module of this package that has it, which is imported when it is first asked for.

Each line has its twin above, under TYPE_CHECKING.
"""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only filters that come here carry it

    module = import_module(f".{_LAZY[name]}", __name__)
    return module if name == _LAZY[name] else getattr(module, name)


__all__ = [
    "Action",
    "BadArgument",
    "BodyTooLarge",
    "Buffer",
    "BufferType",
    "Cache",
    "CallError",
    "CallFailed",
    "CancelledError",
    "CasMismatch",
    "Chunk",
    "ConfigError",
    "Context",
    "Counter",
    "Deny",
    "Empty",
    "Future",
    "Gauge",
    "GrpcError",
    "GrpcMessages",
    "GrpcReply",
    "GrpcStatus",
    "GrpcStream",
    "HeaderMap",
    "HeaderMatch",
    "Histogram",
    "HostcallError",
    "HttpContext",
    "HttpReply",
    "InternalFailure",
    "InvalidMemoryAccess",
    "LocalCache",
    "LogLevel",
    "MapType",
    "Match",
    "MetricType",
    "MisuseError",
    "NotFound",
    "ParseFailure",
    "PeerType",
    "PluginContext",
    "Property",
    "Request",
    "Response",
    "Rule",
    "Ruleset",
    "SerializationFailure",
    "SharedTokenBucket",
    "Status",
    "StreamType",
    "Task",
    "TcpContext",
    "TokenBucket",
    "Unimplemented",
    "UnknownCluster",
    "Upstream",
    "VMContext",
    "cached",
    "counter",
    "every",
    "foreign_functions",
    "gather",
    "gauge",
    "histogram",
    "hostcalls",
    "http_filter",
    "log",
    "memory",
    "on_error",
    "on_queue",
    "plugin",
    "properties",
    "sleep",
    "tcp_filter",
    "timeout",
    "upstream",
    "vm",
]
