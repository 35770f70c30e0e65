"""Test filters without a proxy: a host that behaves as Envoy does, for a filter as plain Python and as a module.

    from pywasmfilter.testing import Host, Response

    def test_denies(host: Host) -> None:
        assert host.request("GET", "/", headers={"x-api-key": "no"}).status == 403

`host` is a fixture of the pytest plugin that comes with the package. docs/testing.md says more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import Clusters, GrpcCall, GrpcError, HttpCall
    from .host import BODIES, Body, Host, NewHost
    from .messages import Headers, LocalResponse, Message, Request, Response
    from .plugin import Plugin, Refused, Trapped
    from .properties import Properties
    from .proxy import LogLine, Metric
    from .recording import Diverged, NotARecording, replay
    from .streams import HttpStream, TcpStream, Unfinished
    from .trace import Callback, HostCall, Trace

__all__ = [
    "BODIES",
    "Body",
    "Callback",
    "Clusters",
    "Diverged",
    "GrpcCall",
    "GrpcError",
    "Headers",
    "Host",
    "HostCall",
    "HttpCall",
    "HttpStream",
    "LocalResponse",
    "LogLine",
    "Message",
    "Metric",
    "NewHost",
    "NotARecording",
    "Plugin",
    "Properties",
    "Refused",
    "Request",
    "Response",
    "TcpStream",
    "Trace",
    "Trapped",
    "Unfinished",
    "replay",
]

# Loaded when first asked for: pytest loads the plugin in this package in every environment that has it.
_HOMES = {
    "calls": ("Clusters", "GrpcCall", "GrpcError", "HttpCall"),
    "host": ("BODIES", "Body", "Host", "NewHost"),
    "messages": ("Headers", "LocalResponse", "Message", "Request", "Response"),
    "properties": ("Properties",),
    "plugin": ("Plugin", "Refused", "Trapped"),
    "proxy": ("LogLine", "Metric"),
    "recording": ("Diverged", "NotARecording", "replay"),
    "streams": ("HttpStream", "TcpStream", "Unfinished"),
    "trace": ("Callback", "HostCall", "Trace"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
