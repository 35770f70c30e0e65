"""Host calls as functions, under the names of the ABI without `proxy_`, or of the Go SDK in snake case.

They act on the context whose callback is running, or on the one given to `set_effective_context`. Each raises a
`HostcallError` when the host answers a status other than OK (see `exceptions`), and MisuseError at import time.
"""

from __future__ import annotations

from . import _abi
from ._serialization import encode_pairs
from .types import MapType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Text = str | bytes

_REQUEST_HEADERS = int(MapType.HTTP_REQUEST_HEADERS)
_RESPONSE_HEADERS = int(MapType.HTTP_RESPONSE_HEADERS)

# Logging, clocks and timers


def get_log_level() -> int:
    """The proxy's log level, 0 (trace) to 6 (off) (`proxy_get_log_level`). Allowed in every callback."""
    return _abi.host.get_log_level()


def get_current_time_nanoseconds() -> int:
    """Nanoseconds since 1970 (`proxy_get_current_time_nanoseconds`). Allowed in every callback."""
    return _abi.host.get_current_time_nanoseconds()


def set_tick_period_milliseconds(period: int) -> None:
    """Call `on_tick` of the current plugin every `period` milliseconds; 0 ends it.

    One timer per plugin and VM, and so one per worker (`proxy_set_tick_period_milliseconds`).
    """
    _abi.host.set_tick_period_milliseconds(period)


# Contexts and streams


def set_effective_context(context_id: int) -> None:
    """Make the calls that follow in this callback act on another context (`proxy_set_effective_context`).

    Raises BadArgument if that context is gone.
    """
    _abi.host.set_effective_context(context_id)


def done() -> None:
    """End a plugin whose `on_plugin_done` returned False (`proxy_done`). Raises NotFound if none waits."""
    _abi.host.done()


def resume_http_request() -> None:
    """Let a paused request go on (`proxy_continue_stream`). Change headers before, not after."""
    _abi.host.continue_stream(StreamType.HTTP_REQUEST)


def resume_http_response() -> None:
    """Let a paused response go on (`proxy_continue_stream`)."""
    _abi.host.continue_stream(StreamType.HTTP_RESPONSE)


def send_http_response(
    status: int,
    headers: Iterable[tuple[Text, Text]] = (),
    body: Text = b"",
    grpc_status: int = -1,
    details: str = "",
) -> None:
    """Answer the current request (`proxy_send_local_response`); see `HttpContext.send_http_response`."""
    if not 200 <= status <= 599:
        raise ValueError(f"the status of a response is 200 to 599, not {status}")
    if not -1 <= grpc_status <= 16:
        raise ValueError(f"a gRPC status is 0 to 16, or -1 for none, not {grpc_status}")
    _abi.host.send_local_response(status, details, body, encode_pairs(headers), grpc_status)


# Header maps


def get_http_request_header(key: Text) -> str | None:
    """The first value of a request header, or None (`proxy_get_header_map_value`)."""
    return _abi.host.get_header_map_value(_REQUEST_HEADERS, key)


def add_http_request_header(key: Text, value: Text) -> None:
    """Append a request header, only in `on_http_request_headers` (`proxy_add_header_map_value`)."""
    _abi.host.add_header_map_value(_REQUEST_HEADERS, key, value)


def replace_http_request_header(key: Text, value: Text) -> None:
    """Set a request header, only in `on_http_request_headers` (`proxy_replace_header_map_value`)."""
    _abi.host.replace_header_map_value(_REQUEST_HEADERS, key, value)


def remove_http_request_header(key: Text) -> None:
    """Remove a request header, only in `on_http_request_headers` (`proxy_remove_header_map_value`)."""
    _abi.host.remove_header_map_value(_REQUEST_HEADERS, key)


def get_http_response_header(key: Text) -> str | None:
    """The first value of a response header, or None (`proxy_get_header_map_value`)."""
    return _abi.host.get_header_map_value(_RESPONSE_HEADERS, key)


def add_http_response_header(key: Text, value: Text) -> None:
    """Append a response header, only in `on_http_response_headers` (`proxy_add_header_map_value`)."""
    _abi.host.add_header_map_value(_RESPONSE_HEADERS, key, value)


def replace_http_response_header(key: Text, value: Text) -> None:
    """Set a response header, only in `on_http_response_headers` (`proxy_replace_header_map_value`)."""
    _abi.host.replace_header_map_value(_RESPONSE_HEADERS, key, value)


def remove_http_response_header(key: Text) -> None:
    """Remove a response header, only in `on_http_response_headers` (`proxy_remove_header_map_value`)."""
    _abi.host.remove_header_map_value(_RESPONSE_HEADERS, key)


# Properties and foreign functions


def get_property(path: Iterable[str]) -> bytes | None:
    """An attribute of the stream, connection or node by its path, such as ["source", "address"] (`proxy_get_property`).

    None if there is no such attribute now. The bytes are as the host serializes the attribute's type.
    """
    return _abi.host.get_property(_path(path))


def set_property(path: Iterable[str], value: bytes) -> None:
    """Store an attribute on the stream (`proxy_set_property`); Envoy reads back paths of one segment only."""
    _abi.host.set_property(_path(path), value)


def _path(path: Iterable[str]) -> bytes:
    if isinstance(path, str):
        raise TypeError(f'the path of a property is a list of its parts, such as ["source", "address"], not {path!r}')
    return "\0".join(path).encode()


def call_foreign_function(name: str, arguments: bytes = b"") -> bytes:
    """Call a function that the proxy registered under a name (`proxy_call_foreign_function`).

    Raises NotFound if the proxy knows no such function.
    """
    return _abi.host.call_foreign_function(name, arguments)
