"""Clusters for the services that a module calls by name: at their own URLs, or at those that somebody gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pywasmfilter_compiler.envoy.bootstrap import UPSTREAM, Config, cluster, split_service, tls_cluster
from pywasmfilter_compiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pywasmfilter_compiler.upstreams import Upstream


def clusters_for(
    upstreams: Iterable[Upstream],
    urls: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    authorities: str | None = None,
) -> list[Config]:
    """A cluster for each upstream, under the name that a VM with this environment asks for.

    `urls` are other places for some of them by name, as `http://host[:port]` or `https://host[:port]`. `authorities` is
    as for `tls_cluster`. Raises UsageError for a URL that is none, for one of an upstream that there is not, and for
    two places of one cluster.
    """
    by_name = {upstream.name: upstream for upstream in upstreams}
    for name, url in (urls or {}).items():
        split_service(url)
        if name not in by_name:
            known = f"its upstreams are {', '.join(by_name)}" if by_name else "it has none"
            raise UsageError(f"upstream {name}={url}: the filter has no upstream of this name; {known}")
    made: dict[str, Config] = {UPSTREAM: {}}
    for name, upstream in by_name.items():
        asked_for = upstream.cluster_in(environment or {})
        config = _cluster(upstream, asked_for, (urls or {}).get(name), authorities)
        if made.setdefault(asked_for, config) != config:
            raise UsageError(f"upstream {name}: the cluster {asked_for!r} is another one here; see {upstream.variable}")
    return list(made.values())[1:]


def _cluster(upstream: Upstream, name: str, url: str | None, authorities: str | None) -> Config:
    host, port, tls = (upstream.host, upstream.port, upstream.tls) if url is None else split_service(url)
    if tls:
        return tls_cluster(name, host, port, authorities)
    return cluster(name, host, port, http2=upstream.http2)
