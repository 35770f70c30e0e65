"""What a proxy knows of a stream by itself: its properties, such as `request.path` and `connection.id`.

Those that are made of headers are there as long as the filter may see the headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pywasmfilter.types import GrpcStatus, Status

from .abi import HostError
from .messages import GRPC_STATUSES, Headers, Pairs

_HEADERS: Final = {
    "path": ":path",
    "host": ":authority",
    "scheme": ":scheme",
    "method": ":method",
    "referer": "referer",
    "useragent": "user-agent",
    "id": "x-request-id",
}


def find(value: Any, path: tuple[str, ...]) -> Any:
    """What is at a path inside of a value, None if nothing. Raises HostError for a group, which is no value itself."""
    if isinstance(value, Mapping) and not path:
        raise HostError(Status.SERIALIZATION_FAILURE)
    if path[:1] in {("headers",), ("trailers",)}:
        path = (path[0], *(name.lower() for name in path[1:]))
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def of_address(address: str) -> Mapping[str, Any]:
    """`source`, `destination`, `upstream`"""
    port = address.rpartition(":")[2]
    return {"address": address, **({"port": int(port)} if port.isdecimal() else {})}


def of_connection(number: int) -> Mapping[str, Any]:
    """`connection`: one of a client without TLS."""
    return {"id": number, "mtls": False, "requested_server_name": ""}


def of_request(pairs: Pairs | None, body_size: int, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """`request`"""
    headers = Headers(pairs or [])
    length = headers.get("content-length", "")
    path, _, query = headers.get(":path", "").partition("?")
    return {
        **({"url_path": path, "query": query} if ":path" in headers else {}),
        **{name: headers.get(header) for name, header in _HEADERS.items()},
        "headers": _joined(pairs),
        "size": int(length) if length.isdecimal() else body_size,
        "total_size": body_size + _size(pairs),
        **known,
    }


def of_response(
    pairs: Pairs | None, trailers: Pairs | None, body_size: int, code: int | None, details: str | None, flags: int
) -> dict[str, Any]:
    """`response`"""
    return {
        "code": code,
        "code_details": details,
        "flags": flags,
        "grpc_status": _grpc_status(code, trailers, pairs),
        "headers": _joined(pairs),
        "trailers": _joined(trailers),
        "size": body_size,
        "total_size": body_size + _size(pairs) + _size(trailers),
    }


def _joined(pairs: Pairs | None) -> Mapping[str, str]:
    headers = Headers(pairs or [])
    return {name: ",".join(headers.get_all(name)) for name in headers}


def _size(pairs: Pairs | None) -> int:
    return sum(len(name) + len(value) for name, value in pairs or [])


def _grpc_status(code: int | None, *maps: Pairs | None) -> int | None:
    """What trailers or headers say, or else what goes with the status of HTTP."""
    for pairs in maps:
        if (status := Headers(pairs or []).get("grpc-status")) is not None:
            return int(status) if status.isdecimal() else -1
    return None if code is None else GRPC_STATUSES.get(code, GrpcStatus.UNKNOWN)
