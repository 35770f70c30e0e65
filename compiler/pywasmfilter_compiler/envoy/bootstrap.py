"""Envoy's configuration, as plain dictionaries in the shape of its v3 API; written as JSON, which Envoy reads.

`bootstrap()` is the whole document. Its parts are made by one small function each, so that a test can put together
what it needs: `http_listener()`, `tcp_listener()`, `cluster()`, `tls_cluster()`, `wasm_service()`, `wasm_access_log()`,
and `WasmPlugin` for the module.
Listeners and the admin interface are on 127.0.0.1; port 0 lets the system choose.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pywasmfilter_compiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Config: TypeAlias = dict[str, Any]
FailurePolicy: TypeAlias = Literal["FAIL_CLOSED", "FAIL_OPEN", "FAIL_RELOAD"]

LOOPBACK: Final = "127.0.0.1"
LISTENER: Final = "pyfilter"
UPSTREAM: Final = "upstream"
HOLDS_HEADERS: Final = "PYFILTER_ALLOW_ON_HEADERS_STOP_ITERATION"

_TYPE: Final = "type.googleapis.com/"
_HTTP_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


@dataclass(frozen=True, slots=True)
class WasmPlugin:
    """PluginConfig and VmConfig: one module, and how it is configured.

    `name` is Envoy's own name for the plugin (in its statistics and errors); `root_id` chooses the plugin inside the
    module. Plugins with equal `vm_id`, `vm_configuration` and `module` share their virtual machines.
    """

    module: Path
    name: str = ""
    root_id: str = ""
    vm_id: str = ""
    configuration: bytes = b""
    vm_configuration: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    failure_policy: FailurePolicy = "FAIL_CLOSED"
    allow_on_headers_stop_iteration: bool = False
    """Whether a body is shown while its headers are held back. A variable of the environment tells the module."""

    def config(self) -> Config:
        """envoy.extensions.wasm.v3.PluginConfig"""
        plugin: Config = {
            "name": self.name,
            "root_id": self.root_id,
            "vm_config": {
                "vm_id": self.vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(self.module.absolute())}},
            },
            "failure_policy": self.failure_policy,
        }
        if self.configuration:
            plugin["configuration"] = bytes_value(self.configuration)
        if self.vm_configuration:
            plugin["vm_config"]["configuration"] = bytes_value(self.vm_configuration)
        environment = dict(self.environment)
        if self.allow_on_headers_stop_iteration:
            plugin["allow_on_headers_stop_iteration"] = True
            environment[HOLDS_HEADERS] = "true"
        if environment:
            plugin["vm_config"]["environment_variables"] = {"key_values": environment}
        return plugin


def bytes_value(data: bytes) -> Config:
    """google.protobuf.Any that a module receives as exactly `data`: a StringValue, a BytesValue if it is not UTF-8."""
    try:
        return {"@type": _TYPE + "google.protobuf.StringValue", "value": data.decode()}
    except UnicodeDecodeError:
        return {"@type": _TYPE + "google.protobuf.BytesValue", "value": base64.b64encode(data).decode()}


def bootstrap(
    listeners: Sequence[Config],
    clusters: Sequence[Config] = (),
    services: Sequence[Config] = (),
    *,
    tags: Mapping[str, str] | None = None,
) -> Config:
    """envoy.config.bootstrap.v3.Bootstrap with an admin interface on a port of its own.

    `tags` are tags of statistics: the name of each, and the regular expression that finds it in a statistic's name.
    """
    stats_tags = [{"tag_name": name, "regex": regex} for name, regex in (tags or {}).items()]
    return {
        "admin": {"address": _address(LOOPBACK, 0)},
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        "bootstrap_extensions": list(services),
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "stats_config": {"stats_tags": stats_tags},
    }


def http_listener(
    plugins: Sequence[WasmPlugin],
    routes: Sequence[Config],
    *,
    name: str = LISTENER,
    port: int = 0,
    access_logs: Sequence[Config] = (),
    trailers: bool = False,
) -> Config:
    """envoy.config.listener.v3.Listener for HTTP: the plugins in order, then the router.

    With `trailers`, those of HTTP/1.1 requests are passed on.
    """
    filters = [*(_wasm_filter("http", index, plugin) for index, plugin in enumerate(plugins)), _router()]
    manager = {
        "@type": _TYPE + _HTTP_MANAGER,
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(routes)}]},
        "http_filters": filters,
        "access_log": list(access_logs),
        "http_protocol_options": {"enable_trailers": trailers},
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return _listener(name, port, chain)


def tcp_listener(plugins: Sequence[WasmPlugin], cluster_name: str, *, name: str = LISTENER, port: int = 0) -> Config:
    """envoy.config.listener.v3.Listener for TCP: the plugins in order, then a proxy to the cluster."""
    proxy = {
        "@type": _TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name,
        "cluster": cluster_name,
    }
    filters = [_wasm_filter("network", index, plugin) for index, plugin in enumerate(plugins)]
    return _listener(name, port, [*filters, {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}])


def wasm_service(plugin: WasmPlugin, *, singleton: bool = True) -> Config:
    """A `bootstrap_extensions` entry: a plugin outside all streams, on the main thread only or on every thread."""
    service = {
        "@type": _TYPE + "envoy.extensions.wasm.v3.WasmService",
        "singleton": singleton,
        "config": plugin.config(),
    }
    return {"name": "envoy.bootstrap.wasm", "typed_config": service}


def wasm_access_log(plugin: WasmPlugin) -> Config:
    """An access logger that is a plugin: its on_log is called for each request."""
    logger = {"@type": _TYPE + "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog", "config": plugin.config()}
    return {"name": "envoy.access_loggers.wasm", "typed_config": logger}


def route_to(cluster_name: str, *, prefix: str = "/") -> Config:
    """A route to a cluster, without a time limit of its own."""
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster_name, "timeout": "0s"}}


def direct_response(status: int, body: str, *, prefix: str = "/") -> Config:
    """A route that Envoy answers itself."""
    return {"match": {"prefix": prefix}, "direct_response": {"status": status, "body": {"inline_string": body}}}


def cluster(name: str, host: str, port: int, *, http2: bool = False, trailers: bool = False) -> Config:
    """envoy.config.cluster.v3.Cluster with one endpoint; a host that is not an IP address is looked up by Envoy.

    It is spoken to in HTTP/2, which gRPC needs, or in HTTP/1.1, whose trailers are passed on with `trailers`.
    """
    protocol: Config = {"http2_protocol_options": {}}
    if not http2:
        protocol = {"http_protocol_options": {"enable_trailers": trailers}}
    return _cluster(name, host, port, {"explicit_http_config": protocol})


def tls_cluster(name: str, host: str, port: int, authorities: str | None = None) -> Config:
    """The same for a server that is spoken to with TLS, and in HTTP/2 if it takes that.

    The server's certificate is one for the host, and is signed by an authority in the file `authorities`, by default
    one that this system trusts. Raises UsageError if it is not known which these are.
    """
    san = {"san_type": "IP_ADDRESS" if _is_ip(host) else "DNS", "matcher": {"exact": host}}
    trusted = {"filename": authorities or _authorities()}
    validation = {"trusted_ca": trusted, "match_typed_subject_alt_names": [san]}
    tls: Config = {"@type": _TYPE + _TLS, "common_tls_context": {"validation_context": validation}}
    if not _is_ip(host):
        tls["sni"] = host
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    return {**_cluster(name, host, port, {"auto_config": {}}), "transport_socket": socket}


def _cluster(name: str, host: str, port: int, options: Config) -> Config:
    return {
        "name": name,
        "type": "STATIC" if _is_ip(host) else "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",  # local servers seldom listen on ::1, which localhost is too
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: {"@type": _TYPE + _HTTP_OPTIONS, **options}},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
    }


_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems have the certificates of the authorities that they trust: Debian, Fedora, SUSE, Alpine and macOS."""


def _authorities() -> str:
    """The file with the authorities that this system trusts, or those that SSL_CERT_FILE names."""
    named = os.environ.get("SSL_CERT_FILE")
    found = next(filter(os.path.isfile, (named,) if named else _AUTHORITIES), None)
    if found is None:
        what = f"SSL_CERT_FILE, {named!r}, is no file" if named else "there is no file with the system's authorities"
        raise UsageError(f"TLS with an upstream: {what}; SSL_CERT_FILE names one with certificates in PEM")
    return found


def split_upstream(url: str) -> tuple[str, int]:
    """Host and port of `http://host[:port]` or `host:port`; raises UsageError for anything else."""
    host, port, _ = split_service(url if "//" in url else f"http://{url}", ["http"])
    return host, port


def split_service(url: str, schemes: Sequence[str] = ("http", "https")) -> tuple[str, int, bool]:
    """Host and port of `http://host[:port]` or `https://host[:port]`, and whether it is the latter.

    Raises UsageError for anything else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"upstream {url!r}: {error}") from None
    if "@" in parts.netloc:  # may be a password, which is not repeated
        raise UsageError("the URL of an upstream holds no user name and password")
    if not url.isprintable() or " " in url or port == 0:  # `urlsplit` takes line breaks out
        raise UsageError(f"upstream {url!r}: this is no URL of a service")
    if parts.scheme not in schemes or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        expected = " or ".join(f"{scheme}://host:port" for scheme in schemes)
        raise UsageError(f"upstream {url!r}: expected {expected} (Envoy keeps the path of each request)")
    return parts.hostname, _PORTS[parts.scheme] if port is None else port, parts.scheme == "https"


_PORTS: Final = {"http": 80, "https": 443}


def _listener(name: str, port: int, filters: Sequence[Config]) -> Config:
    """Without SO_REUSEPORT, so that a second Envoy on the same port is refused instead of sharing the traffic."""
    return {
        "name": name,
        "address": _address(LOOPBACK, port),
        "enable_reuse_port": False,
        "filter_chains": [{"filters": list(filters)}],
    }


def _wasm_filter(kind: str, index: int, plugin: WasmPlugin) -> Config:
    """Filters of one chain need names of their own; the plugin's name may be empty or used twice."""
    wasm = {"@type": f"{_TYPE}envoy.extensions.filters.{kind}.wasm.v3.Wasm", "config": plugin.config()}
    return {"name": f"wasm.{index}", "typed_config": wasm}


def _connection_limit() -> Config:
    """A limit that is never reached here; without any, Envoy warns at each start."""
    limit = {
        "@type": _TYPE + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": 100_000,
    }
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}


def _router() -> Config:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router"},
    }


def _address(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
