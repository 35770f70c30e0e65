"""Limits how many requests a client may send: 429 with `retry-after` for the rest, other limits for other routes.

A client is an address, or what a request header says, such as an API key that a filter before this one has checked.
Buckets are counted for all workers together, or by each worker for itself, which is cheaper and lets a client with many
connections have more. A proxy counts for itself: with several proxies each lets the limit pass. The address is what the
proxy believes it to be: Envoy takes it from `x-forwarded-for`, which clients can choose, unless its HTTP connection
manager has `use_remote_address: true`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pywasmfilter import (
    HttpContext,
    PluginContext,
    Rule,
    Ruleset,
    SharedTokenBucket,
    TokenBucket,
    counter,
    plugin,
    properties,
)

LIMITED = counter("rate_limited")


@dataclass
class Limit(Rule):
    """How much a client may send."""

    requests_per_second: float = 10
    burst: int = 20
    """How many requests may come at once."""

    def __post_init__(self) -> None:
        TokenBucket(self.requests_per_second, self.burst)  # raises ValueError for what is no limit


@dataclass
class Config(Ruleset):
    """The limit of all requests, and those of some."""

    client: Literal["address", "header"] = "address"
    """What tells clients apart. The address needs `use_remote_address: true` in Envoy's HTTP connection manager:
    without it clients choose theirs with `x-forwarded-for`. Behind another proxy the address is that proxy's, unless
    Envoy's `xff_num_trusted_hops` counts it; or use a header there."""
    header: str = "x-api-key"
    """The header with `client: header`. Requests without it count as one client."""
    scope: Literal["proxy", "worker"] = "proxy"
    """Whether the workers of a proxy count together."""
    default: Limit = field(default_factory=Limit)
    rules: list[Limit] = field(default_factory=list)


@plugin("rate_limit", config=Config)
class RateLimit(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        limits = [self.config.default, *self.config.rules]
        self.buckets = {id(limit): self.new_bucket(number, limit) for number, limit in enumerate(limits)}

    def new_bucket(self, number: int, limit: Limit) -> TokenBucket | SharedTokenBucket:
        if self.config.scope == "worker":
            return TokenBucket(limit.requests_per_second, limit.burst)
        rate, burst = limit.requests_per_second, limit.burst
        # The limit is in the name, so one that is changed begins anew.
        return SharedTokenBucket(f"rate_limit/{number}/{rate}/{burst}", rate, burst)

    def new_http_context(self, context_id: int) -> HttpContext:
        return Request(context_id)


class Request(HttpContext):
    plugin: RateLimit
    config: Config

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        limit = self.config.select(self)
        if limit is None:
            return None
        bucket = self.plugin.buckets[id(limit)]
        client = self.client()
        if bucket.take(client):
            return None
        LIMITED.increment()
        wait = math.ceil(bucket.retry_after(client))
        return self.send_http_response(429, [("retry-after", str(max(1, wait)))], b"too many requests\n")

    def client(self) -> str:
        if self.config.client == "header":
            return self.request.headers.get(self.config.header, "")
        address = properties.source.address or ""
        return address.rpartition(":")[0]
