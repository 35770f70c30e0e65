"""The upstreams of a module in Istio: a cluster for each, and the variable that tells the filter its name.

A service of the cluster has one. One outside gets a ServiceEntry and, for TLS, a DestinationRule with a subset: that is
a cluster of its own, so that applications which speak TLS with the same host themselves are left alone.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final, Literal

from pywasmfilter_compiler.errors import UsageError
from pywasmfilter_compiler.upstreams import Upstream

from . import kinds
from .documents import Document
from .request import Request

_SUBSET: Final = "pyfilter"
_ROOT_NAMESPACE: Final = "istio-system"  # unless the mesh has another; plugins there are for the whole mesh


def with_upstreams(request: Request) -> Request:
    """The same with variables that name the clusters, where none is given."""
    names = {upstream.variable: _cluster(request, upstream) for upstream in _unnamed(request)}
    return replace(request, environment={**names, **request.environment})


def _unnamed(request: Request) -> list[Upstream]:
    """The upstreams whose cluster is given neither as a variable nor, in Istio's own form, by the filter."""
    return [
        upstream
        for upstream in request.upstreams
        if upstream.variable not in request.environment and not upstream.cluster.startswith("outbound|")
    ]


def service_documents(request: Request) -> list[Document]:
    """What makes the clusters that Istio does not have by itself."""
    outside = [upstream for upstream in _unnamed(request) if not _service(request, upstream)]
    by_place = {(_host(upstream), upstream.port): upstream for upstream in reversed(outside)}
    by_host = {_host(upstream): upstream for upstream in reversed(outside) if upstream.tls}
    entries = [_service_entry(request, upstream) for upstream in reversed(by_place.values())]
    return [*entries, *(_destination_rule(request, upstream) for upstream in reversed(by_host.values()))]


def _service_entry(request: Request, upstream: Upstream) -> Document:
    address = _address(upstream)
    spec = kinds.ServiceEntrySpec(
        hosts=[_host(upstream)],
        export_to=_exported(request),
        location="MESH_EXTERNAL",
        resolution="STATIC" if address else "DNS",
        ports=[kinds.ServicePort(number=upstream.port, name=_protocol(upstream).lower(), protocol=_protocol(upstream))],
        endpoints=[kinds.WorkloadEntry(address=address)] if address else None,
    )
    note = f"The filter's upstream {upstream.name}, {upstream.url}."
    return Document(kinds.ServiceEntry(metadata=_metadata(request, upstream), spec=spec).plain(), (note,))


def _destination_rule(request: Request, upstream: Upstream) -> Document:
    tls = kinds.ClientTls(
        mode="SIMPLE",
        sni=None if _address(upstream) else upstream.host,
        subject_alt_names=[upstream.host],
        ca_certificates="system",
    )
    subset = kinds.Subset(name=_SUBSET, traffic_policy=kinds.TrafficPolicy(tls=tls))
    spec = kinds.DestinationRuleSpec(host=_host(upstream), export_to=_exported(request), subsets=[subset])
    note = "TLS with it, for those who call it by the name of this subset; the host itself is called as before."
    return Document(kinds.DestinationRule(metadata=_metadata(request, upstream), spec=spec).plain(), (note,))


def _exported(request: Request) -> list[str]:
    """Where it can be called from: the plugin's namespace, or the whole mesh, for a plugin of the root namespace."""
    return ["*"] if request.namespace == _ROOT_NAMESPACE else ["."]


def _cluster(request: Request, upstream: Upstream) -> str:
    """Istio's name of the cluster."""
    service = _service(request, upstream)
    subset = _SUBSET if upstream.tls and not service else ""
    return f"outbound|{upstream.port}|{subset}|{service or _host(upstream)}"


def _service(request: Request, upstream: Upstream) -> str | None:
    """The whole name of a service of the cluster; None for what is outside."""
    host = upstream.host
    if host.endswith(".svc.cluster.local"):
        return host
    if host.endswith(".svc"):
        return f"{host}.cluster.local"
    if "." in host or ":" in host:
        return None
    if request.namespace is None:
        raise UsageError(f"upstream {upstream.name}: in which namespace is the service {host}? Say --namespace")
    return f"{host}.{request.namespace}.svc.cluster.local"


def _metadata(request: Request, upstream: Upstream) -> kinds.Metadata:
    name = f"{request.name}-{upstream.name}".lower().replace("_", "-")
    return kinds.Metadata(name=name, namespace=request.namespace)


def _host(upstream: Upstream) -> str:
    """The name of the service; made up where there is an address only, since Istio wants one."""
    return f"{upstream.name.lower().replace('_', '-')}.upstream.internal" if _address(upstream) else upstream.host


def _address(upstream: Upstream) -> str | None:
    try:
        return str(ipaddress.ip_address(upstream.host))
    except ValueError:
        return None


def _protocol(upstream: Upstream) -> Literal["HTTP", "HTTP2", "HTTPS", "GRPC"]:
    if upstream.http2:
        return "HTTP2"
    return "HTTPS" if upstream.tls else "HTTP"
