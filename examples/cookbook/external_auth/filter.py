"""Asks an authorization service about each request; the service's answer decides, as for Envoy's `ext_authz`.

The service gets the request's method, path and some of its headers, and its body if `max_body` says so. It answers 200
to let the request pass, perhaps with headers for the upstream. Any other answer below 500 is the client's, with its
status, its body and some of its headers: a 401, a 403, or a redirect to a page for signing in. If there is no answer in
time, or one of 500 and more, the client gets a 503, unless `fail_open` says that requests pass then. Nothing is kept:
each request costs a call. The service hears nothing of trailers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pywasmfilter import CallError, HeaderMap, HostcallError, HttpContext, HttpReply, PluginContext, log, plugin

if TYPE_CHECKING:
    from collections.abc import Collection

FRAMING = ("connection", "content-length", "host", "transfer-encoding")
"""What belongs to one message only: a content-length, without its body, would have the service wait for that."""


@dataclass(frozen=True)
class Config:
    """The plugin's configuration. Headers are in lower case; durations are seconds, or text such as "500ms"."""

    cluster: str
    """The proxy's cluster for the service, with TLS if it is not on this machine."""
    authority: str = ""
    """The service's host name, by default the cluster's."""
    path_prefix: str = ""
    """What stands before the request's path in the call, such as "/check"."""
    timeout: timedelta = timedelta(milliseconds=500)
    fail_open: bool = False
    """Whether requests pass, unchecked, while the service does not answer."""
    request_headers: list[str] = field(default_factory=lambda: ["authorization", "cookie"])
    """What of the request's headers the service gets. It also gets the host as `x-forwarded-host`."""
    upstream_headers: list[str] = field(default_factory=list)
    """What of the service's headers the upstream gets if the request passes. What clients send in them is removed."""
    client_headers: list[str] = field(
        default_factory=lambda: ["content-type", "location", "set-cookie", "www-authenticate"]
    )
    """What of the service's headers the client gets if the request does not pass."""
    max_body: int = 0
    """How large a body the service gets, in bytes; larger ones are answered 413. With 0 it gets none."""

    def __post_init__(self) -> None:
        names = [*self.request_headers, *self.upstream_headers, *self.client_headers]
        if wrong := [name for name in names if name in FRAMING or not re.fullmatch("[a-z0-9-]+", name)]:
            raise ValueError(f"not the name of a header that can be passed on, in lower case: {wrong[0]}")
        if not self.timeout or self.max_body < 0:
            raise ValueError("timeout is more than 0, and max_body not less")


@plugin("external_auth", config=Config)
class ExternalAuth(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        if self.config.max_body and not self.holds_headers:  # or headers would leave before the service has decided
            log.error("max_body needs a proxy with allow_on_headers_stop_iteration that tells the module so")
            return False
        return True

    def new_http_context(self, context_id: int) -> HttpContext:
        return Authorize(context_id)


class Authorize(HttpContext):
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        body = b""
        if self.config.max_body and not end_of_stream:
            body = await self.request.body(self.config.max_body)
        # What is checked is what the upstream gets: clients' own values are gone before anything can fail.
        headers = self.forwarded()
        remove_all(self.request.headers, self.config.upstream_headers)
        reply = await self.ask(headers, body)
        if reply is None:
            if self.config.fail_open:
                return None
            return self.send_http_response(503, [("retry-after", "1")], "Requests cannot be authorized now\n")
        if reply.status == 200:
            for name in self.config.upstream_headers:
                for value in reply.headers.get_all(name):
                    self.request.headers.add(name, value)
            return None
        return self.send_http_response(
            reply.status, chosen(reply.headers.items(), self.config.client_headers), reply.body
        )

    def forwarded(self) -> list[tuple[str, str]]:
        """The headers of the call."""
        return [
            ("x-forwarded-host", self.request.authority),
            *chosen(self.request.headers.items(), self.config.request_headers),
        ]

    async def ask(self, headers: list[tuple[str, str]], body: bytes) -> HttpReply | None:
        """What the service answers; None if that is nothing to go by."""
        config = self.config
        try:
            reply = await self.http_call(
                config.cluster,
                self.request.method,
                config.path_prefix + self.request.path,
                headers=headers,
                body=body,
                authority=config.authority or None,
                timeout=config.timeout.total_seconds(),
            )
        except (HostcallError, CallError) as error:
            log.error(f"the authorization service cannot be asked: {error}")
            return None
        if 200 <= reply.status < 500:
            return reply
        log.error(f"the authorization service does not decide: status {reply.status}")
        return None


def chosen(headers: list[tuple[str, str]], names: list[str]) -> list[tuple[str, str]]:
    """The headers with some names, in order."""
    return [(name, value) for name, value in headers if name.lower() in names]


def remove_all(headers: HeaderMap, names: Collection[str]) -> None:
    """Remove headers, also in spellings such as `x_user`, which servers in the manner of CGI take for `x-user`."""
    for name in list(headers):
        if name.lower().replace("_", "-") in names:
            headers.remove(name)
