"""Properties: what the proxy knows about a request, its connection, its route and itself (Envoy calls them attributes).

    properties.request.path            properties.source.address        properties.xds.route_name
    properties.metadata("envoy.lb", "canary").text()
    properties.xds.cluster_metadata("location", "region").text()

All are read from the proxy when asked for, and None if the proxy does not know them now: without a stream (`on_tick`)
there is hardly more than `xds.node` and `plugin`, and what comes from headers is there in the request's header callback
and in `on_http_stream_done`. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
"""

from __future__ import annotations

from . import _abi
from ._serialization import as_text, decode_list, decode_pairs, decode_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")

# Raw access


def get_property(path: Iterable[str]) -> bytes | None:
    """A property by its path, such as ["source", "address"] (`proxy_get_property`).

    None if there is no such property now. The bytes are as the host serializes its type; `Property` reads them. What
    Envoy moved under `xds` in 1.33 (`node`, `route_metadata`, …) is found under its new name and its old one,
    whichever is asked for. Raises SerializationFailure for a path that leads to a group, such as ["request"].
    """
    parts = _parts(path)
    value = _abi.host.get_property(_encode(parts))
    if value is None and (other := _other_name(parts)):
        value = _abi.host.get_property(_encode(other))
    return value


def get_property_map(path: Iterable[str]) -> list[tuple[str, str]] | None:
    """A property that is a map, as pairs of text; None if it is not there."""
    value = get_property(path)
    return None if value is None else decode_texts(value)


def set_property(path: Iterable[str], value: str | bytes) -> None:
    """Store a property on the stream (`proxy_set_property`), for later filters and the access log.

    Envoy keeps it in the filter state as `wasm.<path>`, and reads back paths of one part only. Allowed in callbacks of
    a stream; NotFound elsewhere.
    """
    _abi.host.set_property(_encode(_parts(path)), value)


_MOVED = frozenset(
    (
        *("node", "cluster_name", "cluster_metadata", "route_name", "route_metadata", "listener_direction"),
        *("listener_metadata", "upstream_host_metadata"),
    )
)
"""What stood at the top until Envoy 1.33, and is under `xds` since."""


def _other_name(parts: list[str]) -> list[str]:
    if parts[:1] == ["xds"] and len(parts) > 1 and parts[1] in _MOVED:
        return parts[1:]
    return ["xds", *parts] if parts and parts[0] in _MOVED else []


def _parts(path: Iterable[str]) -> list[str]:
    if isinstance(path, str):
        raise TypeError(f'the path of a property is a list of its parts, such as ["source", "address"], not {path!r}')
    return list(path)


def _encode(parts: list[str]) -> bytes:
    return "\0".join(parts).encode("utf-8", "surrogateescape")


# Typed access


class Property:
    """A property by its path, to be read as the type it has. Every method answers None if it is not there now.

    The bytes do not say their type: what a method makes of another type's is nonsense, or a ValueError.
    """

    __slots__ = ("path",)

    def __init__(self, *path: str) -> None:
        self.path = path

    def raw(self) -> bytes | None:
        """The bytes; a message comes as serialized protobuf."""
        return get_property(self.path)

    def text(self) -> str | None:
        """A string."""
        return self._as(as_text)

    def integer(self) -> int | None:
        """An int or uint; a duration or a time in nanoseconds."""
        return self._as(_integer)

    def number(self) -> float | None:
        """A double; a number in metadata is one."""
        return self._as(_number)

    def boolean(self) -> bool | None:
        """A bool."""
        return self._as(_boolean)

    def map(self) -> dict[str, bytes] | None:
        """A map; its values in their own serializations."""
        return self._as(_map)

    def list(self) -> list[bytes] | None:
        """A list; its items in their own serializations."""
        return self._as(decode_list)

    def _as(self, decode: Callable[[bytes], T]) -> T | None:
        value = get_property(self.path)
        return None if value is None else decode(value)

    def __repr__(self) -> str:
        return f"<Property {'.'.join(self.path)}>"


def _integer(data: bytes) -> int:
    return int.from_bytes(_sized(data, 8), "little", signed=True)


def _number(data: bytes) -> float:
    return memoryview(_sized(data, 8)).cast("d")[0]


def _boolean(data: bytes) -> bool:
    return _sized(data, 1) != b"\0"


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"the property has {len(data)} bytes where its type has {size}")
    return data


def _map(data: bytes) -> dict[str, bytes]:
    return {as_text(key): value for key, value in decode_pairs(data)}


class _Attribute:
    """A property as an attribute of its group."""

    def __init__(self, path: str) -> None:
        self.property = Property(*path.split("."))


class _Text(_Attribute):
    def __get__(self, _group: object, _owner: type) -> str | None:
        return self.property.text()


class _Integer(_Attribute):
    def __get__(self, _group: object, _owner: type) -> int | None:
        return self.property.integer()


class _Boolean(_Attribute):
    def __get__(self, _group: object, _owner: type) -> bool | None:
        return self.property.boolean()


class _Group:
    """Properties under one name. One object stands for all streams, so nothing can be kept on it."""

    __slots__ = ()

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"the property {name} is the proxy's own; set_property stores others")


class RequestProperties(_Group):
    """`request`. Times and durations are in nanoseconds, sizes in bytes."""

    __slots__ = ()

    path = _Text("request.path")
    url_path = _Text("request.url_path")
    query = _Text("request.query")
    host = _Text("request.host")
    scheme = _Text("request.scheme")
    method = _Text("request.method")
    referer = _Text("request.referer")
    useragent = _Text("request.useragent")
    id = _Text("request.id")
    protocol = _Text("request.protocol")
    time = _Integer("request.time")
    duration = _Integer("request.duration")
    size = _Integer("request.size")
    total_size = _Integer("request.total_size")

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, repeated ones joined by commas."""
        return Property("request", "headers", name).text()


class ResponseProperties(_Group):
    """`response`. Durations are in nanoseconds, sizes in bytes."""

    __slots__ = ()

    code = _Integer("response.code")
    code_details = _Text("response.code_details")
    flags = _Integer("response.flags")
    grpc_status = _Integer("response.grpc_status")
    size = _Integer("response.size")
    total_size = _Integer("response.total_size")
    backend_latency = _Integer("response.backend_latency")

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, repeated ones joined by commas."""
        return Property("response", "headers", name).text()

    def trailer(self, name: str) -> str | None:
        """A trailer by its lower-case name."""
        return Property("response", "trailers", name).text()


class ConnectionProperties(_Group):
    """`connection`, the downstream connection. What speaks of certificates is there with TLS only."""

    __slots__ = ()

    id = _Integer("connection.id")
    mtls = _Boolean("connection.mtls")
    requested_server_name = _Text("connection.requested_server_name")
    tls_version = _Text("connection.tls_version")
    subject_local_certificate = _Text("connection.subject_local_certificate")
    subject_peer_certificate = _Text("connection.subject_peer_certificate")
    dns_san_local_certificate = _Text("connection.dns_san_local_certificate")
    dns_san_peer_certificate = _Text("connection.dns_san_peer_certificate")
    uri_san_local_certificate = _Text("connection.uri_san_local_certificate")
    uri_san_peer_certificate = _Text("connection.uri_san_peer_certificate")
    sha256_peer_certificate_digest = _Text("connection.sha256_peer_certificate_digest")
    termination_details = _Text("connection.termination_details")
    transport_failure_reason = _Text("connection.transport_failure_reason")


class SourceProperties(_Group):
    """`source`, the client's end of the downstream connection."""

    __slots__ = ()

    address = _Text("source.address")
    port = _Integer("source.port")


class DestinationProperties(_Group):
    """`destination`, the proxy's end of the downstream connection."""

    __slots__ = ()

    address = _Text("destination.address")
    port = _Integer("destination.port")


class UpstreamProperties(_Group):
    """`upstream`, the connection to the upstream once there is one. Durations are in nanoseconds."""

    __slots__ = ()

    address = _Text("upstream.address")
    port = _Integer("upstream.port")
    local_address = _Text("upstream.local_address")
    transport_failure_reason = _Text("upstream.transport_failure_reason")
    request_attempt_count = _Integer("upstream.request_attempt_count")
    cx_pool_ready_duration = _Integer("upstream.cx_pool_ready_duration")
    tls_version = _Text("upstream.tls_version")
    subject_local_certificate = _Text("upstream.subject_local_certificate")
    subject_peer_certificate = _Text("upstream.subject_peer_certificate")
    dns_san_local_certificate = _Text("upstream.dns_san_local_certificate")
    dns_san_peer_certificate = _Text("upstream.dns_san_peer_certificate")
    uri_san_local_certificate = _Text("upstream.uri_san_local_certificate")
    uri_san_peer_certificate = _Text("upstream.uri_san_peer_certificate")
    sha256_peer_certificate_digest = _Text("upstream.sha256_peer_certificate_digest")


class XdsProperties(_Group):
    """`xds`, the proxy's own configuration for this stream, under these names also in proxies before Envoy 1.33."""

    __slots__ = ()

    cluster_name = _Text("xds.cluster_name")
    route_name = _Text("xds.route_name")
    virtual_host_name = _Text("xds.virtual_host_name")
    filter_chain_name = _Text("xds.filter_chain_name")
    listener_direction = _Integer("xds.listener_direction")
    """0 unspecified, 1 inbound, 2 outbound."""

    def node(self, *fields: str) -> Property:
        """A field of the proxy's node, such as `node("id")`; known without a stream too."""
        return Property("xds", "node", *fields)

    def cluster_metadata(self, namespace: str, *keys: str) -> Property:
        """Metadata of the upstream's cluster."""
        return Property("xds", "cluster_metadata", "filter_metadata", namespace, *keys)

    def route_metadata(self, namespace: str, *keys: str) -> Property:
        """Metadata of the route."""
        return Property("xds", "route_metadata", "filter_metadata", namespace, *keys)

    def virtual_host_metadata(self, namespace: str, *keys: str) -> Property:
        """Metadata of the virtual host."""
        return Property("xds", "virtual_host_metadata", "filter_metadata", namespace, *keys)

    def listener_metadata(self, namespace: str, *keys: str) -> Property:
        """Metadata of the listener."""
        return Property("xds", "listener_metadata", "filter_metadata", namespace, *keys)

    def upstream_host_metadata(self, namespace: str, *keys: str) -> Property:
        """Metadata of the upstream's host."""
        return Property("xds", "upstream_host_metadata", "filter_metadata", namespace, *keys)


class PluginProperties(_Group):
    """The plugin itself, as the proxy's configuration calls it; known without a stream too."""

    __slots__ = ()

    name = _Text("plugin_name")
    root_id = _Text("plugin_root_id")
    vm_id = _Text("plugin_vm_id")


request = RequestProperties()
response = ResponseProperties()
connection = ConnectionProperties()
source = SourceProperties()
destination = DestinationProperties()
upstream = UpstreamProperties()
xds = XdsProperties()
plugin = PluginProperties()


def metadata(namespace: str, *keys: str) -> Property:
    """Dynamic metadata of the stream, set by filters before this one."""
    return Property("metadata", "filter_metadata", namespace, *keys)


def filter_state(key: str, *fields: str) -> Property:
    """An object of the stream's filter state, or a field of it."""
    return Property("filter_state", key, *fields)
