"""How Envoy keeps header pairs: pseudo-headers in front, and the headers that it knows by name in one line each.

A header of the latter kind that is added again has its values joined with a comma. All functions change the list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pywasmfilter.types import MapType

if TYPE_CHECKING:
    from .messages import Pairs


def _names(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_OF_BOTH = """
    connection content-encoding content-length content-type cache-control keep-alive proxy-connection proxy-status
    transfer-encoding upgrade via x-envoy-attempt-count x-envoy-decorator-operation x-request-id
"""
_OF_REQUESTS = """
    :authority :method :path :protocol :scheme
    accept accept-encoding access-control-request-headers access-control-request-method
    access-control-request-private-network authentication authorization cdn-loop expect grpc-accept-encoding
    grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma referer te
    user-agent x-client-trace-id x-envoy-downstream-service-cluster x-envoy-downstream-service-node
    x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace x-envoy-hedge-on-per-try-timeout
    x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-max-retries x-envoy-original-host
    x-envoy-original-path x-envoy-original-url x-envoy-retriable-header-names x-envoy-retriable-status-codes
    x-envoy-retry-grpc-on x-envoy-retry-on x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-per-try-timeout-ms
    x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms x-envoy-upstream-stream-duration-ms
    x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
"""
_OF_RESPONSES = """
    :status
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods
    access-control-allow-origin access-control-expose-headers access-control-max-age age date etag expires last-modified
    location server vary x-envoy-degraded x-envoy-immediate-health-check-fail x-envoy-ratelimited
    x-envoy-upstream-canary x-envoy-upstream-healthchecked-cluster x-envoy-upstream-service-time
"""
_OF_GRPC = "grpc-message grpc-status"

_IN_ONE_LINE: Final = {
    MapType.HTTP_REQUEST_HEADERS: _names(_OF_BOTH + _OF_REQUESTS),
    MapType.HTTP_RESPONSE_HEADERS: _names(_OF_BOTH + _OF_RESPONSES + _OF_GRPC),
    MapType.HTTP_RESPONSE_TRAILERS: _names(_OF_GRPC),
}


_OF_CONNECTIONS: Final = _names("connection keep-alive proxy-connection transfer-encoding upgrade")


def without_connection(pairs: Pairs) -> Pairs:
    """A new list without the headers that are about one connection, and those that `connection` names."""
    named = b",".join(value for name, value in pairs if name == b"connection").replace(b" ", b"").lower().split(b",")
    return [pair for pair in pairs if pair[0] not in _OF_CONNECTIONS and pair[0] not in named]


def arrived(map_type: int, received: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """A new list of what a peer sent."""
    pairs: list[tuple[bytes, bytes]] = []
    for name, value in received:
        add(map_type, pairs, name, value)
    return pairs


def add(map_type: int, pairs: Pairs, name: bytes, value: bytes) -> None:
    """Add a value to those that a header has."""
    name = _name(map_type, name)
    index = _index(pairs, name)
    if index is not None and name in _IN_ONE_LINE.get(MapType(map_type), ()):
        pairs[index] = name, pairs[index][1] + b"," + value
    elif name.startswith(b":"):
        pairs.insert(sum(key.startswith(b":") for key, _ in pairs), (name, value))
    else:
        pairs.append((name, value))


def replace(map_type: int, pairs: Pairs, name: bytes, value: bytes) -> None:
    """Give a header one value, behind all others."""
    remove(map_type, pairs, name)
    add(map_type, pairs, name, value)


def assign(map_type: int, pairs: Pairs, name: bytes, value: bytes) -> None:
    """Give a header that is kept in one line another value, where it is; this is how the proxy itself does it."""
    index = _index(pairs, name)
    if index is None:
        add(map_type, pairs, name, value)
    else:
        pairs[index] = name, value


def remove(map_type: int, pairs: Pairs, name: bytes) -> None:
    """Take all values of a header away."""
    name = _name(map_type, name)
    pairs[:] = [pair for pair in pairs if pair[0] != name]


def find(map_type: int, pairs: Pairs, name: bytes) -> bytes | None:
    """The first value of a header."""
    index = _index(pairs, _name(map_type, name))
    return None if index is None else pairs[index][1]


def _name(map_type: int, name: bytes) -> bytes:
    """The name as Envoy has it; that of a request's host is the one of HTTP/2."""
    lower = name.lower()
    return b":authority" if lower == b"host" and map_type == MapType.HTTP_REQUEST_HEADERS else lower


def _index(pairs: Pairs, name: bytes) -> int | None:
    return next((index for index, (key, _) in enumerate(pairs) if key == name), None)
