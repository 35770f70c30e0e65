"""The services that a module calls by name, which the SDK calls upstreams, and the section that says so.

The section is custom, so that hosts ignore it. Its content is JSON: a list of objects with the fields of `Upstream`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from .wasm.binary import custom_section

SECTION: Final = "pywasmfilter.upstreams"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service: its name and URL, and what follows from them for who makes a cluster for it.

    `cluster` is what the filter asks for unless `variable` of the VM's environment names another one. `host` and `port`
    are the endpoint, `tls` says whether to speak TLS with it, `http2` that it takes HTTP/2 without negotiation.
    """

    name: str
    url: str
    cluster: str
    variable: str
    host: str
    port: int
    tls: bool
    http2: bool

    def cluster_in(self, environment: Mapping[str, str]) -> str:
        """The cluster that the filter asks for in a VM with this environment."""
        return environment.get(self.variable) or self.cluster

    def __str__(self) -> str:
        return f"{self.name} → {self.url} (cluster {self.cluster})"


def encode(upstreams: Iterable[Upstream]) -> bytes:
    """The section's content; the same for the same upstreams."""
    return json.dumps([asdict(upstream) for upstream in upstreams], separators=(",", ":")).encode()


def decode(content: bytes) -> tuple[Upstream, ...]:
    """What a section says; nothing if it cannot be read, since a custom section may hold anything.

    Fields that later versions may add are left out.
    """
    try:
        return tuple(map(_upstream, json.loads(content)))
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()


def _upstream(item: Mapping[str, Any]) -> Upstream:
    values = {field.name: item[field.name] for field in fields(Upstream)}
    if any(type(values[field.name]).__name__ != field.type for field in fields(Upstream)):  # annotations are text
        raise TypeError(f"no upstream: {item!r}")
    return Upstream(**values)


def of_module(module: bytes) -> tuple[Upstream, ...]:
    """The upstreams of a module, whoever compiled it. Raises MalformedWasm for what is no module."""
    content = custom_section(module, SECTION)
    return () if content is None else decode(content)
