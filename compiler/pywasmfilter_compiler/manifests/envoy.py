"""Envoy's own configuration: a filter, the clusters that it needs, and a whole bootstrap around it.

Plain dictionaries in the shape of the v3 API, as in `envoy.bootstrap`. The parts are used for EnvoyFilters and Kuma
too.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    Config,
    bytes_value,
    cluster,
    route_to,
    split_service,
    tls_cluster,
)
from pywasmfilter_compiler.envoy.services import clusters_for
from pywasmfilter_compiler.errors import UsageError

from . import versions
from .choices import Kind
from .documents import Document
from .request import PluginUse, Request

TYPE: Final = "type.googleapis.com/"
MESSAGES: Final[dict[Kind, str]] = {
    "http": "envoy.extensions.filters.http.wasm.v3.Wasm",
    "tcp": "envoy.extensions.filters.network.wasm.v3.Wasm",
    "access-log": "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog",
}
"""The message around the configuration of a plugin, by what it is used as."""

HTTP_MANAGER: Final = "envoy.filters.network.http_connection_manager"
ROUTER: Final = "envoy.filters.http.router"
TCP_PROXY: Final = "envoy.filters.network.tcp_proxy"
STORE: Final = "wasm_store"
AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Where images of Envoy and Istio have the certificates of the authorities that they trust."""

REMOTE_LIMIT: Final = 32 * 2**20
"""What Envoy's HTTP client takes of a response, unless the runtime says otherwise."""

_POLICIES: Final = {"closed": "FAIL_CLOSED", "open": "FAIL_OPEN", "reload": "FAIL_RELOAD"}
_FETCH_SECONDS: Final = "60s"


# A plugin


def plugin_filter(request: Request, plugin: PluginUse, *, by_agent: bool = False) -> Config:
    """An HTTP filter, a network filter or an access logger. `by_agent`: Istio's agent gets the module."""
    message = {"@type": TYPE + MESSAGES[plugin.kind], "config": plugin_config(request, plugin, by_agent=by_agent)}
    return {"name": request.object_name(plugin), "typed_config": message}


def plugin_config(request: Request, plugin: PluginUse, *, by_agent: bool = False) -> Config:
    """envoy.extensions.wasm.v3.PluginConfig; plugins of one request share their VM."""
    envoy = envoy_version(request)
    for field in ["FAIL_RELOAD"] * (request.fail_strategy == "reload") + ["failure_policy"]:
        versions.require("envoy", field, envoy)
    config: Config = {
        "name": plugin.root_id,
        "root_id": plugin.root_id,
        "failure_policy": _POLICIES[request.fail_strategy],
    }
    if request.hold_headers:
        versions.require("envoy", "allow_on_headers_stop_iteration", envoy)
        config["allow_on_headers_stop_iteration"] = True
    if plugin.configuration:
        config["configuration"] = bytes_value(plugin.configuration)
    config["vm_config"] = _vm_config(request, by_agent=by_agent)
    return config


def envoy_version(request: Request) -> versions.Version | None:
    """The release of Envoy that is written for, be it inside Istio."""
    return versions.envoy_of_istio(request.istio) if request.istio else request.envoy


def _vm_config(request: Request, *, by_agent: bool) -> Config:
    code = _by_agent(request) if by_agent else _code(request)
    config: Config = {"vm_id": request.vm_id, "runtime": "envoy.wasm.runtime.v8", "code": code}
    if request.vm_configuration:
        config["configuration"] = bytes_value(request.vm_configuration)
    environment = dict(request.environment)
    if by_agent and request.scheme != "file":
        policy = "Always" if request.pull_policy == "always" else "IfNotPresent"
        environment["ISTIO_META_WASM_IMAGE_PULL_POLICY"] = policy  # the agent reads it, and takes it out
    hosts = [name for name, value in environment.items() if value is None]
    values = {name: value for name, value in environment.items() if value is not None}
    variables = {key: value for key, value in (("host_env_keys", hosts), ("key_values", values)) if value}
    if variables:
        config["environment_variables"] = variables
    return config


def _code(request: Request) -> Config:
    """envoy.config.core.v3.AsyncDataSource"""
    if request.scheme == "file":
        return {"local": {"filename": request.file}}
    if request.scheme == "oci":
        raise UsageError(f"--url {request.url}: Envoy itself pulls no images; give an https:// or file:// URL")
    if request.file.endswith((".gz", ".tar", ".tgz")):
        raise UsageError(f"--url {request.url}: Envoy unpacks nothing; it takes the module as it is")
    retries = {"num_retries": 10, "retry_back_off": {"base_interval": "1s", "max_interval": "30s"}}
    source = {"uri": request.url, "cluster": STORE, "timeout": _FETCH_SECONDS}
    return {"remote": {"http_uri": source, "sha256": request.sha256, "retry_policy": retries}}


def _by_agent(request: Request) -> Config:
    """The same for Istio's agent, which takes `nil` for no hash, and whatever there is for the cluster."""
    source = {"uri": request.url, "cluster": "_", "timeout": _FETCH_SECONDS}
    return {"remote": {"http_uri": source, "sha256": request.sha256 or "nil"}}


# Clusters


def clusters(request: Request) -> list[Config]:
    """Those for the module's upstreams, and for where the module is."""
    environment = {name: value for name, value in request.environment.items() if value is not None}
    made = clusters_for(request.module.upstreams, request.upstream_urls, environment, AUTHORITIES)
    return [*made, *store_clusters(request)]


def store_clusters(request: Request) -> list[Config]:
    """The cluster of the server that has the module, if Envoy is to get it there."""
    if request.scheme not in {"http", "https"}:
        return []
    parts = urlsplit(request.url)
    return [_cluster(STORE, *split_service(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"))]


def _cluster(name: str, host: str, port: int, tls: bool) -> Config:
    return tls_cluster(name, host, port, AUTHORITIES) if tls else cluster(name, host, port)


# The documents


def generate_filter(request: Request) -> list[Document]:
    """The filters alone, to be put into a configuration that is there."""
    needed = [made["name"] for made in clusters(request)]
    notes = [f"It needs the clusters {', '.join(needed)}: `--target envoy` shows them."] if needed else []
    return [Document(plugin_filter(request, plugin), (_PLACES[plugin.kind], *notes)) for plugin in request.plugins]


_PLACES: Final[dict[Kind, str]] = {
    "http": "An item of http_filters, before the router.",
    "tcp": "An item of the filters of a filter chain, before the TCP proxy or the HTTP connection manager.",
    "access-log": "An item of access_log of the HTTP connection manager or the TCP proxy.",
}


def generate_bootstrap(request: Request) -> list[Document]:
    """A configuration that Envoy runs with as it is."""
    host, port, tls = split_service(request.upstream)
    static = {
        "listeners": [_listener(request)],
        "clusters": [_cluster(UPSTREAM, host, port, tls), *clusters(request)],
    }
    config: Config = {"admin": {"address": _address("127.0.0.1", 9901)}, "static_resources": static}
    if request.scheme != "file" and request.module.report.size > REMOTE_LIMIT:
        layer = {"http.async_response_buffer_limit": 256 * 2**20}
        config["layered_runtime"] = {"layers": [{"name": "large_modules", "static_layer": layer}]}
    return [Document(config, tuple(_notes(request)))]


def _notes(request: Request) -> list[str]:
    notes = [f"envoy --config-path FILE: requests to port {request.port} pass the filter and go to {request.upstream}."]
    if len(request.plugins) > 1:
        notes.append("The plugins have the same vm_id, VM configuration and module: one VM per worker for all of them.")
    if request.scheme != "file":
        notes.append("Envoy gets the module when it starts, and checks sha256, which is that of the file.")
    return notes


def _listener(request: Request) -> Config:
    kinds = {plugin.kind for plugin in request.plugins}
    first = [plugin_filter(request, plugin) for plugin in request.plugins if plugin.kind == "tcp"]
    last = _tcp_proxy() if kinds == {"tcp"} else _http_manager(request)
    return {
        "name": request.name,
        "address": _address("0.0.0.0", request.port),  # noqa: S104  # clients are elsewhere
        "filter_chains": [{"filters": [*first, last]}],
    }


def _tcp_proxy() -> Config:
    message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return _named(TCP_PROXY, message, stat_prefix=UPSTREAM, cluster=UPSTREAM)


def _http_manager(request: Request) -> Config:
    of_kind = {
        kind: [plugin_filter(request, plugin) for plugin in request.plugins if plugin.kind == kind]
        for kind in ("http", "access-log")
    }
    message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    route = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route_to(UPSTREAM)]}]}
    router = _named(ROUTER, "envoy.extensions.filters.http.router.v3.Router")
    logs = {"access_log": of_kind["access-log"]} if of_kind["access-log"] else {}
    return _named(
        HTTP_MANAGER,
        message,
        stat_prefix=request.name,
        route_config=route,
        **logs,
        http_filters=[*of_kind["http"], router],
    )


def _named(name: str, message: str, **fields: Any) -> Config:
    return {"name": name, "typed_config": {"@type": TYPE + message, **fields}}


def _address(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}
