"""Write Proxy-Wasm filters for Envoy and Istio as Python classes.

    from pywasmfilter import HttpContext, http_filter

    @http_filter("add-header")
    class AddHeader(HttpContext):
        def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
            self.response.headers["x-hello"] = "world"

`contexts` says which callbacks there are and in which order they come, `hostcalls` what a filter can ask of its proxy.
"""

from . import hostcalls, log
from .contexts import HttpContext, PluginContext, VMContext
from .decorators import http_filter, plugin, vm
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
from .types import Action, BufferType, LogLevel, MapType, Status, StreamType

__all__ = [
    "Action",
    "BadArgument",
    "BufferType",
    "CasMismatch",
    "Empty",
    "HeaderMap",
    "HostcallError",
    "HttpContext",
    "InternalFailure",
    "InvalidMemoryAccess",
    "LogLevel",
    "MapType",
    "MisuseError",
    "NotFound",
    "ParseFailure",
    "PluginContext",
    "Request",
    "Response",
    "SerializationFailure",
    "Status",
    "StreamType",
    "Unimplemented",
    "VMContext",
    "hostcalls",
    "http_filter",
    "log",
    "plugin",
    "vm",
]
