"""Envoy Gateway, Higress and Kuma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pywasmfilter_compiler.envoy.bootstrap import Config
from pywasmfilter_compiler.errors import UsageError

from . import kinds
from .documents import Document
from .envoy import REMOTE_LIMIT, ROUTER, TCP_PROXY, clusters, plugin_filter
from .istio import metadata, url_notes, vm_config
from .request import PluginUse, Request
from .yaml_text import dump


def _http_only(request: Request, product: str) -> None:
    for plugin in request.plugins:
        if plugin.kind != "http":
            raise UsageError(f"{plugin.root_id}: {product} has HTTP filters only, and this is --type {plugin.kind}")


def _no_reload(request: Request, product: str) -> None:
    if request.fail_strategy == "reload":
        raise UsageError(f"--fail-strategy reload: {product} knows closed and open only")


# Envoy Gateway


def generate_extension_policy(request: Request) -> list[Document]:
    """An EnvoyExtensionPolicy with all plugins, in order."""
    _http_only(request, "Envoy Gateway")
    _no_reload(request, "Envoy Gateway")
    if not request.target_refs:
        raise UsageError("Envoy Gateway wants to know for what it is: --target-ref HTTPRoute/NAME or Gateway/NAME")
    values = [name for name, value in request.environment.items() if value is not None]
    if values:
        raise UsageError(f"--env {values[0]}: Envoy Gateway gives a VM variables of the proxy only: --env NAME")
    spec = kinds.EnvoyExtensionPolicySpec(
        target_refs=[kinds.GatewayTargetRef.model_validate(ref) for ref in request.target_refs],
        wasm=[_gateway_wasm(request, plugin) for plugin in request.plugins],
    )
    made = kinds.EnvoyExtensionPolicy(metadata=metadata(request), spec=spec)
    return [Document(made.plain(), tuple(_gateway_notes(request)))]


def _gateway_notes(request: Request) -> Iterator[str]:
    yield from url_notes(request)
    if request.module.report.size > REMOTE_LIMIT:
        yield "Envoy gets the module from Envoy Gateway, and takes 32 MiB at most: this one does not load."
    for upstream in request.upstreams:
        yield f"The filter calls the cluster {upstream.cluster}, {upstream.url}: an EnvoyPatchPolicy can add it."


def _gateway_wasm(request: Request, plugin: PluginUse) -> kinds.GatewayWasm:
    return kinds.GatewayWasm(
        name=request.object_name(plugin),
        root_id=plugin.root_id,
        code=_gateway_code(request),
        config=plugin.value(),
        fail_open=request.fail_strategy == "open",
        env=kinds.HostKeys(host_keys=list(request.environment)) if request.environment else None,
    )


def _gateway_code(request: Request) -> kinds.Code:
    policy: Any = _PULL_POLICIES[request.pull_policy]
    if request.scheme == "file":
        raise UsageError(f"--url {request.url}: Envoy Gateway gets modules from a registry or a server, not from files")
    if request.scheme != "oci":
        return kinds.Code(
            type="HTTP", http=kinds.HttpSource(url=request.url, sha256=request.sha256), pull_policy=policy
        )
    secret = kinds.SecretRef(name=request.pull_secret) if request.pull_secret else None
    source = kinds.ImageSource(url=request.url.removeprefix("oci://"), sha256=request.sha256, pull_secret_ref=secret)
    return kinds.Code(type="Image", image=source, pull_policy=policy)


_PULL_POLICIES: Final = {"if-not-present": "IfNotPresent", "always": "Always", None: None}


# Higress


def generate_higress(request: Request) -> list[Document]:
    """A WasmPlugin of Higress for each plugin."""
    _http_only(request, "Higress")
    _no_reload(request, "Higress")
    made = [_higress_plugin(request, plugin) for plugin in request.plugins]
    return [Document(plugin.plain(), tuple(_higress_notes(request))) for plugin in made]


def _higress_notes(request: Request) -> Iterator[str]:
    yield from url_notes(request)
    yield "defaultConfig is for all routes; to rules of matchRules the filter does not listen, but to its own."
    for upstream in request.upstreams:
        yield (
            f"The filter calls {upstream.name}, {upstream.url}: register it in an McpBridge, "
            f"and name its cluster with --env {upstream.variable}=…"
        )


def _higress_plugin(request: Request, plugin: PluginUse) -> kinds.HigressPlugin:
    spec = kinds.HigressPluginSpec.model_validate(
        {
            "url": request.url,
            "sha256": request.sha256,
            "image_pull_policy": _PULL_POLICIES[request.pull_policy],
            "image_pull_secret": request.pull_secret,
            "plugin_name": plugin.root_id,
            "default_config": plugin.object(),
            "default_config_disable": False,
            "fail_strategy": "FAIL_OPEN" if request.fail_strategy == "open" else "FAIL_CLOSE",
            "phase": request.phase and request.phase.upper(),
            "priority": request.priority,
            "vm_config": vm_config(request),
        }
    )
    of_plugin = metadata(request, plugin).model_copy(update={"namespace": request.namespace or "higress-system"})
    return kinds.HigressPlugin(metadata=of_plugin, spec=spec)


# Kuma


def generate_kuma(request: Request) -> list[Document]:
    """A MeshProxyPatch with all plugins, and the clusters that they need."""
    modifications = [
        _kuma_filter(request, plugin, origin) for plugin in request.plugins for origin in _origins(request)
    ]
    added = [kinds.ClusterModification(operation="Add", value=dump(made)) for made in clusters(request)]
    spec = kinds.MeshProxyPatchSpec(
        target_ref=_kuma_target(request),
        default=kinds.Modifications(
            append_modifications=[*modifications, *(kinds.Modification(cluster=made) for made in added)]
        ),
    )
    of_mesh = kinds.Metadata(
        name=request.name, namespace=request.namespace or "kuma-system", labels={"kuma.io/mesh": "default"}
    )
    made = kinds.MeshProxyPatch(metadata=of_mesh, spec=spec)
    return [Document(made.plain(), tuple(_kuma_notes(request)))]


def _kuma_notes(request: Request) -> Iterator[str]:
    if request.scheme == "file":
        yield "The file is one that the container kuma-sidecar sees."
    else:
        yield "Envoy gets the module itself, and checks sha256, which is that of the file."


def _kuma_target(request: Request) -> kinds.KumaTarget:
    if request.selector:
        return kinds.KumaTarget(kind="Dataplane", labels=request.selector)
    return kinds.KumaTarget(kind="Mesh")


_ORIGINS: Final[dict[str, tuple[str, ...]]] = {
    "client": ("outbound",),
    "server": ("inbound",),
    "client-and-server": ("inbound", "outbound"),
}


def _origins(request: Request) -> list[str]:
    """Whose traffic a plugin is for: that which comes in, unless it is said."""
    origins: dict[str, None] = {}
    for match in request.matches:
        if match.port is not None or match.mode not in _ORIGINS:
            raise UsageError("--match: Kuma knows client, server and client-and-server, and no ports")
        origins |= dict.fromkeys(_ORIGINS[match.mode])
    return list(origins) or ["inbound"]


def _kuma_filter(request: Request, plugin: PluginUse, origin: Any) -> kinds.Modification:
    value = dump(_camel_case_at_the_top(plugin_filter(request, plugin)))
    if plugin.kind == "access-log":
        raise UsageError(f"{plugin.root_id}: for Kuma there are HTTP and TCP filters, and this is --type access-log")
    name = TCP_PROXY if plugin.kind == "tcp" else ROUTER
    made = kinds.FilterModification(
        operation="AddBefore", match=kinds.OriginMatch(name=name, origin=origin), value=value
    )
    return kinds.Modification(network_filter=made) if plugin.kind == "tcp" else kinds.Modification(http_filter=made)


def _camel_case_at_the_top(config: Config) -> Config:
    """As Kuma's own documentation has it; below, Envoy's two forms are equally good."""
    return {"name": config["name"], "typedConfig": config["typed_config"]}
