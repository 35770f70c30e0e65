"""Write Proxy-Wasm filters for Envoy and Istio as Python classes.

    from pywasmfilter import HttpContext, http_filter

    @http_filter("add-header")
    class AddHeader(HttpContext):
        def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
            self.response.headers["x-hello"] = "world"

`contexts` says which callbacks there are and in which order they come, `hostcalls` what a filter can ask of its proxy.
"""

from . import foreign_functions, hostcalls, log, properties
from .buffers import Buffer
from .callouts import GrpcReply, GrpcStream
from .contexts import Context, HttpContext, PluginContext, TcpContext, VMContext
from .decorators import http_filter, plugin, tcp_filter, vm
from .exceptions import (
    BadArgument,
    CasMismatch,
    Empty,
    HostcallError,
    InternalFailure,
    InvalidMemoryAccess,
    MisuseError,
    NotFound,
    ParseFailure,
    SerializationFailure,
    Unimplemented,
)
from .headers import HeaderMap, Request, Response
from .metrics import Counter, Gauge, Histogram
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

__all__ = [
    "Action",
    "BadArgument",
    "Buffer",
    "BufferType",
    "CasMismatch",
    "Context",
    "Counter",
    "Empty",
    "Gauge",
    "GrpcReply",
    "GrpcStatus",
    "GrpcStream",
    "HeaderMap",
    "Histogram",
    "HostcallError",
    "HttpContext",
    "InternalFailure",
    "InvalidMemoryAccess",
    "LogLevel",
    "MapType",
    "MetricType",
    "MisuseError",
    "NotFound",
    "ParseFailure",
    "PeerType",
    "PluginContext",
    "Property",
    "Request",
    "Response",
    "SerializationFailure",
    "Status",
    "StreamType",
    "TcpContext",
    "Unimplemented",
    "VMContext",
    "foreign_functions",
    "hostcalls",
    "http_filter",
    "log",
    "plugin",
    "properties",
    "tcp_filter",
    "vm",
]
