"""Lets requests pass that carry an API key which a service knows, and tells the upstream whose it is.

The key is in a header, or in the query. The service is asked `GET /keys/<SHA-256 of the key, in hexadecimal>`: it
answers 200 and `{"owner": "…"}`, or 404. So neither it nor this filter keeps keys, and how long a comparison takes says
nothing about them. That is enough for keys that a machine has drawn (16 random bytes or more), not for passwords.
Answers are kept in each worker, so a key that is withdrawn works on for `ttl`. Unknown keys are kept apart: clients who
try many cannot push known ones out. While the service does not answer, keys that are not kept get a 503.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from pywasmfilter import (
    CallError,
    HeaderMap,
    HostcallError,
    HttpContext,
    LocalCache,
    PluginContext,
    cached,
    log,
    plugin,
)

if TYPE_CHECKING:
    from collections.abc import Collection

LONGEST_KEY = 512


@dataclass(frozen=True)
class Config:
    """The plugin's configuration. Durations are seconds, or text such as "5m"."""

    cluster: str
    """The proxy's cluster for the service, with TLS if it is not on this machine."""
    path: str = "/keys/"
    """The service is asked for this path and the key's hash."""
    authority: str = ""
    """The service's host name, by default the cluster's."""
    timeout: timedelta = timedelta(seconds=1)
    header: str = "x-api-key"
    query: str = ""
    """A parameter of the query that may have the key, too; by default there is none, since paths get into logs."""
    owner_header: str = "x-api-owner"
    """The header that tells the upstream whose key it is. What clients send in it is removed."""
    forward: bool = False
    """Whether the upstream gets the key, too."""
    ttl: timedelta = timedelta(minutes=5)
    """How long a known key is kept."""
    unknown_ttl: timedelta = timedelta(seconds=10)
    """How long it is kept that a key is unknown."""
    max_entries: int = 10_000
    """How many known keys, and how many unknown ones, each worker keeps."""

    def __post_init__(self) -> None:
        if wrong := [name for name in (self.header, self.owner_header) if not re.fullmatch("[a-z0-9-]+", name)]:
            raise ValueError(f"not the name of a header, in lower case: {wrong[0]}")
        if not self.ttl or not self.unknown_ttl or self.max_entries < 1:
            raise ValueError("ttl, unknown_ttl and max_entries are more than 0")


class Unknown(Exception):
    """Nobody has this key."""


class Unavailable(Exception):
    """The service does not say whether a key is known."""


@plugin("api_keys", config=Config)
class ApiKeys(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        entries = self.config.max_entries
        self.unknown = LocalCache(ttl=self.config.unknown_ttl.total_seconds(), max_entries=entries)
        # Requests with the same key at the same time share one call; what raises is not kept.
        known = LocalCache(ttl=self.config.ttl.total_seconds(), max_entries=entries)
        self.owner_of = cached(known)(self.ask)

    def new_http_context(self, context_id: int) -> HttpContext:
        return Check(context_id)

    async def ask(self, digest: str) -> str:
        """The owner of the key with a hash. Raises Unknown, Unavailable."""
        if self.unknown.get(digest):
            raise Unknown
        config = self.config
        try:
            reply = await self.http_call(
                config.cluster,
                path=config.path + digest,
                authority=config.authority or None,
                timeout=config.timeout.total_seconds(),
            )
            if reply.status == 404:
                self.unknown.set(digest, True)
                raise Unknown
            owner = reply.json()["owner"] if reply.status == 200 else None
        except (HostcallError, CallError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise Unavailable(str(error)) from error
        if not isinstance(owner, str) or not owner or not owner.isprintable():
            raise Unavailable(f"status {reply.status}, owner {owner!r}")
        return owner


class Check(HttpContext):
    plugin: ApiKeys
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers, config = self.request.headers, self.config
        remove_all(headers, [config.owner_header])
        keys = [*headers.get_all(config.header), *self.keys_of_query()]
        if len(keys) != 1 or not 0 < len(keys[0]) <= LONGEST_KEY:
            return self.refuse("One API key is needed")
        digest = hashlib.sha256(keys[0].encode("utf-8", "surrogateescape")).hexdigest()
        try:
            owner = await self.plugin.owner_of(digest)
        except Unknown:
            return self.refuse("The API key is unknown")
        except Unavailable as error:
            log.error(f"the service for API keys does not say: {error}")
            return self.send_http_response(503, [("retry-after", "1")], "API keys cannot be checked now\n")
        headers[config.owner_header] = owner
        if not config.forward:
            self.remove_keys()
        return None

    def keys_of_query(self) -> list[str]:
        """The keys that are in the query, as it would be read by a server."""
        pairs = (parameter.partition("=") for parameter in self.parameters())
        return [unquote_plus(value) for name, _, value in pairs if unquote_plus(name) == self.config.query]

    def remove_keys(self) -> None:
        self.request.headers.remove(self.config.header)
        if self.keys_of_query():
            path, _, _ = self.request.path.partition("?")
            others = [p for p in self.parameters() if unquote_plus(p.partition("=")[0]) != self.config.query]
            self.request.headers[":path"] = path + ("?" + "&".join(others) if others else "")

    def parameters(self) -> list[str]:
        query = self.request.path.partition("?")[2] if self.config.query else ""
        return query.split("&") if query else []

    def refuse(self, why: str) -> int:
        challenge = f'ApiKey realm="api", header="{self.config.header}"'
        return self.send_http_response(401, [("www-authenticate", challenge)], f"{why}\n")


def remove_all(headers: HeaderMap, names: Collection[str]) -> None:
    """Remove headers, also in spellings such as `x_user`, which servers in the manner of CGI take for `x-user`."""
    for name in list(headers):
        if name.lower().replace("_", "-") in names:
            headers.remove(name)
