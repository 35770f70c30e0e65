"""Envoy's configuration, read by the protobuf messages of its API, which refuse fields that they do not know."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory

_MODULES = (
    "google.protobuf.wrappers_pb2",
    "envoy.config.bootstrap.v3.bootstrap_pb2",
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.core.v3.extension_pb2",
    "envoy.extensions.access_loggers.wasm.v3.wasm_pb2",
    "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.http.wasm.v3.wasm_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.filters.network.wasm.v3.wasm_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
)


def parse(value: dict[str, Any], message: str) -> Any:
    """The value as a message of that name. Raises json_format.ParseError for what is none."""
    for name in _MODULES:
        importlib.import_module(name)
    found = descriptor_pool.Default().FindMessageTypeByName(message)
    return json_format.ParseDict(value, message_factory.GetMessageClass(found)())


def typed_configs(value: Any) -> Iterator[dict[str, Any]]:
    """All values that say their type, the outer ones first."""
    if isinstance(value, dict):
        if "@type" in value:
            yield value
        for item in value.values():
            yield from typed_configs(item)
    elif isinstance(value, list):
        for item in value:
            yield from typed_configs(item)


def parse_typed(value: Any) -> int:
    """Parse all values that say their type; gives their number."""
    found = list(typed_configs(value))
    for config in found:
        fields = {key: item for key, item in config.items() if key != "@type"}
        name = config["@type"].partition("/")[2]
        if name.startswith("envoy."):
            parse(fields, name)
    return len(found)
