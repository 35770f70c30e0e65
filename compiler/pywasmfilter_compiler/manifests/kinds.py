"""The kinds of Kubernetes objects that manifests are made of, as far as they are used here.

Each model says what its custom resource definition does, and forbids all else: Kubernetes itself drops a field that it
does not know, or refuses the object. Fields are in the order in which they are written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Fields have their names in camelCase, and there are no others."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, strict=True)

    def plain(self) -> dict[str, Any]:
        """The same as plain data, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _no_star(text: str) -> str:
    if "*" in text:
        raise ValueError("a selector takes no *")
    return text


_DNS: Any = StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
Name: TypeAlias = Annotated[str, _DNS]
LabelKey: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=317), AfterValidator(_no_star)]
LabelValue: TypeAlias = Annotated[str, StringConstraints(max_length=63), AfterValidator(_no_star)]
Labels: TypeAlias = dict[LabelKey, LabelValue]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern="^[a-f0-9]{64}$")]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Int32: TypeAlias = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Url: TypeAlias = Annotated[str, StringConstraints(pattern="^((https?|oci|file)://)?[^:/ ][^ ]*$|^file:///[^ ]+$")]
PluginName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Metadata(Model):
    """What an object is called, and where it is."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] | None = None


class Object(Model):
    """An object; subclasses say of which kind."""

    api_version: str
    kind: str
    metadata: Metadata


# Istio


class Selector(Model):
    """The pods with all of these labels."""

    match_labels: Annotated[Labels, Field(min_length=1, max_length=4096)]


class TargetRef(Model):
    """An object that a policy is for."""

    group: Annotated[str, StringConstraints(max_length=253)] = ""
    kind: Annotated[str, StringConstraints(pattern="^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", max_length=63)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]


class PortNumber(Model):
    """A port, in a list that may have more of it one day."""

    number: Port


class Match(Model):
    """Traffic: as a client or as a server, on some ports."""

    mode: Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"] | None = None
    ports: list[PortNumber] | None = None


class Variable(Model):
    """A variable of the VM's environment, with a value or that of the proxy."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    value_from: Literal["INLINE", "HOST"] | None = None
    value: Annotated[str, StringConstraints(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if self.value is not None and self.value_from == "HOST":
            raise ValueError("a variable of the host has no value of its own")
        return self


class VmConfig(Model):
    """The VM's environment."""

    env: Annotated[list[Variable], Field(max_length=256)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [variable.name for variable in self.env]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"there twice: {', '.join(twice)}")
        return self


class Plugin(Model):
    """What WasmPlugins have in common with the `wasm` of TrafficExtensions and with the WasmPlugins of Higress."""

    url: Url
    sha256: Sha256 | None = None
    image_pull_policy: Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"] | None = None
    image_pull_secret: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    plugin_name: PluginName


class Targeted(Model):
    """The pods or objects that something of Istio's is for: those of the namespace if that is not said."""

    selector: Selector | None = None
    target_refs: Annotated[list[TargetRef], Field(min_length=1, max_length=16)] | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.selector is not None and self.target_refs is not None:
            raise ValueError("only one of selector and targetRefs can be set")
        return self


class Wasm(Plugin):
    """A module and how it is configured."""

    plugin_config: dict[str, Any] | None = None
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]
    type: Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]
    vm_config: VmConfig | None = None


class WasmPluginSpec(Targeted, Wasm):
    """What a WasmPlugin says."""

    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] | None = None
    priority: Int32 | None = None
    match: list[Match] | None = None


class WasmPlugin(Object):
    """A module in proxies of Istio."""

    api_version: Literal["extensions.istio.io/v1alpha1"] = "extensions.istio.io/v1alpha1"
    kind: Literal["WasmPlugin"] = "WasmPlugin"
    spec: WasmPluginSpec


class TrafficExtensionSpec(Targeted):
    """What a TrafficExtension says."""

    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] | None = None
    priority: Int32 | None = None
    match: list[Match] | None = None
    wasm: Wasm


class TrafficExtension(Object):
    """The successor of WasmPlugin."""

    api_version: Literal["extensions.istio.io/v1alpha1"] = "extensions.istio.io/v1alpha1"
    kind: Literal["TrafficExtension"] = "TrafficExtension"
    spec: TrafficExtensionSpec


Context: TypeAlias = Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"]


class Named(Model):
    """A filter by its name."""

    name: str


class FilterMatch(Model):
    """A network filter, and perhaps an HTTP filter in it."""

    name: str
    sub_filter: Named | None = None


class FilterChainMatch(Model):
    """A chain of filters."""

    destination_port: Port | None = None
    filter: FilterMatch


class ListenerMatch(Model):
    """A listener."""

    port_number: Port | None = None
    filter_chain: FilterChainMatch


class PatchMatch(Model):
    """Where a patch applies."""

    context: Context
    listener: ListenerMatch | None = None


class Patch(Model):
    """What is changed there; the value is Envoy's configuration."""

    operation: Literal["MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE"]
    value: dict[str, Any]


class ConfigPatch(Model):
    """A patch and its place."""

    apply_to: Literal["NETWORK_FILTER", "HTTP_FILTER", "CLUSTER", "EXTENSION_CONFIG"]
    match: PatchMatch
    patch: Patch

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.apply_to == "EXTENSION_CONFIG" and self.patch.operation != "ADD":
            raise ValueError("EXTENSION_CONFIG takes ADD only")
        listener = self.match.listener
        if listener and listener.filter_chain.filter.sub_filter and self.apply_to != "HTTP_FILTER":
            raise ValueError("subFilter is for HTTP_FILTER only")
        return self


class WorkloadSelector(Model):
    """The pods with all of these labels."""

    labels: Annotated[Labels, Field(min_length=1, max_length=256)]


class EnvoyFilterSpec(Model):
    """What an EnvoyFilter says."""

    workload_selector: WorkloadSelector | None = None
    target_refs: Annotated[list[TargetRef], Field(min_length=1, max_length=16)] | None = None
    priority: Int32 | None = None
    config_patches: list[ConfigPatch]

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.workload_selector is not None and self.target_refs is not None:
            raise ValueError("only one of workloadSelector and targetRefs can be set")
        return self


class EnvoyFilter(Object):
    """Patches of the configuration that Istio makes for Envoy."""

    api_version: Literal["networking.istio.io/v1alpha3"] = "networking.istio.io/v1alpha3"
    kind: Literal["EnvoyFilter"] = "EnvoyFilter"
    spec: EnvoyFilterSpec


class ServicePort(Model):
    """A port of a service outside of the mesh."""

    number: Port
    name: str
    protocol: Literal["HTTP", "HTTP2", "HTTPS", "GRPC"]


class WorkloadEntry(Model):
    """Where a service is."""

    address: str


class ServiceEntrySpec(Model):
    """What a ServiceEntry says."""

    hosts: Annotated[list[Name], Field(min_length=1, max_length=256)]
    export_to: list[str]
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"]
    resolution: Literal["NONE", "STATIC", "DNS"]
    ports: list[ServicePort]
    endpoints: list[WorkloadEntry] | None = None


class ServiceEntry(Object):
    """A service outside of the mesh."""

    api_version: Literal["networking.istio.io/v1"] = "networking.istio.io/v1"
    kind: Literal["ServiceEntry"] = "ServiceEntry"
    spec: ServiceEntrySpec


class ClientTls(Model):
    """How TLS is spoken with a server."""

    mode: Literal["SIMPLE"]
    sni: str | None = None
    subject_alt_names: list[str]
    ca_certificates: str


class TrafficPolicy(Model):
    """How traffic goes to a service."""

    tls: ClientTls


class Subset(Model):
    """A cluster of its own for a service, which only those use who name it."""

    name: str
    traffic_policy: TrafficPolicy


class DestinationRuleSpec(Model):
    """What a DestinationRule says."""

    host: str
    export_to: list[str]
    subsets: list[Subset]


class DestinationRule(Object):
    """How to speak with a service."""

    api_version: Literal["networking.istio.io/v1"] = "networking.istio.io/v1"
    kind: Literal["DestinationRule"] = "DestinationRule"
    spec: DestinationRuleSpec


# Envoy Gateway


class SecretRef(Model):
    """A secret by its name."""

    name: Name


class ImageSource(Model):
    """An image in a registry, without a scheme."""

    url: Annotated[str, StringConstraints(pattern="^[^ ]+$", max_length=2048)]
    sha256: Sha256 | None = None
    pull_secret_ref: SecretRef | None = None


class HttpSource(Model):
    """A file on a server."""

    url: Annotated[str, StringConstraints(pattern="^https?://[^ ]+$", max_length=2048)]
    sha256: Sha256 | None = None


class Code(Model):
    """Where the module is."""

    type: Literal["HTTP", "Image"]
    image: ImageSource | None = None
    http: HttpSource | None = None
    pull_policy: Literal["IfNotPresent", "Always"] | None = None

    @model_validator(mode="after")
    def _the_one_of_its_type(self) -> Self:
        if (self.type == "Image") != (self.image is not None) or (self.type == "HTTP") != (self.http is not None):
            raise ValueError(f"type {self.type} has its own source and no other")
        return self


class HostKeys(Model):
    """Variables that the VM has from the proxy."""

    host_keys: list[str]


class GatewayWasm(Model):
    """A plugin of a module."""

    name: str
    root_id: Annotated[str, Field(alias="rootID")]
    code: Code
    config: Any = None
    fail_open: bool
    env: HostKeys | None = None


class GatewayTargetRef(TargetRef):
    """What a policy of Envoy Gateway is for."""

    kind: Literal["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute"]


class EnvoyExtensionPolicySpec(Model):
    """What an EnvoyExtensionPolicy says."""

    target_refs: Annotated[list[GatewayTargetRef], Field(min_length=1, max_length=16)]
    wasm: Annotated[list[GatewayWasm], Field(min_length=1, max_length=16)]


class EnvoyExtensionPolicy(Object):
    """Plugins on routes and gateways of Envoy Gateway."""

    api_version: Literal["gateway.envoyproxy.io/v1alpha1"] = "gateway.envoyproxy.io/v1alpha1"
    kind: Literal["EnvoyExtensionPolicy"] = "EnvoyExtensionPolicy"
    spec: EnvoyExtensionPolicySpec


# Higress


class HigressPluginSpec(Plugin):
    """What a WasmPlugin of Higress says."""

    default_config: dict[str, Any] | None = None
    default_config_disable: bool
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN"]
    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] | None = None
    priority: Int32 | None = None
    vm_config: VmConfig | None = None


class HigressPlugin(Object):
    """A module in Higress."""

    api_version: Literal["extensions.higress.io/v1alpha1"] = "extensions.higress.io/v1alpha1"
    kind: Literal["WasmPlugin"] = "WasmPlugin"
    spec: HigressPluginSpec


# Kuma


class KumaTarget(Model):
    """The proxies with some labels, or all."""

    kind: Literal["Mesh", "Dataplane"]
    labels: dict[str, str] | None = None


class OriginMatch(Model):
    """A filter, and whose traffic."""

    name: str
    origin: Literal["inbound", "outbound"]
    listener_tags: dict[str, str] | None = None


class FilterModification(Model):
    """A filter to add; the value is Envoy's configuration as text."""

    operation: Literal["AddBefore"]
    match: OriginMatch
    value: str


class ClusterModification(Model):
    """A cluster to add."""

    operation: Literal["Add"]
    value: str


class Modification(Model):
    """One change."""

    http_filter: FilterModification | None = None
    network_filter: FilterModification | None = None
    cluster: ClusterModification | None = None


class Modifications(Model):
    """All changes."""

    append_modifications: list[Modification]


class MeshProxyPatchSpec(Model):
    """What a MeshProxyPatch says."""

    target_ref: KumaTarget
    default: Modifications


class MeshProxyPatch(Object):
    """Patches of the configuration that Kuma makes for Envoy."""

    api_version: Literal["kuma.io/v1alpha1"] = "kuma.io/v1alpha1"
    kind: Literal["MeshProxyPatch"] = "MeshProxyPatch"
    spec: MeshProxyPatchSpec


# Kustomize, and pods


class PatchTarget(Model):
    """What a patch is for."""

    kind: str
    name: str


class PatchFile(Model):
    """A patch in a file."""

    path: str
    target: PatchTarget


class ConfigMapGenerator(Model):
    """Files that become a ConfigMap."""

    name: str
    files: list[str]


class Kustomization(Model):
    """Objects in files; a Component, whose patches change what is in the kustomization that uses it."""

    api_version: Literal["kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1alpha1"]
    kind: Literal["Kustomization", "Component"]
    resources: list[str] | None = None
    config_map_generator: list[ConfigMapGenerator] | None = None
    patches: list[PatchFile] | None = None


class ImageVolume(Model):
    """The files of an image."""

    reference: str
    pull_policy: Literal["IfNotPresent", "Always"]


class Empty(Model):
    """Nothing: an emptyDir with its defaults."""


class Volume(Model):
    """Files for a pod."""

    name: Name
    empty_dir: Empty | None = None
    image: ImageVolume | None = None


class Mount(Model):
    """Where a container sees a volume."""

    name: Name
    mount_path: Annotated[str, StringConstraints(pattern="^/")]
    read_only: bool | None = None


class Container(Model):
    """A container, or what is to be changed in the one of that name."""

    name: Name
    image: str | None = None
    command: list[str] | None = None
    volume_mounts: list[Mount]


class PodSpec(Model):
    """What is to be changed in a pod."""

    volumes: list[Volume] | None = None
    init_containers: list[Container] | None = None
    containers: list[Container] | None = None


class PodMetadata(Model):
    """Annotations of a pod."""

    annotations: dict[str, str]


class PodTemplate(Model):
    """What is to be changed in the pods of a workload."""

    metadata: PodMetadata | None = None
    spec: PodSpec


class WorkloadSpec(Model):
    """What is to be changed in a workload."""

    template: PodTemplate


class WorkloadPatch(Object):
    """A patch for a workload."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment", "StatefulSet", "DaemonSet"]
    spec: WorkloadSpec
