"""Istio: WasmPlugin, TrafficExtension and EnvoyFilter, with what the module's upstreams need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, cast

from pywasmfilter_compiler.envoy.bootstrap import HOLDS_HEADERS, Config
from pywasmfilter_compiler.errors import UsageError

from . import kinds, versions
from .documents import Document
from .envoy import HTTP_MANAGER, ROUTER, TCP_PROXY, TYPE, plugin_filter, store_clusters
from .request import PluginUse, Request, TrafficMatch
from .services import service_documents, with_upstreams

_MODES: Final = {
    "client": "CLIENT",
    "server": "SERVER",
    "client-and-server": "CLIENT_AND_SERVER",
    "gateway": "CLIENT",  # which gateways are
}
_STRATEGIES: Final = {"closed": "FAIL_CLOSE", "open": "FAIL_OPEN", "reload": "FAIL_RELOAD"}
_PULL_POLICIES: Final = {"if-not-present": "IfNotPresent", "always": "Always", None: None}

# WasmPlugin and TrafficExtension


def generate_wasm_plugins(request: Request) -> list[Document]:
    """A WasmPlugin for each plugin."""
    full = with_upstreams(request)
    made = [_document(full, plugin, _wasm_plugin(full, plugin, number)) for number, plugin in _numbered(full)]
    return [*made, *service_documents(request)]


def generate_traffic_extensions(request: Request) -> list[Document]:
    """A TrafficExtension for each plugin."""
    versions.require("istio", "TrafficExtension", request.istio)
    full = with_upstreams(request)
    made = [_document(full, plugin, _traffic_extension(full, plugin, number)) for number, plugin in _numbered(full)]
    return [*made, *service_documents(request)]


def _numbered(request: Request) -> list[tuple[int, PluginUse]]:
    return list(enumerate(request.plugins))


def metadata(request: Request, plugin: PluginUse | None = None) -> kinds.Metadata:
    """Of the object for a plugin, or of the one for all."""
    name = request.name if plugin is None else request.object_name(plugin)
    return kinds.Metadata(name=name, namespace=request.namespace)


def _wasm_plugin(request: Request, plugin: PluginUse, number: int) -> kinds.WasmPlugin:
    spec = kinds.WasmPluginSpec.model_validate(
        {
            **_wasm(request, plugin),
            **_targets(request),
            "match": _matches(request),
            "phase": request.phase and request.phase.upper(),
            "priority": _priority(request, number),
        }
    )
    return kinds.WasmPlugin(metadata=metadata(request, plugin), spec=spec)


def _traffic_extension(request: Request, plugin: PluginUse, number: int) -> kinds.TrafficExtension:
    spec = kinds.TrafficExtensionSpec.model_validate(
        {
            **_targets(request),
            "match": _matches(request),
            "phase": request.phase and request.phase.upper(),
            "priority": _priority(request, number),
            "wasm": _wasm(request, plugin),
        }
    )
    return kinds.TrafficExtension(metadata=metadata(request, plugin), spec=spec)


def _priority(request: Request, number: int) -> int | None:
    """Those with the higher numbers come first, so plugins keep their order."""
    if len(request.plugins) == 1:
        return request.priority
    return (request.priority or 0) + len(request.plugins) - 1 - number


def _wasm(request: Request, plugin: PluginUse) -> dict[str, Any]:
    """The fields of a module and its configuration."""
    if plugin.kind == "access-log":
        raise UsageError(f"{plugin.root_id}: Istio has access logs in EnvoyFilters only: --target envoyfilter")
    if request.fail_strategy == "reload":
        versions.require("istio", "FAIL_RELOAD", request.istio)
    return {
        "url": request.url,
        "sha256": request.sha256,
        "image_pull_policy": _PULL_POLICIES[request.pull_policy],
        "image_pull_secret": request.pull_secret,
        "plugin_name": plugin.root_id,
        "plugin_config": plugin.object(),
        "fail_strategy": _STRATEGIES[request.fail_strategy],
        "type": "NETWORK" if plugin.kind == "tcp" else "HTTP",
        "vm_config": vm_config(request),
    }


def vm_config(request: Request) -> kinds.VmConfig | None:
    """The environment; the host's variables without values."""
    variables = [
        kinds.Variable(name=name, value_from="HOST") if value is None else kinds.Variable(name=name, value=value)
        for name, value in request.environment.items()
    ]
    return kinds.VmConfig(env=variables) if variables else None


def _targets(request: Request) -> dict[str, Any]:
    selector = kinds.Selector(match_labels=request.selector) if request.selector else None
    return {"selector": selector, "target_refs": target_refs(request)}


def target_refs(request: Request) -> list[kinds.TargetRef] | None:
    """The objects that all this is for."""
    return [kinds.TargetRef(**ref) for ref in request.target_refs] or None


def _matches(request: Request) -> list[kinds.Match] | None:
    return [
        kinds.Match.model_validate({"mode": _MODES[match.mode], "ports": match.port and [{"number": match.port}]})
        for match in request.matches
    ] or None


def _document(request: Request, plugin: PluginUse, made: kinds.Object) -> Document:
    return Document(made.plain(), tuple(_notes(request, plugin)))


def _notes(request: Request, plugin: PluginUse) -> Iterator[str]:
    if not request.selector and not request.target_refs:
        yield "It is for all proxies of the namespace, or of the mesh, if the namespace is Istio's root namespace."
    yield from url_notes(request)
    if request.phase is None and plugin.kind == "http":
        yield "Without a phase it comes last in the chain, after the filters of all phases."


def url_notes(request: Request) -> Iterator[str]:
    """What to know of the place where the module is."""
    if request.scheme == "oci" and request.sha256 is None:
        yield "The image is not pinned: with its digest in the URL, …@sha256:…, or an image record, it is."
    elif request.scheme == "oci":
        yield "sha256 is that of the image's manifest."
    elif request.scheme == "file":
        yield "The file is one that the container istio-proxy sees: see --carry."
    else:
        yield "sha256 is that of the file, unpacked if it is a .gz."


# EnvoyFilter


def generate_envoy_filter(request: Request) -> list[Document]:
    """One EnvoyFilter with all plugins."""
    for ref in request.target_refs:
        if ref["kind"] not in {"Gateway", "GatewayClass"}:  # only waypoints have those, whose filters have other places
            raise UsageError(
                f"--target-ref {ref['kind']}/{ref['name']}: --target istio has these; an EnvoyFilter would do nothing"
            )
    if request.hold_headers:
        versions.require("istio", "allow_on_headers_stop_iteration", request.istio)
    full = with_upstreams(request)
    patches = [patch for plugin in full.plugins for patch in _patches(full, plugin)]
    if any(plugin.kind == "access-log" for plugin in full.plugins):
        patches += [_patch("CLUSTER", _anywhere(full), "ADD", made) for made in store_clusters(full)]
    labels = kinds.WorkloadSelector(labels=full.selector) if full.selector else None
    spec = kinds.EnvoyFilterSpec(
        workload_selector=labels, target_refs=target_refs(full), priority=full.priority, config_patches=patches
    )
    made = kinds.EnvoyFilter(metadata=metadata(full), spec=spec)
    return [Document(made.plain(), tuple(_filter_notes(full))), *service_documents(request)]


def _filter_notes(request: Request) -> Iterator[str]:
    if not request.selector and not request.target_refs:
        yield "It is for all proxies of the namespace, or of the mesh, if the namespace is Istio's root namespace."
    yield from url_notes(request)
    if request.scheme != "file":
        yield (
            "Two patches for each plugin: the configuration, in which Istio's agent replaces the URL by a file, "
            "and the filter that asks for it."
        )
    if HOLDS_HEADERS in request.environment:
        yield "Istio before 1.28 drops allow_on_headers_stop_iteration."


def _patches(request: Request, plugin: PluginUse) -> Iterator[kinds.ConfigPatch]:
    if plugin.kind == "access-log":
        yield from _log_patches(request, plugin)
        return
    by_agent = request.scheme != "file"
    value = plugin_filter(request, plugin, by_agent=by_agent)
    if by_agent:
        value["name"] = f"pyfilter.{request.namespace or 'default'}.{value['name']}"  # one in the whole proxy
        yield _patch("EXTENSION_CONFIG", _anywhere(request), "ADD", value)
        value = {"name": value["name"], "config_discovery": _discovery(plugin)}
    for match in _contexts(request):
        yield _patch(*_place(match, plugin), "INSERT_BEFORE", value)


def _discovery(plugin: PluginUse) -> Config:
    """The agent may put an RBAC filter in place of one that it cannot get."""
    kind = "network" if plugin.kind == "tcp" else "http"
    return {
        "config_source": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
        "type_urls": [f"{TYPE}envoy.extensions.filters.{kind}.{name}" for name in ("wasm.v3.Wasm", "rbac.v3.RBAC")],
    }


def _log_patches(request: Request, plugin: PluginUse) -> Iterator[kinds.ConfigPatch]:
    """Into the connection manager's list of access logs."""
    message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    manager = {"@type": TYPE + message, "access_log": [plugin_filter(request, plugin)]}
    for match in _contexts(request):
        chain = kinds.FilterChainMatch(filter=kinds.FilterMatch(name=HTTP_MANAGER))
        place = _in_listener(match, kinds.ListenerMatch(port_number=match.port, filter_chain=chain))
        yield _patch("NETWORK_FILTER", place, "MERGE", {"name": HTTP_MANAGER, "typed_config": manager})


_ApplyTo = Literal["NETWORK_FILTER", "HTTP_FILTER", "CLUSTER", "EXTENSION_CONFIG"]
_CONTEXTS: Final[dict[str, kinds.Context]] = {
    "client": "SIDECAR_OUTBOUND",
    "server": "SIDECAR_INBOUND",
    "gateway": "GATEWAY",
}


def _contexts(request: Request) -> Iterator[TrafficMatch]:
    """Where to patch: one for each context and port."""
    refers_to_gateway = any(ref["kind"].startswith("Gateway") for ref in request.target_refs)
    usual = TrafficMatch("gateway" if refers_to_gateway else "server", None)
    for match in request.matches or [usual]:
        if match.mode == "client-and-server":
            yield TrafficMatch("client", match.port)
            yield TrafficMatch("server", match.port)
        else:
            yield match


def _anywhere(request: Request) -> kinds.PatchMatch:
    contexts = {_CONTEXTS[match.mode] for match in _contexts(request)}
    return kinds.PatchMatch(context=contexts.pop() if len(contexts) == 1 else "ANY")


def _place(match: TrafficMatch, plugin: PluginUse) -> tuple[_ApplyTo, kinds.PatchMatch]:
    """Before the router, or before the TCP proxy."""
    if plugin.kind == "tcp":
        proxy = kinds.FilterMatch(name=TCP_PROXY)
        inbound = match.port if match.mode == "server" else None  # inbound connections share a listener
        chain = kinds.FilterChainMatch(destination_port=inbound, filter=proxy)
        port = None if match.mode == "server" else match.port
        return "NETWORK_FILTER", _in_listener(match, kinds.ListenerMatch(port_number=port, filter_chain=chain))
    manager = kinds.FilterMatch(name=HTTP_MANAGER, sub_filter=kinds.Named(name=ROUTER))
    listener = kinds.ListenerMatch(port_number=match.port, filter_chain=kinds.FilterChainMatch(filter=manager))
    return "HTTP_FILTER", _in_listener(match, listener)


def _in_listener(match: TrafficMatch, listener: kinds.ListenerMatch) -> kinds.PatchMatch:
    return kinds.PatchMatch(context=_CONTEXTS[match.mode], listener=listener)


def _patch(apply_to: _ApplyTo, match: kinds.PatchMatch, operation: str, value: Config) -> kinds.ConfigPatch:
    patch = kinds.Patch(operation=cast("Any", operation), value=value)
    return kinds.ConfigPatch(apply_to=apply_to, match=match, patch=patch)
